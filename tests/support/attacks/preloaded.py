"""What a process that plays an attack need not import any more."""

from __future__ import annotations

import imig.evaluation.bench.drawing as drawing_module
import imig.evaluation.run as run_module
from imig.cli import main
from imig.commands import adapter_figures
from imig.contextgen import adapter_convert, adapter_resize, released_export
from imig.hub import card
from imig.interop import exporting, importing
from support.attacks.stand_ins import Eyes, Studio

LOADED = (main, adapter_figures, adapter_convert, adapter_resize, released_export, card)
LOADED_TOO = (exporting, importing)

vars(run_module)["Eyes"] = Eyes
vars(drawing_module)["Studio"] = Studio
