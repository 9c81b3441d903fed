"""How fast do 110,000 samples go in and out? `imig import imig100k` and back, on one core.

    python benchmarks/interop.py                                # 200 samples, 3,400 pictures
    python benchmarks/interop.py --small                        # seconds: only proves that it runs
    python benchmarks/interop.py --json benchmarks/results/interop.json

Made-up samples in the published form and sizes: targets of 1024 x 1024, four crops and their edits
of about a megapixel, masks of 1 bit, JPEGs of quality 75 as the released pipeline writes them.
Four ways go through the same files in turn:

* imig, which looks every picture through for damage and passes its bytes on;
* copying each file, which knows nothing of what is in it: the limit of an export;
* decoding each picture and mask, the least that finds all damage in another way;
* decoding each and encoding it anew, as a conversion usually does (quality 95).

Processor time of one process and one thread, since other programs share the machine and a disk is
its own matter; all files are in the page cache. Ours write everything that belongs to a finished
dataset or export: an import also draws the pictures of the card, about a second whatever its size.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console

# Run as a file, its folder is on the path and not the repository's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.suite.__main__ import table, write
from benchmarks.suite.rows import Row
from benchmarks.suite.turns import seconds_in_turn
from imig.interop.exporting import export_dataset
from imig.interop.imig100k.files import COMPLEX, EditedEntry, EditedView, target_name, view_names
from imig.interop.importing import import_dataset
from imig.threads import limit_threads

INSTANCES = 4
UNLIKE = 8
"""Samples that differ; all others are copies of them, in files of their own."""
COPYING = "copying the files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=200, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--small", action="store_true", help="8 samples, once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    given = parser.parse_args()
    limit_threads(1)
    samples, repeats = (8, 1) if given.small else (given.samples, given.repeats)
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), samples=samples, repeats=repeats)
    Console(width=120).print(table(rows))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if given.json is not None:
        write(given.json, rows, small=given.small)


def measure(scratch: Path, *, samples: int, repeats: int) -> list[Row]:
    """Rows for import and export, each beside the other ways."""
    source, shards = scratch / "published", scratch / "shards"
    write_published(source, samples=samples, side=1024)
    import_dataset(source, "imig100k", output=shards)
    pictures = len(list(_pictures(source)))
    megabytes = sum(path.stat().st_size for path in source.rglob("*") if path.is_file()) / 1e6
    fresh = (scratch / f"fresh-{number}" for number in range(sys.maxsize))

    def into_nothing(way: Callable[[Path], object]) -> Callable[[], None]:
        def run() -> None:
            output = next(fresh)
            way(output)
            shutil.rmtree(output, ignore_errors=True)

        return run

    ways = {
        "import": into_nothing(lambda to: import_dataset(source, "imig100k", output=to)),
        "export": into_nothing(lambda to: export_dataset(shards, "imig100k", output=to)),
        COPYING: into_nothing(lambda to: copy_files(source, to)),
        "decoding": lambda: decode(source),
        "decoding and encoding": into_nothing(lambda to: encode_anew(source, to)),
    }
    seconds = seconds_in_turn(ways, repeats=repeats, clock=time.process_time, warm_up=False)
    return [
        Row(
            part="interop",
            case=f"{ours}: {pictures} pictures of {megabytes:.0f} MB",
            unit="pictures/s",
            ours=pictures / seconds[ours],
            theirs=pictures / seconds[theirs],
            against=f"{'limit' if theirs == COPYING else 'peer'}: {theirs}",
            ratio=seconds[theirs] / seconds[ours],
        )
        for ours in ("import", "export")
        for theirs in list(ways)[2:]
    ]


def copy_files(source: Path, output: Path) -> None:
    """What a program does that does not look into files."""
    for path in _files(source):
        place = output / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def decode(source: Path) -> None:
    """Every picture, whole."""
    for path in _pictures(source):
        with Image.open(path) as picture:
            picture.load()


def encode_anew(source: Path, output: Path) -> None:
    """Every picture decoded and written in its own format."""
    for path in _pictures(source):
        place = output / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            if path.suffix == ".jpg":
                picture.save(place, quality=95, subsampling=0)
            else:
                picture.save(place)


def write_published(root: Path, *, samples: int, side: int) -> None:
    """Samples of `imig-complex`, `side` pixels wide and high."""
    generator = np.random.default_rng(0)
    made = [_make(root, number, generator, side=side) for number in range(min(samples, UNLIKE))]
    entries = []
    for number in range(samples):
        entry, files = made[number % len(made)]
        for name, data in files.items():
            place = root / name.replace(f"/{entry.index:06d}", f"/{number:06d}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        entries.append(entry.model_copy(update={"index": number}).model_dump_json())
    (root / COMPLEX / "filtered_prompts.json").write_text(f"[{','.join(entries)}]")


def _make(
    root: Path, number: int, generator: np.random.Generator, *, side: int
) -> tuple[EditedEntry, dict[str, bytes]]:
    folder = root.with_name("made")
    target = _textured(generator, (side, side))
    names = [target_name(COMPLEX, number)]
    _save(target, folder / names[0])
    views = []
    for index in range(INSTANCES):
        x, y = (int(one) for one in generator.integers(0, side // 2, size=2))
        width, height = (int(one) for one in generator.integers(side // 5, side // 2, size=2))
        box = (x, y, x + width, y + height)
        # About side x side pixels at the crop's aspect ratio, sides multiples of 16.
        edited = tuple(
            int(side * ratio**0.5) // 16 * 16 for ratio in (width / height, height / width)
        )
        edit = _textured(generator, (edited[0], edited[1]))
        for kind, picture in (("crop", target.crop(box)), ("edit", edit)):
            view = view_names(COMPLEX, number, index, "crop" if kind == "crop" else "edit")
            _save(picture, folder / view[0])
            _save(_ellipse(picture.size), folder / view[1])
            names += view
        views.append(
            EditedView(
                index=index,
                bbox=list(box),
                phrase=f"thing {index}",
                valid_bbox=[0, 0, *edited],
            )
        )
    entry = EditedEntry(
        index=number, prompt="Four things.", nouns=["thing"], reference_images=views
    )
    files = {name: (folder / name).read_bytes() for name in names}
    shutil.rmtree(folder)
    return entry, files


def _textured(generator: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Noise of several scales, so that a JPEG has about the bytes that a photograph's has."""
    width, height = size
    whole = np.zeros((height, width, 3), np.float32)
    for cell, weight in ((128, 0.6), (16, 0.25), (3, 0.15)):
        cells = generator.integers(0, 256, (height // cell + 2, width // cell + 2, 3), np.uint8)
        enlarged = Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)
        whole += weight * np.asarray(enlarged, np.float32)
    return Image.fromarray(whole.astype(np.uint8))


def _ellipse(size: tuple[int, int]) -> Image.Image:
    mask = Image.new("1", size)
    ImageDraw.Draw(mask).ellipse((2, 2, size[0] - 3, size[1] - 3), fill=1)
    return mask


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)  # Pillow's default quality, 75, is what the released pipeline takes


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


def _pictures(root: Path) -> Iterator[Path]:
    return (path for path in _files(root) if path.suffix in (".jpg", ".png"))


if __name__ == "__main__":
    main()
