"""How good are the annotations of a build? Compares a tabletop dataset with the ground truth.

    python benchmarks/build_quality.py                  # builds the demo into a temporary folder
    python benchmarks/build_quality.py --shards shards  # measures a dataset that is there

The stages never see tabletop's truth; this benchmark draws it again from the seed that every
scene's source record keeps. A stored instance *matches* a true one when the IoU of their boxes is
at least 0.5 (one to one, best total IoU).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from imig import Dataset
from imig.layout.boxes import iou as box_iou
from imig.tabletop import RenderedScene, render_scene, sample_scene

MATCH_IOU = 0.5


@dataclass
class Tally:
    """Sums over the written scenes."""

    scenes: int = 0
    true_instances: int = 0
    stored_instances: int = 0
    box_ious: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)
    right_phrases: int = 0
    right_orders: int = 0
    orders: int = 0


def truth_of(scene: Any, *, source: dict[str, Any]) -> RenderedScene:
    """Draws the scene again, from its source record and the recipe's source block."""
    return render_scene(
        sample_scene(
            scene.source.seed,
            width=source["width"],
            height=source["height"],
            instances=tuple(source["instances"]),
            combinations=source["combinations"],
        )
    )


def compare(scene: Any, truth: RenderedScene, tally: Tally) -> None:
    """Adds one written scene to the tally."""
    tally.scenes += 1
    tally.true_instances += len(truth.instances)
    tally.stored_instances += len(scene.instances)
    stored = np.array([one.box for one in scene.instances], np.float32)
    true = np.array([one.box for one in truth.instances], np.float32)
    iou = box_iou(stored, true)
    pairs = [
        (i, j) for i, j in zip(*linear_sum_assignment(-iou), strict=True) if iou[i, j] >= MATCH_IOU
    ]
    for i, j in pairs:
        mask, true_mask = scene.instances[i].mask, truth.instances[j].mask
        tally.box_ious.append(float(iou[i, j]))
        tally.mask_ious.append(float((mask & true_mask).sum() / (mask | true_mask).sum()))
        tally.right_phrases += scene.instances[i].phrase == truth.instances[j].phrase
    for a in range(len(pairs)):
        for b in range(a):
            (i, j), (k, m) = pairs[a], pairs[b]
            # The order is only visible where one thing hides a part of the other.
            hidden = truth.instances[j].full_mask & truth.instances[m].full_mask
            if not hidden.any():
                continue
            tally.orders += 1
            nearer = truth.instances[j].layer > truth.instances[m].layer
            tally.right_orders += (scene.instances[i].layer > scene.instances[k].layer) == nearer


def figures(tally: Tally, *, rejected: int, quarantined: int) -> dict[str, float]:
    """The benchmark's figures, by name."""
    matched = len(tally.box_ious)
    total = tally.scenes + rejected + quarantined
    return {
        "scenes": total,
        "written": tally.scenes / total,
        "rejected": rejected / total,
        "quarantined": quarantined / total,
        "instance recall": matched / max(tally.true_instances, 1),
        "instance precision": matched / max(tally.stored_instances, 1),
        "box IoU": float(np.mean(tally.box_ious)) if matched else 0.0,
        "mask IoU": float(np.mean(tally.mask_ious)) if matched else 0.0,
        "right phrase": tally.right_phrases / max(matched, 1),
        "right layer order": tally.right_orders / max(tally.orders, 1),
    }


MEANING = {
    "scenes": "scenes that entered",
    "written": "scenes written",
    "rejected": "scenes turned down, with a reason",
    "quarantined": "scenes whose processing raised",
    "instance recall": "true instances of written scenes that are annotated",
    "instance precision": "annotated instances that are there",
    "box IoU": "mean over matched instances",
    "mask IoU": "mean over matched instances, visible part",
    "right phrase": "matched instances with exactly the true phrase",
    "right layer order": "overlapping pairs stacked as they truly are",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shards", type=Path, help="a dataset built from tabletop")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.shards or Path(scratch) / "shards"
        if arguments.shards is None:
            imig = Path(sys.executable).with_name("imig")
            limit = ["--limit", str(arguments.limit)]
            subprocess.run(
                [imig, "build", arguments.recipe, "--output", folder, *limit], check=True
            )
        dataset = Dataset(folder)
        source = dataset.manifest.recipe["source"]
        if source["kind"] != "tabletop":
            sys.exit(f"{folder} was not built from tabletop: there is no truth to compare with")
        tally = Tally()
        for scene in dataset:
            compare(scene, truth_of(scene, source=source), tally)
        rejects = pd.read_parquet(folder / "rejects.parquet")
        counts = dataset.manifest.counts
        result = figures(tally, rejected=counts.rejected, quarantined=counts.quarantined)

    table = Table(title="Annotations of the build against tabletop's ground truth")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("meaning")
    for name, value in result.items():
        table.add_row(name, f"{value:.0f}" if name == "scenes" else f"{value:.3f}", MEANING[name])
    console = Console()
    console.print(table)
    reasons = Counter(zip(rejects["stage"], rejects["reason"], strict=True))
    for (stage, reason), number in reasons.most_common():
        console.print(f"  {number:4d} turned down by {stage}: {reason}")
    if arguments.json:
        summary = {
            "figures": result,
            "rejects": [[*key, number] for key, number in reasons.most_common()],
            "tally": {k: v for k, v in asdict(tally).items() if not isinstance(v, list)},
        }
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
