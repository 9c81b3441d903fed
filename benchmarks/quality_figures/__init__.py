"""Figures of a built tabletop dataset against its truth, one kind of figure a module."""
