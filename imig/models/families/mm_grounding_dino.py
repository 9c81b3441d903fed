"""Family `mm-grounding-dino`: MM Grounding DINO, trained on more data, as transformers has it."""

from __future__ import annotations

from typing import ClassVar

from imig.models.families.grounding_dino import GroundingDino
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family


class MMGroundingDino(GroundingDino):
    """A `Grounder`: Grounding DINO with heads of its own for each decoder layer."""

    family: ClassVar[Family] = Family(
        name="mm-grounding-dino",
        tasks=("ground",),
        library="transformers",
        weight_files=TRANSFORMERS_WEIGHTS,
        keeps_float32=True,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint(
                "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det", 690, "Apache-2.0"
            ),
            Checkpoint("openmmlab-community/mm_grounding_dino_base_all", 930, "Apache-2.0"),
            Checkpoint("openmmlab-community/mm_grounding_dino_large_all", 1370, "Apache-2.0"),
        ),
    )
    model_type = "mm-grounding-dino"
