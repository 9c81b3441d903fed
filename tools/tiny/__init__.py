"""How the tiny checkpoints are trained: `python -m tools.tiny`, or `make weights`."""
