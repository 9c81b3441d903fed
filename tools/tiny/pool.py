"""Training scenes drawn once and kept on disk.

A pool is a folder: `images.npy` and `owners.npy` (memory-mapped), one `truth-NNNNN.jsonl` for each
chunk of scenes, and `pool.json`. A chunk's truth file is written last, so a pool that was
interrupted goes on where it stopped; a pool whose recipe or whose world looks different now is
drawn anew.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imig.tabletop.identity import Identity
from imig.tabletop.scene import Combinations, render_scene, sample_scene, simple_caption
from tools.tiny.progress import Progress

HELD_OUT_SEED = 20_000_000
"""Training uses seeds below 10,000,000, held-out evaluation seeds from here."""
CHUNK = 200


@dataclass(frozen=True)
class PoolRecipe:
    """Which scenes a pool holds: seeds `first_seed` .. `first_seed + count - 1`."""

    count: int
    size: int = 256
    instances: tuple[int, int] = (2, 8)
    combinations: Combinations = "trained"
    first_seed: int = 0

    def fingerprint(self) -> str:
        """Hash of the recipe and of the world that draws its scenes."""
        return hashlib.sha256(
            (tabletop_fingerprint() + json.dumps(asdict(self), sort_keys=True)).encode()
        ).hexdigest()[:16]


TRAINING = PoolRecipe(count=12_000)
HELD_OUT = PoolRecipe(count=512, combinations="all", first_seed=HELD_OUT_SEED)
HELD_OUT_NOVEL = PoolRecipe(count=512, combinations="novel", first_seed=HELD_OUT_SEED + 1_000_000)


@dataclass(frozen=True)
class PoolScene:
    """One scene of a pool; n instances, farthest first. Boxes are x1, y1, x2, y2 in pixels."""

    seed: int
    image: NDArray[np.uint8]
    """(size, size, 3)"""
    owners: NDArray[np.uint8]
    """(size, size): 0 for the background, i + 1 where instance i is visible"""
    boxes: NDArray[np.float32]
    """(n, 4), of the visible part"""
    phrases: list[str]
    nouns: list[str]
    occluded_fractions: NDArray[np.float32]
    identities: list[Identity]
    caption: str
    simple_caption: str
    style: str

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(n, size, size), the visible parts."""
        numbers = np.arange(1, len(self.phrases) + 1, dtype=np.uint8)
        masks: NDArray[np.bool_] = self.owners[None] == numbers[:, None, None]
        return masks


