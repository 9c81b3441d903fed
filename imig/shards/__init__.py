"""Shards, index, manifest, card: a dataset on disk, written, read and validated.

The only place that knows the members of its tars; those of others are read in
`imig.stages.sources`.
"""
