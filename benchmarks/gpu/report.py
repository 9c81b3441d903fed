"""The report: what the journal says, part by part, as JSON and as a few lines to read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["waiting", "running", "done", "failed", "cut"]


@dataclass
class PartReport:
    """One part."""

    status: Status = "waiting"
    """`failed`: it raised, or its process ended; `cut`: there was no more time for it."""
    seconds: float = 0.0
    why: str = ""
    """Of `failed` and `cut`: the traceback, or the last words of the process."""
    figures: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    """Each with `name`, `found`, `allowed` and `holds`."""
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    """Steps that raised, each with `name` and `traceback`; the part went on without them."""
    took: dict[str, float] = field(default_factory=dict)
    """Seconds of each step."""
    began: float = 0.0
    """Seconds since the epoch."""
    deadline: float = 0.0
    """When it should have ended, likewise."""


@dataclass
class Report:
    """All of it."""

    heading: dict[str, Any]
    """Where, when, how."""
    parts: dict[str, PartReport]

    def waiting(self) -> list[str]:
        """Parts that have not begun."""
        return [name for name, part in self.parts.items() if part.status == "waiting"]

    def take(self, line: Mapping[str, Any]) -> None:
        """One line of the journal."""
        part = self.parts[line["part"]]
        match line["kind"]:
            case "figure":
                part.figures[line["name"]] = line["values"]
            case "check":
                names = ("name", "found", "allowed", "holds")
                part.checks.append({name: line[name] for name in names})
            case "note":
                part.notes.append(line["text"])
            case "failure":
                part.failures.append({name: line[name] for name in ("name", "traceback")})
            case "took":
                part.took[line["name"]] = line["seconds"]
            case "begun":
                part.status = "running"
                part.began, part.deadline = line["time"], line["deadline"]
                self.heading["machine"] |= line["machine"]
            case "ended":
                part.status = "failed" if line["why"] else "done"
                part.seconds, part.why = line["seconds"], line["why"]

    def write(self, path: Path) -> None:
        """Aside first, then renamed: whoever reads it finds a whole one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = {name: vars(one) for name, one in self.parts.items()}
        aside = path.with_name(path.name + ".tmp")
        text = json.dumps({**self.heading, "parts": parts}, indent=1) + "\n"
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)

    def figure_lines(self, name: str) -> Iterator[str]:
        """What a part has found, a line a figure."""
        part = self.parts[name]
        yield f"{name}: {part.status}, {part.seconds:.0f} s"
        for figure, values in part.figures.items():
            shown = (f"{key} {_short(one)}" for key, one in values.items() if _shown(one))
            yield f"  {figure}: " + ", ".join(shown)

    def verdict_lines(self) -> Iterator[str]:
        """Which checks hold, and all that a reader must know of what is not there."""
        for name, part in self.parts.items():
            for check in part.checks:
                word = "holds" if check["holds"] else "DOES NOT HOLD"
                found = _short(check["found"])
                yield f"{name}: {check['name']}: {found} of {check['allowed']:g}: {word}"
            yield from (f"{name}: {note}" for note in part.notes)
            for failure in part.failures:
                yield f"{name}: {failure['name']} FAILED: {_last_line(failure['traceback'])}"
            if part.why:
                yield f"{name}: {part.status.upper()}: {_last_line(part.why)}"

    @property
    def holds(self) -> bool:
        """Nothing failed, and every check holds."""
        return all(
            part.status == "done" and not part.failures and all(one["holds"] for one in part.checks)
            for part in self.parts.values()
        )


def _shown(value: Any) -> bool:
    """The file has more than one wants to read."""
    return value is not None and not isinstance(value, list)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]
