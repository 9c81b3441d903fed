"""The parts of `benchmarks/full_size_cost.py`."""
