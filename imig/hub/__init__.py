"""Datasets on a hub: what of a folder goes there, in which order, and `imig push`.

Reading from one is `imig.shards.folders`, as from any other store.
"""
