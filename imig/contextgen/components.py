"""The parts of a FLUX pipeline folder: transformer, text encoders, autoencoder, scheduler.

A folder is what diffusers' `FluxKontextPipeline.save_pretrained` writes. The parts are loaded one
by one, for no step of the work needs all of them at once.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from torch import Tensor
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel
from transformers.utils import logging

from imig.contextgen.sample import TextEmbedding
from imig.contextgen.settings import LONGEST_TEXT, TextLength
from imig.errors import UsageError
from imig.models.unloadable import require_all_weights
from imig.models.weights import TINY, ResolvedWeights, resolve_weights
from imig.recipe.parts import ModelConfig
from imig.text import to_encodable

FAMILY: Final = "contextgen"


def find_components(weights: str = TINY) -> ResolvedWeights:
    """The pipeline folder of `tiny`, a local path or a hub id; `.path` is the folder.

    Raises UsageError, as `imig.models.weights.resolve_weights`, when it is not on this disk.
    """
    return resolve_weights(ModelConfig(family=FAMILY, weights=weights))


def load_transformer(
    folder: Path, dtype: torch.dtype, device: torch.device | str
) -> FluxTransformer2DModel:
    """The transformer of a pipeline folder, in evaluation mode.

    Raises UsageError when the folder lacks it, or lacks some of its weights.
    """
    model: FluxTransformer2DModel = _load(
        FluxTransformer2DModel, folder, "transformer", dtype=dtype
    )
    return model.to(device).eval()


def load_scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler | None:
    """How the weights want the times of sampling spaced; None where the folder does not say.

    Raises UsageError when what it says is not read.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return None
    kind: Any = FlowMatchEulerDiscreteScheduler
    try:
        scheduler: FlowMatchEulerDiscreteScheduler = kind.from_pretrained(
            path.parent, local_files_only=True
        )
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{FAMILY}: {path} does not load: {error}",
            cure="copy it again from where the checkpoint is from",
        ) from error
    return scheduler


