"""`imig` with stand-ins for the networks, and slow: `python -m support.attacks.slowly`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from PIL.Image import Image

import imig.evaluation.run as run_module
from imig.cli import main
from imig.evaluation.case import Case
from imig.evaluation.look import Seen
from support.attacks.stand_ins import Eyes

SECONDS = float(os.environ.get("SECONDS_A_LOOK", "0.5"))
"""For the pictures that are looked at together."""


class SlowEyes(Eyes):
    """Sees as they do, later."""

    def look(self, cases: Sequence[Case], images: Sequence[Image]) -> list[Seen]:
        time.sleep(SECONDS)
        return super().look(cases, images)


if __name__ == "__main__":
    vars(run_module)["Eyes"] = SlowEyes
    sys.exit(main())
