"""What `benchmarks/evaluator.py` evaluates: scenes of known truth, and faults planted in them."""
