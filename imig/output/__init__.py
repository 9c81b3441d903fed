"""A folder being made into a dataset: its identity, lock, records, report, and the seal at the end.

Builds, encodings, and datasets made of others write by the same rules.
"""
