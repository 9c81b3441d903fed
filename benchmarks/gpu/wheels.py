"""Packages that the machine lacks, from wheels that were carried along."""

from __future__ import annotations

import zipfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "gpu-wheels"
"""Where `make gpu-wheels` puts them."""


def unpack(wheels: Path, into: Path) -> list[str]:
    """Unpacks all wheels of a folder, as `pip install --no-deps --target` would.

    Returns
    -------
    The names of their files; empty where there is no such folder.

    Raises
    ------
    zipfile.BadZipFile
        A wheel is damaged: fetch them again with `make gpu-wheels`.
    """
    found = sorted(wheels.glob("*.whl"))
    for one in found:
        with zipfile.ZipFile(one) as archive:
            archive.extractall(into)
    return [one.name for one in found]