class TextEncoders:
    """CLIP and T5 with their tokenizers: captions to what the transformer is told.

    With `text_length` 512 they equal `FluxPipeline.encode_prompt`: every caption is padded to 512
    tokens, T5 reads the padding as it reads words, and so does the transformer. With `caption` they
    equal it with `max_sequence_length` set to the caption's own number of tokens. No padding can be
    left out afterwards: the embeddings of the words depend on it.
    """

    def __init__(
        self,
        *,
        clip_tokenizer: Any,
        clip: CLIPTextModel,
        t5_tokenizer: Any,
        t5: T5EncoderModel,
        text_length: TextLength,
    ) -> None:
        self._clip_tokenizer = clip_tokenizer
        self._clip = clip
        self._t5_tokenizer = t5_tokenizer
        self._t5 = t5
        self._text_length = text_length
        self._has_warned = False

    @classmethod
    def load(
        cls,
        folder: Path,
        dtype: torch.dtype,
        device: torch.device | str,
        *,
        text_length: TextLength = "caption",
    ) -> TextEncoders:
        """The encoders of a pipeline folder. Raises UsageError when it lacks them.

        `text_length` is that of `imig.contextgen.settings.AttentionConfig`.
        """
        return cls(
            clip_tokenizer=_load_tokenizer(folder, "tokenizer"),
            clip=_load(CLIPTextModel, folder, "text_encoder", dtype=dtype).to(device).eval(),
            t5_tokenizer=_load_tokenizer(folder, "tokenizer_2"),
            t5=_load(T5EncoderModel, folder, "text_encoder_2", dtype=dtype).to(device).eval(),
            text_length=text_length,
        )

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> list[TextEmbedding]:
        """An embedding a caption, on the encoders' device.

        Captions with the same number of tokens go through T5 together, padding included.
        """
        if not captions:
            return []
        captions = [to_encodable(caption) for caption in captions]
        self._warn_of_cut(captions)
        pooled = self._pooled(captions)
        numbers = self._t5_tokenizer(
            captions,
            padding=False if self._text_length == "caption" else "max_length",
            truncation=True,
            max_length=LONGEST_TEXT,
        ).input_ids
        alike = defaultdict(list)
        for place, ids in enumerate(numbers):
            alike[len(ids)].append(place)
        tokens: dict[int, Tensor] = {}
        for places in alike.values():
            ids = torch.tensor([numbers[place] for place in places], device=self._t5.device)
            tokens.update(zip(places, self._t5(ids)[0], strict=True))
        return [TextEmbedding(tokens[place], pooled[place]) for place in range(len(captions))]

    def _warn_of_cut(self, captions: Sequence[str]) -> None:
        """A line for the first caption of which T5 does not read the end.

        CLIP's 77 tokens are no loss: it adds one vector for the whole, and T5 reads the words.
        """
        if self._has_warned:
            return
        # A token is at least a letter, so that most captions need not be looked at.
        for caption in (one for one in captions if len(one) >= LONGEST_TEXT):
            tokens = len(self._t5_tokenizer(caption, verbose=False).input_ids)
            if tokens > LONGEST_TEXT:
                self._has_warned = True
                print(
                    f"warning: a text of {tokens} tokens is cut to the first {LONGEST_TEXT}, which "
                    f"is all that T5 reads; what follows them up to {caption[-40:]!r} is lost. "
                    "Further texts are cut without a word",
                    file=sys.stderr,
                )
                return

    def _pooled(self, captions: Sequence[str]) -> Tensor:
        # the attention is causal: what pads a caption cannot change the state at its end
        ids = self._clip_tokenizer(
            list(captions),
            padding="max_length",
            max_length=self._clip_tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        pooled: Tensor = self._clip(ids.to(self._clip.device)).pooler_output
        return pooled


class LatentCodec:
    """Pictures to the transformer's tokens and back, through the autoencoder.

    A token holds 2 x 2 latents of 16 channels, scaled to mean 0 and deviation 1.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        self._vae = vae
        self._shift = float(vae.config.shift_factor)
        self._scale = float(vae.config.scaling_factor)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, device: torch.device | str) -> LatentCodec:
        """The autoencoder of a pipeline folder. Raises UsageError when it lacks it."""
        return cls(_load(AutoencoderKL, folder, "vae", dtype=dtype).to(device).eval())

    @property
    def pixels_per_token(self) -> int:
        """Side of the square of pixels that a token stands for."""
        return 1 << len(self._vae.config.block_out_channels)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Tokens of pictures: the mode of the latents, packed row by row as in `FluxPipeline`.

        Parameters
        ----------
        images:
            (n, h, w, 3) bytes, RGB; h and w are multiples of `pixels_per_token`.

        Returns
        -------
        (n, h/16 * w/16, 64) float32, on the autoencoder's device.
        """
        _, height, width, _ = images.shape
        if height % self.pixels_per_token or width % self.pixels_per_token:
            raise ValueError(
                f"a picture of {width} x {height} pixels: its sides must be multiples of "
                f"{self.pixels_per_token}"
            )
        pixels = images.to(self._vae.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        raw = self._vae.encode(pixels.to(self._vae.dtype)).latent_dist.mode().float()
        return pack((raw - self._shift) * self._scale)

    @torch.no_grad()
    def decode(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Pictures (n, height, width, 3), bytes, of tokens (n, height/16 * width/16, 64)."""
        latents = unpack(tokens, height // self.pixels_per_token, width // self.pixels_per_token)
        raw = latents.to(self._vae.device).float() / self._scale + self._shift
        pixels: Tensor = self._vae.decode(raw.to(self._vae.dtype)).sample.float()
        return ((pixels + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def pack(latents: Tensor) -> Tensor:
    """Latents (n, c, 2h, 2w) to tokens (n, h * w, 4c), rows first."""
    count, channels, height, width = latents.shape
    squares = latents.view(count, channels, height // 2, 2, width // 2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, 4 * channels)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens (n, rows * columns, 4c) to latents (n, c, 2 * rows, 2 * columns)."""
    count, _, size = tokens.shape
    squares = tokens.view(count, rows, columns, size // 4, 2, 2)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(count, size // 4, 2 * rows, 2 * columns)


def _load(kind: Any, folder: Path, part: str, **options: Any) -> Any:
    # transformers would show a bar for every part's tensors
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, info = kind.from_pretrained(
            folder / part,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"{FAMILY}: {folder / part} does not load: {error}",
            cure="is the copy complete? `imig models list` names checkpoints that fit",
        ) from error
    require_all_weights(info, where=f"{FAMILY}: {folder / part}")
    return model


def _load_tokenizer(folder: Path, part: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(
            folder / part, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{FAMILY}: no usable tokenizer in {folder / part}: {error}",
            cure="copy the whole folder of the checkpoint, tokenizer files included",
        ) from error