class ScenePool:
    """Reads a pool: `pool[i]` is a PoolScene.

    `images` (n, size, size, 3) and `owners` (n, size, size) are memory-mapped uint8 arrays;
    `truth` holds a dictionary a scene, as in the truth files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        self.owners = np.load(folder / "owners.npy", mmap_mode="r")
        self.truth = read_truth(folder, len(self.images))

    def __len__(self) -> int:
        return len(self.truth)

    def __iter__(self) -> Iterator[PoolScene]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> PoolScene:
        truth = self.truth[index]  # raises IndexError at the end
        instances = truth["instances"]
        return PoolScene(
            seed=truth["seed"],
            image=np.asarray(self.images[index]),
            owners=np.asarray(self.owners[index]),
            boxes=np.array([i["box"] for i in instances], np.float32).reshape(-1, 4),
            phrases=[i["phrase"] for i in instances],
            nouns=[i["noun"] for i in instances],
            occluded_fractions=np.array([i["occluded_fraction"] for i in instances], np.float32),
            identities=[Identity.from_json(i["identity"]) for i in instances],
            caption=truth["caption"],
            simple_caption=truth["simple_caption"],
            style=truth["style"],
        )


@cache
def tabletop_fingerprint() -> str:
    """Hash of what tabletop draws and says for a few scenes; its mere code may change."""
    digest = hashlib.sha256()
    for seed in range(8):
        drawn = render_scene(sample_scene(seed))
        digest.update(drawn.image.tobytes() + drawn.caption.encode())
    return digest.hexdigest()[:16]


def ensure_pool(folder: Path, recipe: PoolRecipe, *, processes: int = 2) -> ScenePool:
    """The pool of a recipe in `folder`; draws what is missing.

    Raises OSError when the disk is full (a scene of 256 pixels takes 0.26 MB).
    """
    side = recipe.size
    ensure_drawn(
        folder,
        recipe.fingerprint(),
        {"images": (recipe.count, side, side, 3), "owners": (recipe.count, side, side)},
        partial(_draw_chunk, folder, recipe),
        processes=processes,
    )
    return ScenePool(folder)


def ensure_drawn(
    folder: Path,
    fingerprint: str,
    arrays: dict[str, tuple[int, ...]],
    draw: Callable[[int], int],
    *,
    processes: int,
) -> None:
    """Fills memory-mapped uint8 arrays (name to shape) chunk by chunk, in several processes.

    `draw` fills a chunk of `CHUNK` rows, writes the chunk's truth file last, and returns how many
    rows it drew. It must be picklable. A folder of another fingerprint is emptied first.
    """
    count = next(iter(arrays.values()))[0]
    chunks = -(-count // CHUNK)
    marker = folder / "pool.json"
    if not marker.exists() or json.loads(marker.read_text())["fingerprint"] != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, shape in arrays.items():
            np.lib.format.open_memmap(
                folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape
            )
        marker.write_text(json.dumps({"fingerprint": fingerprint}))
    missing = [c for c in range(chunks) if not truth_file(folder, c).exists()]
    if not missing:
        return
    done = min((chunks - len(missing)) * CHUNK, count)
    with Progress(f"draw {folder.name}", total=count, done=done, unit="drawn") as bar:
        if processes < 2 or len(missing) < 2:
            for chunk in missing:
                bar.advance(draw(chunk))
            return
        # spawn: the parent may hold threads of PyTorch, which do not survive a fork
        context = multiprocessing.get_context("spawn")
        with context.Pool(min(processes, len(missing))) as workers:
            for drawn in workers.imap_unordered(draw, missing):
                bar.advance(drawn)


def read_truth(folder: Path, count: int) -> list[dict[str, Any]]:
    """All lines of the truth files of `count` rows."""
    truth: list[dict[str, Any]] = []
    for chunk in range(-(-count // CHUNK)):
        lines = truth_file(folder, chunk).read_text(encoding="utf-8").splitlines()
        truth.extend(json.loads(line) for line in lines)
    return truth


def write_truth(folder: Path, chunk: int, lines: Sequence[dict[str, Any]]) -> None:
    """Writes a chunk's truth file, all of it or nothing."""
    target = truth_file(folder, chunk)
    aside = target.with_suffix(".tmp")
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(aside, target)


def truth_file(folder: Path, chunk: int) -> Path:
    """Where the truth of a chunk is; there when the chunk is drawn."""
    return folder / f"truth-{chunk:05d}.jsonl"


def _draw_chunk(folder: Path, recipe: PoolRecipe, chunk: int) -> int:
    images = np.load(folder / "images.npy", mmap_mode="r+")
    owners = np.load(folder / "owners.npy", mmap_mode="r+")
    lines = []
    for index in range(chunk * CHUNK, min((chunk + 1) * CHUNK, recipe.count)):
        seed = recipe.first_seed + index
        rendered = render_scene(
            sample_scene(
                seed,
                width=recipe.size,
                height=recipe.size,
                instances=recipe.instances,
                combinations=recipe.combinations,
            )
        )
        images[index] = rendered.image
        owners[index] = 0
        truths = []
        for number, truth in enumerate(rendered.instances, 1):
            owners[index][truth.mask] = number
            truths.append(
                {
                    "phrase": truth.phrase,
                    "noun": truth.noun,
                    "box": list(truth.box),
                    "occluded_fraction": round(float(truth.occluded_fraction), 4),
                    "identity": truth.identity.to_json(),
                }
            )
        lines.append(
            {
                "seed": seed,
                "caption": rendered.caption,
                "simple_caption": simple_caption(rendered),
                "style": rendered.style,
                "instances": truths,
            }
        )
    images.flush()
    owners.flush()
    write_truth(folder, chunk, lines)
    return len(lines)
