"""The dataset card: README.md with the front matter that hubs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import yaml

from imig.regular_file import open_regular_file
from imig.schema import Manifest
from imig.shards.atomic import atomic_write_bytes
from imig.shards.index import IndexRow

CARD_NAME: Final = "README.md"
PICTURES_FOLDER: Final = "pictures"
"""Where the card's pictures lie in the dataset folder."""
MAX_PICTURES: Final = 4

SIZE_CATEGORIES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
"""Upper limits and the hub's words for them (huggingface_hub, dataset card template)."""


def write_card(
    folder: Path,
    manifest: Manifest,
    rows: Sequence[IndexRow],
    *,
    pictures: Sequence[Path] = (),
) -> None:
    """Write the card of a dataset folder.

    Parameters
    ----------
    pictures:
        Images inside `folder`; the first four are shown.
    """
    shown = [path.relative_to(folder).as_posix() for path in pictures[:MAX_PICTURES]]
    parts = [
        _front_matter(manifest, rows),
        _introduction(manifest),
        *([_pictures(shown)] if shown else []),
        _figures(manifest, rows),
        _models(manifest),
        *_licences(manifest),
        _loading(manifest, rows),
    ]
    atomic_write_bytes(folder / CARD_NAME, "\n".join(parts).encode())


def is_jpeg(path: Path) -> bool:
    """Whether a file is a picture as the card shows them, by its header."""
    from PIL import Image

    try:
        with open_regular_file(path) as file, Image.open(file, formats=("JPEG",)):
            return True
    except (OSError, SyntaxError, ValueError):
        return False


def size_category(samples: int) -> str:
    """The hub's `size_categories` word for a number of samples."""
    return next((word for limit, word in SIZE_CATEGORIES if samples < limit), "n>10M")


def split_name(manifest: Manifest) -> Literal["train", "validation"]:
    """What hubs call the dataset's part: of the two of `imig split`, the one that it is.

    Filtering and encoding leave a part what it is; parts that were merged are one where all are.
    """
    for number, one in reversed(list(enumerate(manifest.derived))):
        if one.operation == "split":
            return "validation" if one.settings.get("side") == "validation" else "train"
        if one.operation == "merge":
            before = [split for split in manifest.derived[:number] if split.operation == "split"]
            held_out = [split for split in before if split.settings.get("side") == "validation"]
            # A merged dataset that comes of no split leaves none here.
            whole = len(before) >= len(one.parents) and len(held_out) == len(before)
            return "validation" if whole and before else "train"
    return "train"


