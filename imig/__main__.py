"""`python -m imig`, for torchrun."""

import sys

from imig.cli import main

sys.exit(main())
