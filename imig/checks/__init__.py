"""`imig validate`: what can be wrong with a dataset, byte by byte, and with an encoding.

`dataset` checks a folder, `shard` and `sample` what is in it; faults are collected, never raised.
"""
