"""Under which terms a dataset's scenes are: the table of licences, the ledger, what is refused."""

from typing import Final

OVERRIDE: Final = "--despite-licences"
"""The option of commands that does what licences forbid all the same."""
