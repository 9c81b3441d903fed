"""What `benchmarks/tiny_models.py` measures: a module a model family."""
