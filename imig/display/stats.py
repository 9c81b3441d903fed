"""What is in a dataset, in figures: collected once, shown as tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imig.printable import to_printable
from imig.schema import INSTANCE_FIGURES, SCENE_FIGURES, Instance, Scene

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imig.shards.dataset import Dataset

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SCORES = {
    "grounding": "score of the detected box",
    "mask": "IoU that the segmenter predicts",
    **{one.label: one.meaning for one in INSTANCE_FIGURES},
    "view DINO": "reference and its instance",
    "view CLIP": "reference and its instance",
    "view face": "reference and its instance",
    "occluded": "hidden share of an instance",
    **{one.label: one.meaning for one in SCENE_FIGURES},
}
"""Names of what is collected in `DatasetStats.scores`, and what each means."""


@dataclass
class DatasetStats:
    """Counts and distributions. Counters map a name to how often it occurs."""

    scenes: int = 0
    instances: int = 0
    references: int = 0
    identities: int = 0
    subsets: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    instances_per_scene: Counter[int] = field(default_factory=Counter)
    target_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By (width, height)."""
    nouns: Counter[str] = field(default_factory=Counter)
    phrases: Counter[str] = field(default_factory=Counter)
    reference_kinds: Counter[str] = field(default_factory=Counter)
    relation_kinds: Counter[str] = field(default_factory=Counter)
    box_area_fractions: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(instances,) share of the target that each box covers."""
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """The known values of each of `SCORES`; a score that nobody computed is missing."""

    def quantiles(self, name: str) -> NDArray[np.float64]:
        """The `QUANTILES` of one of `scores`."""
        values: NDArray[np.float64] = np.quantile(self.scores[name], QUANTILES)
        return values


def dataset_stats(dataset: Dataset) -> DatasetStats:
    """Read every scene's JSON (no picture is decoded) and count."""
    return scene_stats(view.record for view in dataset)


def scene_stats(scenes: Iterable[Scene]) -> DatasetStats:
    """Count over scenes."""
    stats = DatasetStats()
    areas: list[float] = []
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    identities: set[str] = set()
    for scene in scenes:
        stats.scenes += 1
        stats.subsets[scene.subset] += 1
        stats.styles[scene.style or "(none)"] += 1
        stats.instances_per_scene[len(scene.instances)] += 1
        stats.target_sizes[scene.width, scene.height] += 1
        stats.relation_kinds.update(relation.kind for relation in scene.relations)
        for name, value in _scene_scores(scene):
            if value is not None:
                scores[name].append(value)
        for one in scene.instances:
            stats.instances += 1
            stats.references += len(one.references)
            identities.add(one.identity_id)
            stats.nouns[one.noun] += 1
            stats.phrases[one.phrase] += 1
            stats.reference_kinds.update(reference.kind for reference in one.references)
            x1, y1, x2, y2 = one.box
            areas.append((x2 - x1) * (y2 - y1) / (scene.width * scene.height))
            for name, value in _instance_scores(one):
                if value is not None:
                    scores[name].append(value)
    stats.identities = len(identities)
    stats.box_area_fractions = np.asarray(areas, dtype=np.float64)
    stats.scores = {name: np.asarray(values) for name, values in scores.items() if values}
    return stats


def _scene_scores(scene: Scene) -> list[tuple[str, float | None]]:
    return [(one.label, one.of(scene.scores)) for one in SCENE_FIGURES]


def _instance_scores(one: Instance) -> list[tuple[str, float | None]]:
    return [
        ("grounding", None if one.grounding is None else one.grounding.score),
        ("mask", None if one.segmentation is None else one.segmentation.score),
        *((figure.label, figure.of(one.scores)) for figure in INSTANCE_FIGURES),
        ("occluded", one.occluded_fraction),
        *(("view DINO", reference.similarity.dino) for reference in one.references),
        *(("view CLIP", reference.similarity.clip) for reference in one.references),
        *(("view face", reference.similarity.face) for reference in one.references),
    ]


def render_table(stats: DatasetStats, *, top: int = 10) -> RenderableType:
    """Tables for a terminal: counts, the `top` most frequent names of each kind, scores."""
    from rich.console import Group
    from rich.table import Table

    counts = Table(title="Dataset", title_justify="left", show_header=False)
    counts.add_column("what", style="bold")
    counts.add_column("value")
    sizes = Counter(
        {f"{width}×{height}": count for (width, height), count in stats.target_sizes.items()}
    )
    per_scene = sorted(stats.instances_per_scene.items())
    rows = {
        "scenes": _number(stats.scenes),
        "instances": _with_mean(stats.instances, stats.scenes),
        "references": _with_mean(stats.references, stats.scenes),
        "identities": _number(stats.identities),
        "subsets": _listed(stats.subsets, top=top),
        "styles": _listed(stats.styles, top=top),
        "instances per scene": ", ".join(f"{n}: {_number(count)}" for n, count in per_scene),
        "target sizes": _listed(sizes, top=top),
        "references by kind": _listed(stats.reference_kinds, top=top),
        "relations": _listed(stats.relation_kinds, top=top),
        f"nouns ({_number(len(stats.nouns))})": _listed(stats.nouns, top=top),
        f"phrases ({_number(len(stats.phrases))})": _listed(stats.phrases, top=top),
    }
    for name, value in rows.items():
        counts.add_row(name, value or "-")
    if not stats.scores:
        return counts

    # narrow enough for a terminal of 80 columns
    scores = Table(title="Scores (quantiles)", title_justify="left", box=None, pad_edge=False)
    scores.add_column("score", style="bold", no_wrap=True)
    scores.add_column("known", justify="right")
    for quantile in QUANTILES:
        scores.add_column(_quantile_name(quantile), justify="right")
    for name, values in stats.scores.items():
        figures = [f"{value:.3f}" for value in stats.quantiles(name)]
        scores.add_row(name, _number(len(values)), *figures)
    return Group(counts, scores)


def _number(count: int) -> str:
    return f"{count:,}"


def _with_mean(count: int, scenes: int) -> str:
    return f"{_number(count)} ({count / scenes:.2f} a scene)" if scenes else _number(count)


def _listed(counter: Counter[str], *, top: int) -> str:
    """The most frequent ones; nothing that the data says is markup."""
    from rich.markup import escape

    parts = [
        f"{escape(to_printable(name))} {_number(count)}" for name, count in counter.most_common(top)
    ]
    if len(counter) > top:
        parts.append(f"and {_number(len(counter) - top)} more")
    return ", ".join(parts)


def _quantile_name(quantile: float) -> str:
    names = {0.0: "min", 0.5: "median", 1.0: "max"}
    return names.get(quantile, f"{quantile:.0%}")
