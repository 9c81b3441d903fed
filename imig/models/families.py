"""The table of model families: what each is for, which checkpoints fit, where they come from."""

from __future__ import annotations

from typing import Final

from imig.models.family import Checkpoint, Family
from imig.models.family_tables.faces import FACES
from imig.models.family_tables.generators import GENERATORS
from imig.models.family_tables.judges import JUDGES
from imig.models.family_tables.readers import READERS

__all__ = ["FAMILIES", "Checkpoint", "Family"]

FAMILIES: Final[dict[str, Family]] = {
    family.name: family for family in (*READERS, *FACES, *JUDGES, *GENERATORS)
}
"""Every family by its name in the recipe."""
