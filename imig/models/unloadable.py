"""What libraries say of weights that do not load, in words that are safe to follow."""

from __future__ import annotations

import pickle
import re

_REFUSED = re.compile(r"GLOBAL (\S+)")


def unloadable_reason(error: Exception) -> str:
    """Why weights did not load.

    Of pickles that hold more than tensors PyTorch says how to load them all the same, code
    included; here only what they hold is said.
    """
    text = str(error)
    if not isinstance(error, pickle.UnpicklingError) and "weights_only" not in text:
        return text
    found = _REFUSED.search(text)
    named = f" ({found[1]})" if found else ""
    return (
        f"it is a pickle of more than tensors{named}, which could run code when loaded; imig "
        "loads tensors only"
    )
