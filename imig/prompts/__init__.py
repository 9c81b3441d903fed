"""Prompts for pictures: their file, and who writes them (rules, or a language model)."""
