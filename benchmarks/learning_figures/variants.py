"""What is trained and drawn for the table: the recipe, and the ablations of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A row of the table for which an adapter is trained."""

    name: str
    """Also of its run folder."""
    title: str
    overrides: tuple[str, ...] = ()
    """On the recipe."""


VARIANTS = (
    Variant("middle", "CLA, ICA in the middle third (the recipe)"),
    Variant("no-ica", "no ICA: CLA in every block", ("attention.ica=none",)),
    Variant("no-cla", "no CLA: ICA in every block", ("attention.ica=all",)),
    Variant("no-layout", "no layout image, ICA in the middle", ("attention.layout=false",)),
)
"""Paper table 3 has the first three; the last asks what the layout image is good for."""
