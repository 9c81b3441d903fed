"""Flexible subset: is the right reference matched, and the wrong one refused?

The composer of the tabletop world errs on purpose: it shows another thing of the same kind, leaves
one out, or adds one (`imig.tabletop.composition`). A threshold on the DINO cosine must keep the
matches that are true and refuse the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.quality_figures.instances import pair_instances
from benchmarks.quality_figures.truth import Truth

THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.82, 0.85, 0.9, 0.95)
"""0.5 and 0.82 are those of the released pipeline: for candidates, and for the filter."""


@dataclass
class MatchTally:
    """Matches of a build whose filter lets everything through."""

    scenes: int = 0
    shown: int = 0
    """True instances that show a reference as it is."""
    others: int = 0
    """True instances that show none: replaced or added by the composer."""
    right: list[float] = field(default_factory=list)
    """Cosines of matches whose instance shows that very reference."""
    other_subject: list[float] = field(default_factory=list)
    """Cosines of matches whose instance shows another reference of the scene."""
    nobody: list[float] = field(default_factory=list)
    """Cosines of matches whose instance shows no reference, or is not there."""

    def add(self, scene: Any, truth: Truth) -> None:
        """Add one scene."""
        assert truth.subjects is not None, "flexible scenes are composed"
        self.scenes += 1
        self.shown += sum(one is not None for one in truth.subjects)
        self.others += sum(one is None for one in truth.subjects)
        shows = {i: truth.subjects[j] for i, j, _ in pair_instances(scene, truth)}
        for instance in scene.instances:
            view = next(one for one in instance.references if one.kind == "source")
            subject = shows.get(instance.index)
            if subject is None:
                self.nobody.append(view.similarity.dino)
            elif subject == instance.subject:
                self.right.append(view.similarity.dino)
            else:
                self.other_subject.append(view.similarity.dino)

    def row(self, threshold: float) -> dict[str, float]:
        """Figures when matches below the threshold are refused."""
        right = sum(one >= threshold for one in self.right)
        other = sum(one >= threshold for one in self.other_subject)
        nobody = sum(one >= threshold for one in self.nobody)
        wrong = len(self.other_subject) + len(self.nobody)
        return {
            "threshold": threshold,
            "right matched": right / max(self.shown, 1),
            "matches that are right": right / max(right + other + nobody, 1),
            "another reference's": other / max(right + other + nobody, 1),
            "impostors refused": 1 - nobody / max(self.others, 1),
            "wrong matches refused": 1 - (other + nobody) / max(wrong, 1),
        }


MEANING = {
    "threshold": "on the DINO cosine of a match",
    "right matched": "of the true instances that show a reference, those matched with it",
    "matches that are right": "of the matches, those whose instance shows that reference",
    "another reference's": "of the matches, those whose instance shows another reference",
    "impostors refused": "of the true instances that show no reference, those left unmatched",
    "wrong matches refused": "of the wrong matches, those that the threshold refuses",
}
