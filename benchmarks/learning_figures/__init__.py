"""What `benchmarks/learning.py` measures."""
