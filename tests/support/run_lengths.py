"""COCO's run lengths read one character after the other: what the fast reader is held against."""

from imig.layout.run_lengths import MAX_CHARACTERS


def pixels_in_counts(counts: str) -> int:
    """Sum of the run lengths in a COCO string, -1 where it is malformed."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift == 5 * MAX_CHARACTERS:
            return -1
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            return -1
        runs.append(value)
        value, shift = 0, 0
    return sum(runs) if shift == 0 else -1
