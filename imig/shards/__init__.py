"""Shards, index, manifest, card: a dataset on disk, written, read and validated.

The only place that knows tar members.
"""
