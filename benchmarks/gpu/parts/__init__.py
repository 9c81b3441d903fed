"""The parts of `python -m benchmarks.gpu`, one a module.

A part's module has a function ``measure(journal, *, small, device)`` that writes each figure and
each check to the journal as soon as it has it. It wraps what may fail in `Journal.attempt`.
"""

from __future__ import annotations

from typing import Final

SECONDS: Final = {
    "card": 15,
    "masks": 75,
    "train_step": 220,
    "stages": 75,
    "sampling": 65,
    "optimizers": 25,
    "offload": 45,
}
"""The parts, the most important first, and about how many seconds each takes on an H100.

The time that there is, is divided as these are; what a part leaves goes to those after it.
"""
