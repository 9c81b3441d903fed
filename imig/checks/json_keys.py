"""What JSON leaves to its parser: which value counts where a key stands twice."""

from __future__ import annotations

import json
from typing import Any

KIND = "doubled-key"


def doubled_keys(data: bytes) -> list[str]:
    """Keys that an object of the JSON has more than once, in the order of their objects' ends.

    `data` has been read already, so that it is JSON and not too deep.
    """
    found: dict[str, None] = {}

    def note(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            found.update(dict.fromkeys(key for key in keys if keys.count(key) > 1))

    json.loads(data, object_pairs_hook=note)
    return list(found)
