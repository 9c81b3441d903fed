"""Which tabletop this is: what stands in every scene that it has drawn, as `tabletop:tiny@...`."""

from __future__ import annotations

from typing import Final

REVISION: Final = "e8130a370a1b"
"""Of the pictures and their truth, not of the code, so that tidying the code leaves datasets their
bytes. It takes a new value when anything that is drawn changes; a test compares."""
