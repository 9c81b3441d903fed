"""What imig does on one GPU, measured and checked in one command of nine minutes.

`python -m benchmarks.gpu` reads docs/gpu-benchmark.md for what the figures mean. The command
itself needs nothing but Python: it starts a second process that imports PyTorch and measures, looks
after it, and writes the report (`supervise`, `report`).
"""
