"""Where outputs of the released code lie, beside the checkout; they are no part of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"


def golden_folder() -> Path:
    """The folder; skips the test where it is absent."""
    if not GOLDEN.is_dir():
        pytest.skip(f"golden cases are not here: {GOLDEN}")
    return GOLDEN
