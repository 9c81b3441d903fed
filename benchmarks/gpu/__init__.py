"""What imig does on one GPU, measured and checked in one command of nine minutes.

docs/gpu-benchmark.md says what the figures mean. The command itself (`__main__`) needs nothing but
Python: it starts a second process that imports PyTorch and measures (`measure`, `parts`), looks
after it (`supervise`), and writes down what it finds (`journal`, `report`).
"""
