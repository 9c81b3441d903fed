"""Near copies among scenes: how they are recognised, searched and chosen.

Knows hashes and features, not shards: who removes the duplicates is `imig.engine.duplicates` at the
end of a build and `imig.derived.refilter` afterwards.
"""
