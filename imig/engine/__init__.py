"""Run a recipe: plan, run, resume, report. The only place that imports ray."""
