"""The table of model families, a module for each group of tasks."""
