"""What `benchmarks/chaos.py` is made of: commands, moments, strikes, a reader, and what is left."""
