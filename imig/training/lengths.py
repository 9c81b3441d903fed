"""How many tokens a sample has: estimated from a scene's record, and measured from pictures.

The estimate decides which samples share a batch; no picture is read for it. The measure tells what
share of a batch's tokens is padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from imig.contextgen.sample import PictureSample
from imig.layout.reference_size import TOKEN, reference_size
from imig.schema import Instance, Reference, Scene
from imig.training.choices import Variant, pick_references
from imig.training.recipe import DataConfig

_TOKENS_A_WORD = 4 / 3  # of English in T5's vocabulary, punctuation included
_CONVEX_FILL = math.pi / 4  # share of its box that an ellipse covers


def estimate_text_tokens(text: str) -> int:
    """T5 tokens of a text, the end token included: 1 for none."""
    return 1 + round(_TOKENS_A_WORD * len(text.split()))


def estimate_reference_tokens(
    scene: Scene, *, variant: Variant, config: DataConfig, drop_background: bool = True
) -> int:
    """Tokens of a sample's references, without those of their background where it is dropped."""
    return sum(
        _reference_tokens(
            scene.instances[pick.instance],
            scene.instances[pick.instance].references[pick.reference],
            side=config.reference_side,
            drop_background=drop_background,
        )
        for pick in pick_references(scene, variant=variant, config=config)
    )


def _reference_tokens(
    instance: Instance, reference: Reference, *, side: int, drop_background: bool
) -> int:
    """A convex subject of area A in a w x h box touches A + w + h + 1 cells of a grid on average.

    All in cells; it is the area of the subject grown by a cell (Minkowski), exact for a grid at a
    random offset. Subjects with arms touch more, hence the box's own cells are the upper limit.
    """
    width, height = reference_size(reference.width, reference.height, side=side)
    columns, rows = width // TOKEN, height // TOKEN
    if not drop_background:
        return columns * rows
    x1, y1, x2, y2 = reference.subject_box
    subject_width = (x2 - x1) / reference.width * columns
    subject_height = (y2 - y1) / reference.height * rows
    area = _fill(instance, reference) * subject_width * subject_height
    touched = area + subject_width + subject_height + 1
    limit = min(math.ceil(subject_width) + 1, columns) * min(math.ceil(subject_height) + 1, rows)
    return round(min(touched, limit))


def _fill(instance: Instance, reference: Reference) -> float:
    """Share of the subject box that the mask covers: the target's mask tells it of its crop."""
    x1, y1, x2, y2 = reference.subject_box if reference.kind == "crop" else instance.box
    if instance.area is None or reference.kind == "face":
        return _CONVEX_FILL
    return min(1.0, instance.area / ((x2 - x1) * (y2 - y1)))


def padding_share(
    batches: Iterable[Sequence[PictureSample]],
    *,
    drop_background: bool = True,
    text_tokens: Callable[[str], int] = estimate_text_tokens,
) -> float:
    """Share of all tokens of some batches that is padding, counted as the model's batches have it.

    Parameters
    ----------
    drop_background:
        `AttentionConfig.drop_background`.
    text_tokens:
        Tokens of a caption; give the text encoder's own count for an exact figure.
    """
    import torch

    from imig.contextgen.encode import valid_tokens
    from imig.contextgen.tokens import ReferenceTokens, SampleTokens, token_table

    padding, total = 0.0, 0
    for batch in batches:
        table = token_table(
            [
                SampleTokens(
                    text=text_tokens(sample.caption),
                    grid=(sample.layout.shape[0] // TOKEN, sample.layout.shape[1] // TOKEN),
                    references=tuple(
                        ReferenceTokens(
                            valid=torch.from_numpy(valid_tokens(one.mask, side=TOKEN)), box=one.box
                        )
                        for one in sample.references
                    ),
                )
                for sample in batch
            ],
            drop_background=drop_background,
        )
        padding += table.padding_share * table.role.numel()
        total += table.role.numel()
    return padding / total if total else 0.0
