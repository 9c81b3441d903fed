"""Views of identities, drawn once and kept on disk: the same thing from other sides.

Identities are taken from the scenes of a pool, so that for each there is a crop of a crowded scene
too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imig.tabletop import MOODS, Identity, View, render_identity
from tools.tiny.pool import (
    CHUNK,
    ScenePool,
    ensure_drawn,
    read_truth,
    write_truth,
)

VIEW_SIZE = 112
VIEWS = 5
_MOTIONS = ("still", "still", "still", "tilted", "airborne", "blurred")


@dataclass(frozen=True)
class IdentityViews:
    """Views of one identity, and where it stands in the pool of scenes."""

    identity: Identity
    scene: int
    instance: int
    images: NDArray[np.uint8]
    """(VIEWS, VIEW_SIZE, VIEW_SIZE, 3)"""
    masks: NDArray[np.bool_]
    """(VIEWS, VIEW_SIZE, VIEW_SIZE)"""
    boxes: NDArray[np.float32]
    """(VIEWS, 4), of the masks"""


class ViewPool:
    """Reads a pool of views: `views[i]` is an IdentityViews."""

    def __init__(self, folder: Path) -> None:
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        self.masks = np.load(folder / "masks.npy", mmap_mode="r")
        self.truth = read_truth(folder, len(self.images))
        self.identities = [Identity.from_json(truth["identity"]) for truth in self.truth]

    def __len__(self) -> int:
        return len(self.truth)

    def __iter__(self) -> Iterator[IdentityViews]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> IdentityViews:
        truth = self.truth[index]
        return IdentityViews(
            identity=self.identities[index],
            scene=truth["scene"],
            instance=truth["instance"],
            images=np.asarray(self.images[index]),
            masks=np.asarray(self.masks[index]).astype(np.bool_),
            boxes=np.array(truth["boxes"], np.float32),
        )


def ensure_views(folder: Path, scenes: ScenePool, count: int, *, processes: int = 2) -> ViewPool:
    """The views of the first `count` identities of a pool of scenes, drawn where missing.

    Holds fewer identities when the scenes do.
    """
    places = [
        (scene, instance)
        for scene, truth in enumerate(scenes.truth)
        for instance in range(len(truth["instances"]))
    ][:count]
    source = (scenes.folder / "pool.json").read_text(encoding="utf-8")
    fingerprint = hashlib.sha256(f"{source} {len(places)} {VIEW_SIZE} {VIEWS}".encode())
    shape = (len(places), VIEWS, VIEW_SIZE, VIEW_SIZE)
    ensure_drawn(
        folder,
        fingerprint.hexdigest()[:16],
        {"images": (*shape, 3), "masks": shape},
        partial(_draw_chunk, folder, scenes.folder, places),
        processes=processes,
    )
    return ViewPool(folder)


def draw_view(
    identity: Identity, rng: np.random.Generator, *, azimuth: float | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], tuple[int, int, int, int]]:
    """One random view: image, mask, box; the side is random too when `azimuth` is None."""
    view = View(
        azimuth_degrees=float(rng.uniform(0, 360)) if azimuth is None else azimuth,
        mood=str(rng.choice(MOODS)),
        motion=_MOTIONS[int(rng.integers(len(_MOTIONS)))],  # type: ignore[arg-type]
        background=None,
    )
    return render_identity(
        identity,
        width=VIEW_SIZE,
        height=VIEW_SIZE,
        view=view,
        seed=int(rng.integers(2**31)),
    )


def _draw_chunk(folder: Path, scenes: Path, places: list[tuple[int, int]], chunk: int) -> int:
    truth = ScenePool(scenes).truth
    images = np.load(folder / "images.npy", mmap_mode="r+")
    masks = np.load(folder / "masks.npy", mmap_mode="r+")
    lines = []
    for index in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(places))):
        scene, instance = places[index]
        data = truth[scene]["instances"][instance]["identity"]
        rng = np.random.default_rng((11, truth[scene]["seed"], instance))
        boxes = []
        for number in range(VIEWS):
            images[index, number], mask, box = draw_view(Identity.from_json(data), rng)
            masks[index, number] = mask
            boxes.append([int(side) for side in box])
        lines.append({"identity": data, "scene": scene, "instance": instance, "boxes": boxes})
    images.flush()
    masks.flush()
    write_truth(folder, chunk, lines)
    return len(lines)
