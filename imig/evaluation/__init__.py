"""Generated pictures measured against what was asked for: the field's metrics, pinned.

A *case* is what a picture was to show. `against/` reads cases, one source of them a file;
`metrics/` has one metric a file; `run.py` brings both together; the rest makes figures, tables and
pages of what was measured.
"""