def _front_matter(manifest: Manifest, rows: Sequence[IndexRow]) -> str:
    subsets = sorted({row.subset for row in rows})
    split = split_name(manifest)
    front = {
        "pretty_name": manifest.name,
        **licence_entries(manifest),
        "task_categories": ["text-to-image"],
        "size_categories": [size_category(len(rows))],
        "tags": ["webdataset", "imig", "multi-instance", "identity"],
        "configs": [
            {"config_name": subset, "data_files": [{"split": split, "path": f"{subset}-*.tar"}]}
            for subset in subsets
        ],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _introduction(manifest: Manifest) -> str:
    return (
        f"# {manifest.name}\n\n"
        "A multi-instance, identity-annotated image dataset, built with imig: each sample is a "
        "target image with\nits caption and, for each instance, a phrase, a box, a mask and "
        "reference pictures of its identity.\n"
    )


def _pictures(paths: Sequence[str]) -> str:
    return " ".join(f'<img src="{path}" width="45%" alt="A sample">' for path in paths) + "\n"


def _figures(manifest: Manifest, rows: Sequence[IndexRow]) -> str:
    counts = manifest.counts
    instances = [row.instances for row in rows]
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    figures = [
        ("samples", f"{len(rows)}"),
        *((f"subset `{name}`", f"{n}") for name, n in _tally([row.subset for row in rows])),
        ("instances", f"{sum(instances)}"),
        ("instances per scene", _listed([str(count) for count in sorted(instances)])),
        ("references", f"{sum(row.references for row in rows)}"),
        ("target sizes", _listed([f"{row.width}x{row.height}" for row in rows])),
        ("shards", f"{len(manifest.shards)} ({megabytes:.1f} MB)"),
        (
            "scenes of the build",
            f"{counts.input} in, {counts.written} written, {counts.rejected} rejected, "
            f"{counts.quarantined} quarantined",
        ),
        ("recipe", f"sha256 `{manifest.recipe_sha256[:12]}`, whole in `dataset.json`"),
    ]
    lines = [f"| {name} | {figure} |" for name, figure in figures]
    return "\n".join(["## Figures\n", "| | |", "|---|---|", *lines, ""])


def _models(manifest: Manifest) -> str:
    if not manifest.models:
        return "No model took part in the build.\n"
    lines = [f"| {one.family} | {one.weights} | {one.revision} |" for one in manifest.models]
    header = ["## Models\n", "| family | weights | revision |", "|---|---|---|"]
    return "\n".join([*header, *lines, ""])


def licence_entries(manifest: Manifest) -> dict[str, str]:
    """`license` of the front matter, with `license_name` and `license_link` where it is `other`."""
    ledger = manifest.licences
    if ledger is None:
        return {"license": "unknown"}
    entries = {
        "license": ledger.license,
        "license_name": ledger.license_name,
        "license_link": ledger.license_link,
    }
    return {name: value for name, value in entries.items() if value is not None}


def _licences(manifest: Manifest) -> Iterator[str]:
    """The ledger, as a table."""
    ledger = manifest.licences
    if ledger is None:
        return
    names = {"tabletop": "imig's procedural world", "file": "picture files", "shard": "tars",
             "prompt": "prompts"}  # fmt: skip
    lines = [
        f"| {names[one.kind]} | {_cell(one.licence or 'not stated')} | {one.scenes} |"
        for one in ledger.sources
    ]
    lines += [
        f"| {_cell(one.family)} {_cell(one.weights)} | {_cell(one.licence or 'not known')} | "
        f"{one.scenes if one.scenes else 'measured only'} |"
        for one in ledger.models
    ]
    declared = [f"\nDeclared for all of it: {ledger.declared}."] if ledger.declared else []
    header = ["## Licences\n", "| source or model | licence | scenes |", "|---|---|---|"]
    yield "\n".join([*header, *lines, *declared, ""])


def _cell(text: str) -> str:
    """For a cell of a table: one line, and no border in it."""
    return " ".join(text.split()).replace("|", "\\|")


def _loading(manifest: Manifest, rows: Sequence[IndexRow]) -> str:
    example = rows[0].id if rows else "basic-00000000"
    shard = manifest.shards[0].name if manifest.shards else "basic-000000.tar"
    return f"""## Loading

```python
import imig

dataset = imig.Dataset("path/to/this/folder")
scene = dataset["{example}"]
scene.target  # PIL image
scene.instances[0].phrase, scene.instances[0].box
scene.instances[0].mask  # numpy bool, (height, width)
scene.instances[0].references[0].image
dataset.index  # pandas frame, a row a sample
```

The shards are plain tars that every webdataset reader reads, without imig:

```python
import webdataset

for sample in webdataset.WebDataset("{shard}", shardshuffle=False).decode("pil"):
    sample["__key__"], sample["json"]["caption"], sample["target.jpg"]
```
"""


def _tally(words: Sequence[str]) -> list[tuple[str, int]]:
    return sorted(Counter(words).items())


def _listed(words: Sequence[str], *, longest: int = 8) -> str:
    """The most frequent words with their counts."""
    common = Counter(words).most_common(longest)
    rest = len(words) - sum(count for _, count in common)
    listed = [f"{word}: {count}" for word, count in common]
    return ", ".join([*listed, *([f"others: {rest}"] if rest else [])]) or "none"
