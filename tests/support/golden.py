"""Where outputs of the released code lie, beside the checkout; they are no part of the project.

Tests take whatever cases are in the folder: more, fewer or other ones of the same kinds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"


def golden_folder() -> Path:
    """The folder; skips the test where it is absent."""
    if not GOLDEN.is_dir():
        pytest.skip(f"golden cases are not here: {GOLDEN}")
    return GOLDEN


def golden_file(name: str) -> Path:
    """A file of the folder; skips the test where it is absent."""
    path = golden_folder() / name
    if not path.is_file():
        pytest.skip(f"golden cases are not here: {path}")
    return path


def golden_names(kind: str) -> list[Any]:
    """For `parametrize`: the cases ``kind_*.json``, without suffix; one that skips for none."""
    names = sorted(path.stem for path in GOLDEN.glob(f"{kind}_*.json"))
    missing = pytest.mark.skip(f"golden cases are not here: {GOLDEN / kind}_*.json")
    return names or [pytest.param("none", marks=missing)]
