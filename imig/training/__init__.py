"""Training ContextGen: data, losses, optimizers, the loop, checkpoints, and what one watches."""
