"""Under which terms a dataset's scenes are: the table of licences, the ledger, what is refused."""
