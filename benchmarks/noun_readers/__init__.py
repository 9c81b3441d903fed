"""Readers of captions that `benchmarks.nouns` compares."""
