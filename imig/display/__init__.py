"""Pictures and figures of a dataset to look at."""
