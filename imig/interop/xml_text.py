"""Text as XML takes it."""

from __future__ import annotations

import re
from typing import Final

_FORBIDDEN: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold in any spelling (its production `Char`)."""


def xml_text(text: str) -> str:
    """Without the control characters that XML has no spelling for."""
    return _FORBIDDEN.sub("", text)
