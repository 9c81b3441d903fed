"""What `imig generate --preset` draws with: ways of published code that are not our training's.

Weights were trained, and are judged, with the code that they were published with; drawn otherwise
they give another picture. A preset is that code's way in one table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from imig.contextgen.settings import AttentionConfig
from imig.layout.reference_size import reference_size


@dataclass(frozen=True)
class Preset:
    """A published way of drawing, as far as it differs from ours."""

    name: str
    guidance: float
    steps: int
    """Of sampling."""
    attention: AttentionConfig
    prefixes: tuple[str, ...]
    """Beginnings of a caption, lower case, that are cut off before it enters the instruction."""
    wraps_empty: bool
    """Whether an empty caption enters the instruction, too."""
    reference_sides: tuple[tuple[int | None, int], ...] | None
    """Pairs (shorter side of the picture at most, side): references are scaled to about side
    squared in area, sides rounded up to multiples of 16; None: as without a preset."""

    def caption_text(self, caption: str, *, instruction: str) -> str:
        """What the text encoders get; ``{caption}`` in the instruction becomes the caption."""
        for prefix in self.prefixes:
            if caption.lower().startswith(prefix):
                caption = caption[len(prefix) :].strip()
                break
        if not caption and not self.wraps_empty:
            return ""
        return instruction.replace("{caption}", caption)

    def reference_size(
        self, size: tuple[int, int], *, picture: tuple[int, int], side: int
    ) -> tuple[int, int]:
        """(width, height) of a reference for the model.

        Parameters
        ----------
        size, picture:
            (width, height) of the reference and of the picture that is drawn.
        side:
            For presets without a rule of their own.
        """
        if self.reference_sides is None:
            return reference_size(*size, side=side)
        shorter = min(picture)
        side = next(side for most, side in self.reference_sides if most is None or shorter <= most)
        return reference_size(*size, side=side, rounding="up")

    def attention_over(
        self, attention: AttentionConfig, *, but: Collection[str]
    ) -> AttentionConfig:
        """The preset's attention, yet those fields of `attention` that stand in `but`."""
        kept = {name: getattr(attention, name) for name in but}
        return self.attention.model_copy(update=kept)


RELEASED: Final = Preset(
    name="released",
    # REFERENCE 3.8, and for the sizes the released inference code: the picture's shorter side
    # chooses the area.
    guidance=3.5,
    steps=28,
    attention=AttentionConfig(text_length=512, bfloat16_positions=True),
    prefixes=("a photo of ", "an image of ", "a picture of "),
    wraps_empty=True,
    reference_sides=((384, 256), (512, 384), (768, 512), (1024, 768), (None, 1024)),
)
"""The released ContextGen inference. The wording of its instruction is not in here: it is a setting
(`data.instruction`, `imig generate --instruction`)."""
PRESETS: Final = {one.name: one for one in (RELEASED,)}
