"""Prompts of a file, all read."""

from __future__ import annotations

from pathlib import Path

from imig.prompts.file import list_prompts
from imig.prompts.record import PromptRecord


def read_prompts(path: Path) -> list[PromptRecord]:
    listed = list_prompts(path)
    return [listed.read(number) for number in range(len(listed))]
