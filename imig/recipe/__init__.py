"""Recipes: what may stand in one, how one is read, and what is said of a wrong one.

`parts`, `yaml_lines`, `values` and `errors` know nothing of stages, and stages use them; `root`
composes the recipe of a build from the stages' own blocks, and `file` reads it from disk; `loading`
is what it has in common with recipes of evaluations and trainings.
"""
