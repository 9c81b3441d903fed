"""What is trained for the table: the recipe, and the ablations of it, by importance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A row of the table: what a training changes of the recipe."""

    name: str
    """Also of its run folders."""
    title: str
    overrides: tuple[str, ...] = ()
    """On the recipe."""
    paper: str = ""
    """Where the paper has the same row, and its LAMICBench++ average there."""


VARIANTS = (
    Variant("recipe", "CLA, ICA in the middle third (the recipe)", paper="table 3: 64.66"),
    Variant("no-ica", "no ICA: CLA in every block", ("attention.ica=none",), "table 3: 64.22"),
    Variant("all-ica", "ICA in every block", ("attention.ica=all",), "table 3: 62.15"),
    Variant(
        "no-cla",
        "no CLA, the layout image not seen: ICA in every block, paper's equation",
        ("attention.ica=all", "attention.variant=paper"),
        "table 3: 58.03",
    ),
    Variant("no-layout", "no layout image, ICA in the middle", ("attention.layout=false",)),
    Variant(
        "no-offsets",
        "no position offsets of references",
        ("attention.position_offsets=false",),
        "table 5: 61.14",
    ),
    Variant("paper", "ICA as the paper's equation 4", ("attention.variant=paper",)),
    Variant("first", "ICA in the first third", ("attention.ica=first",), "table 3: 64.16"),
    Variant("last", "ICA in the last third", ("attention.ica=last",), "table 3: 62.53"),
)
