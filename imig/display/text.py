"""Text that fits: fonts, wrapping, shortening."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from imig.display import palette

ELLIPSIS = "…"
TITLE_SIZE = 14
Font = ImageFont.FreeTypeFont


@cache
def font(size: int, *, bold: bool = False) -> Font:
    """DejaVu Sans, which comes with matplotlib and has Latin, Greek, Cyrillic and more.

    A character it lacks is drawn as an empty frame.
    """
    import matplotlib as mpl

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)


def line_height(face: Font) -> int:
    """Pixels from one line to the next."""
    ascent, descent = face.getmetrics()
    return ascent + descent


def shorten(text: str, *, face: Font, width: float) -> str:
    """The text on one line, cut with an ellipsis where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if face.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if face.getlength(text[:middle].rstrip() + ELLIPSIS) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + ELLIPSIS


def wrap(text: str, *, face: Font, width: float, max_lines: int) -> list[str]:
    """Lines of at most `width` pixels; the last one is shortened when the text needs more.

    Words wider than a line (and scripts without spaces) are broken anywhere.
    """
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < max_lines:
        if len(lines) == max_lines - 1:
            lines.append(shorten(" ".join(words), face=face, width=width))
            break
        count = _words_that_fit(words, face=face, width=width)
        if count:
            lines.append(" ".join(words[:count]))
            words = words[count:]
        else:
            piece = _letters_that_fit(words[0], face=face, width=width)
            lines.append(words[0][:piece])
            words[0] = words[0][piece:]
    return lines


def title_height() -> int:
    """Pixels that `titled` adds."""
    return line_height(font(TITLE_SIZE)) + 4


def titled(picture: Image.Image, title: str) -> Image.Image:
    """The picture below its title."""
    panel = Image.new("RGB", (picture.width, picture.height + title_height()), palette.PAGE)
    ImageDraw.Draw(panel).text((0, 0), title, fill=palette.QUIET_INK, font=font(TITLE_SIZE))
    panel.paste(picture, (0, title_height()))
    return panel


def _words_that_fit(words: list[str], *, face: Font, width: float) -> int:
    count = 0
    while count < len(words) and face.getlength(" ".join(words[: count + 1])) <= width:
        count += 1
    return count


def _letters_that_fit(word: str, *, face: Font, width: float) -> int:
    count = 1
    while count < len(word) and face.getlength(word[: count + 1]) <= width:
        count += 1
    return count
