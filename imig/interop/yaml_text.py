"""Text as YAML takes it."""

from __future__ import annotations

import json
import re
from typing import Final

_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What YAML 1.1 refuses in a file, or folds into a blank (its productions `c-printable`,
`b-char`), and JSON leaves as it is."""


_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*")
_VALUES: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that YAML 1.1 takes for something else than a text."""


def yaml_word(text: str) -> str:
    """A text as people write it where it can stand bare (``images/train``); else quoted."""
    bare = _WORD.fullmatch(text) and text.lower() not in _VALUES
    return text if bare else yaml_text(text)


def yaml_text(text: str) -> str:
    """A quoted text, on one line whatever is in it: JSON's texts are YAML's, but for a few signs.

    YAML's own writer wraps long ones.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", quoted)
