"""What `benchmarks/scale.py` measures: stages that cost what they are told to, and large tables."""
