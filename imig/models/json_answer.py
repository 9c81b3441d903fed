"""The JSON in what a language model said."""

from __future__ import annotations

import json
from typing import Any


def answer_to_json(text: str) -> dict[str, Any]:
    """The object in an answer, also between code fences or words around it.

    Raises ValueError when there is none, or the answer breaks off.
    """
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        raise ValueError("no JSON object in the answer")
    try:
        value = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"broken JSON: {error}") from error
    assert isinstance(value, dict)  # it begins with a brace
    return value
