"""How the tiny checkpoints are trained: `python -m imig.tiny`, or `make weights`."""
