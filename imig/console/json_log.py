"""What happens in a run, for machines: a JSON object a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TextIO


class JsonLog:
    """Writes events to a stream, each a line of its own with `time` (UTC) and `event`.

    Whatever stands in a name cannot end a line: JSON escapes it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: str, **values: Any) -> None:
        """A line; values are JSON values."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time.replace("+00:00", "Z"), "event": event, **values})
        self._stream.write(line + "\n")
        self._stream.flush()
