"""A scene becomes the latents and embeddings of every sample that a training can make of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from imig.contextgen.components import LatentCodec, TextEncoders
from imig.contextgen.encode import encode_pictures
from imig.contextgen.encoded_scene import EncodedScene
from imig.contextgen.sample import EncodedReference, PictureSample, TextEmbedding
from imig.contextgen.settings import TextLength
from imig.shards.views import SceneView
from imig.training.choices import available_variants, caption_text, pick_references
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import DataConfig

AHEAD = 4
"""Scenes that are prepared while others are encoded, each by a thread of its own: on a GPU the
pictures take longer than the networks."""


@dataclass(frozen=True)
class PreparedScene:
    """A scene as pictures."""

    view: SceneView
    variants: dict[str, PictureSample]
    """Empty where no instance has a usable reference."""
    shown: dict[str, tuple[str, ...]]
    """The names of the references in each."""


def prepare_scene(view: SceneView, *, config: DataConfig) -> PreparedScene:
    """Draw every variant that a training with this recipe can ask for.

    Raises
    ------
    DataError
        When a picture is damaged or missing.
    """
    record = view.record
    caption = caption_text(record.caption, drop=False, instruction=config.instruction)
    variants = available_variants(record, config=config)
    return PreparedScene(
        view=view,
        variants={
            one: scene_to_pictures(view, variant=one, caption=caption, config=config)
            for one in variants
        },
        shown={
            one: tuple(
                record.instances[pick.instance].references[pick.reference].name
                for pick in pick_references(record, variant=one, config=config)
            )
            for one in variants
        },
    )


def prepare_ahead(views: Iterable[SceneView], *, config: DataConfig) -> Iterator[PreparedScene]:
    """`prepare_scene` of each, in their order; `AHEAD` of them are under way in threads."""
    with ThreadPoolExecutor(AHEAD) as pool:
        submitted = (pool.submit(prepare_scene, one, config=config) for one in views)
        waiting = deque(islice(submitted, AHEAD))
        while waiting:
            prepared = waiting.popleft().result()
            waiting.extend(islice(submitted, 1))
            yield prepared


class SceneEncoder:
    """The networks that encode, and what they remember.

    A scene goes through them by itself: its latents then depend on nothing else to the last bit,
    and a run that was killed ends with the bytes of one that was not.
    """

    def __init__(
        self,
        components: Path,
        *,
        dtype: torch.dtype,
        device: torch.device,
        text_length: TextLength = "caption",
    ) -> None:
        """Raises UsageError when the pipeline folder lacks one of them."""
        text = TextEncoders.load(components, dtype, device, text_length=text_length)
        self._text = _OneByOne(text)
        self._codec = LatentCodec.load(components, dtype, device)

    def __call__(self, prepared: PreparedScene) -> EncodedScene | None:
        """Everything encoded, each picture once; None where the scene makes no sample.

        Raises
        ------
        DataError
            When a picture does not fit the autoencoder.
        """
        grid: tuple[int, int] = (0, 0)
        target: Tensor | None = None
        caption: TextEmbedding | None = None
        layouts: dict[str, Tensor] = {}
        references: dict[str, EncodedReference] = {}
        for variant, pictures in prepared.variants.items():
            named = zip(prepared.shown[variant], pictures.references, strict=True)
            new = {name: one for name, one in named if name not in references}
            left = replace(
                pictures,
                references=tuple(new.values()),
                target=pictures.target if target is None else None,
            )
            [encoded] = encode_pictures([left], text=self._text, codec=self._codec)
            grid, caption, layouts[variant] = encoded.grid, encoded.text, encoded.layout
            target = encoded.target if target is None else target
            references |= zip(new, encoded.references, strict=True)
        if target is None or caption is None:
            return None
        [empty] = self._text.encode([""])
        return EncodedScene(
            id=prepared.view.record.id,
            grid=grid,
            caption=caption,
            empty=empty,
            target=target,
            layouts=layouts,
            references=references,
            shown=prepared.shown,
        )


class _OneByOne:
    """Encodes captions one at a time, and remembers the last one and the empty one."""

    def __init__(self, encoders: TextEncoders) -> None:
        self._encoders = encoders
        self._known: dict[str, TextEmbedding] = {}

    def encode(self, captions: Sequence[str]) -> list[TextEmbedding]:
        """An embedding a caption."""
        return [self._encode(one) for one in captions]

    def _encode(self, caption: str) -> TextEmbedding:
        if caption not in self._known:
            self._known = {name: one for name, one in self._known.items() if not name}
            [self._known[caption]] = self._encoders.encode([caption])
        return self._known[caption]
