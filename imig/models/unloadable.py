"""Weights that do not load, or not whole, in words that are safe to follow."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from typing import Any

from imig.errors import UsageError

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


def require_all_weights(info: Mapping[str, Iterable[Any]], *, where: str) -> None:
    """UsageError when a checkpoint lacks weights of the model, or has them in other shapes.

    The libraries would draw these at random and go on.

    Parameters
    ----------
    info:
        What `from_pretrained` gives beside the model with `output_loading_info`.
    where:
        Family and path, for the message.
    """
    wrong = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if wrong:
        raise UsageError(
            f"{where} lacks {len(wrong)} of the model's weights, for example {wrong[0]}",
            cure="the checkpoint is damaged or of another architecture; get it anew",
        )
