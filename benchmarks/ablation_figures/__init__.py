"""What `benchmarks/ablation.py` trains on, trains, and counts."""
