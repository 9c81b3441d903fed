"""The dataset card: README.md with the front matter that hubs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from imig.errors import UsageError
from imig.recipe.yaml_lines import parse_plain_yaml
from imig.regular_file import open_regular_file
from imig.schema import MAX_LICENCE, Manifest
from imig.shards.atomic import atomic_write_bytes
from imig.shards.croissant import write_croissant
from imig.shards.hub_columns import Part, Split, hub_configurations
from imig.shards.index import IndexRow
from imig.shards.manifest import MANIFEST_NAME
from imig.stores.path import OutputPath, local_copy, size_of, sizes_in

if TYPE_CHECKING:
    from imig.shards.dataset import Dataset

CARD_NAME: Final = "README.md"
PICTURES_FOLDER: Final = "pictures"
"""Where the card's pictures lie in the dataset folder."""
MAX_PICTURES: Final = 4
_MOST: Final = 4 << 20
"""Bytes of a card that are looked at."""

SIZE_CATEGORIES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
"""Upper limits and the hub's words for them (huggingface_hub, dataset card template)."""


TAG: Final = "imig"
"""In the front matter of every card that imig has written."""


_MIXED: Final = "mixed"
"""Name of the licence of a dataset whose parts have several."""
LICENCE_KEYS: Final = ("license", "license_name", "license_link")
"""Of the front matter."""


def write_card(
    folder: Path,
    manifest: Manifest,
    rows: Sequence[IndexRow],
    *,
    pictures: Sequence[Path] = (),
    licence: Mapping[str, str] | None = None,
    members: Mapping[str, frozenset[str]] | None = None,
) -> None:
    """Write the card of a dataset folder, and its description for machines (`croissant.json`).

    Parameters
    ----------
    pictures:
        Images inside `folder`; the first four are shown.
    licence:
        Entries of the front matter; None: what follows from the manifest's ledger.
    members:
        Of shards, where they are known already; those of others are read.
    """
    shown = [path.relative_to(folder).as_posix() for path in pictures[:MAX_PICTURES]]
    stated = licence or licence_entries(manifest)
    part = Part(folder, manifest, rows, split_name(manifest), known_members=members or {})
    texts = [
        _front_matter([part], licence=stated),
        _introduction(manifest),
        *([_pictures(shown)] if shown else []),
        _figures(manifest, rows),
        _models(manifest),
        *_licences(manifest),
        _loading(manifest, rows),
    ]
    atomic_write_bytes(folder / CARD_NAME, "\n".join(texts).encode())
    write_croissant(folder, part, licence=_address(stated), keywords=_tags([part]))


def write_split_card(
    folder: OutputPath, parts: Sequence[Part], *, licence: Mapping[str, str] | None = None
) -> None:
    """The card of a folder that holds the two datasets of `imig split`, as one with two splits.

    A card that somebody else has written there, or that is of another dataset, stays as it is.
    """
    if _is_foreign(folder / CARD_NAME) or size_of(folder / MANIFEST_NAME) is not None:
        return
    manifest = parts[0].manifest
    pictures = sizes_in(parts[0].folder / PICTURES_FOLDER)
    shown = [
        f"{parts[0].prefix}{PICTURES_FOLDER}/{name}"
        for name in sorted(one for one in pictures if one.endswith(".jpg"))[:MAX_PICTURES]
    ]
    texts = [
        _front_matter(parts, licence=licence or _split_licence(parts)),
        _introduction(manifest),
        *([_pictures(shown)] if shown else []),
        _split_figures(parts),
        _models(manifest),
        _loading_splits(parts),
    ]
    atomic_write_bytes(folder / CARD_NAME, "\n".join(texts).encode())


def _is_foreign(card: OutputPath) -> bool:
    """Whether there is a card that imig has not written."""
    if size_of(card) is None:
        return False
    with local_copy(card) as path:
        return read_front_matter(path) is None


def read_front_matter(path: Path) -> dict[str, Any] | None:
    """What a card that imig has written says to hubs; None of another, or where there is none.

    Its owner may have added to it.
    """
    try:
        with open_regular_file(path) as file:
            return _front_matter_of(file.read(_MOST))
    except OSError:
        return None


def _front_matter_of(card: bytes) -> dict[str, Any] | None:
    front = card.decode(errors="replace").replace("\r\n", "\n").split("---\n", 2)
    try:
        is_front = len(front) == 3 and not front[0]
        stated = parse_plain_yaml(front[1], Path(CARD_NAME)) if is_front else None
    except UsageError:
        return None
    tags = stated.get("tags") if isinstance(stated, dict) else None
    return stated if isinstance(tags, list) and TAG in tags else None


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


def split_name(manifest: Manifest) -> Split:
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


class _Dumper(yaml.SafeDumper):
    """Without anchors: the same columns in two places are written twice, as hubs read them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _tags(parts: Sequence[Part]) -> list[str]:
    subsets = sorted({row.subset for part in parts for row in part.rows})
    return [
        "webdataset", TAG, "croissant", "multi-instance", "identity", "layout",
        "subject-driven-generation", "instance-segmentation", *subsets,
    ]  # fmt: skip


def _front_matter(parts: Sequence[Part], *, licence: Mapping[str, str]) -> str:
    front = {
        "pretty_name": parts[0].manifest.name,
        **licence,
        "task_categories": ["text-to-image", "image-to-image"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [size_category(sum(len(part.rows) for part in parts))],
        "tags": _tags(parts),
        **hub_configurations(parts),
    }
    text = yaml.dump(front, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


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
    subsets, sizes, instances, references = [], [], [], 0
    for row in rows:  # once: there may be a million
        subsets.append(row.subset)
        sizes.append(f"{row.width}x{row.height}")
        instances.append(row.instances)
        references += row.references
    megabytes = sum(shard.bytes for shard in manifest.shards) / 1e6
    figures = [
        ("samples", f"{len(rows)}"),
        *((f"subset `{name}`", f"{n}") for name, n in _tally(subsets)),
        ("instances", f"{sum(instances)}"),
        ("instances per scene", _listed([str(count) for count in sorted(instances)])),
        ("references", f"{references}"),
        ("target sizes", _listed(sizes)),
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


def stated_licence(front: Mapping[str, Any] | None) -> dict[str, str]:
    """What a card's front matter says of the licence, if it says which."""
    stated = {one: str(front[one]) for one in LICENCE_KEYS if front and front.get(one)}
    silent = stated.get("license") in (None, "unknown") or list(stated.values()) == ["other"]
    return {} if silent else stated


def owners_licence(card: Path, *manifests: Manifest) -> dict[str, str]:
    """What a card says of the licence where that does not follow from the ledgers.

    Empty where it does, where the card says nothing, and where imig has not written it.
    """
    return _not_derived(read_front_matter(card), *manifests)


def parents_licence(parent: Dataset) -> dict[str, str]:
    """`owners_licence` of a dataset that others are made of, wherever it lies.

    Its owner's word holds for them too. Raises DataError where its card cannot be read.
    """
    folder = parent.folder
    if not folder.has(CARD_NAME):
        return {}
    card = folder.read_range(CARD_NAME, 0, _MOST)
    return _not_derived(_front_matter_of(card), parent.manifest)


def given_under(dataset: Dataset) -> str | None:
    """The licence of a dataset as a whole: what its owner has written, else what was declared.

    It holds for the scenes that say nothing themselves. Raises as `parents_licence` does.
    """
    written, ledger = parents_licence(dataset), dataset.manifest.licences
    if written:
        return licence_text(written)
    return None if ledger is None else ledger.declared


def _not_derived(front: Mapping[str, Any] | None, *manifests: Manifest) -> dict[str, str]:
    stated = stated_licence(front)
    derived = [licence_entries(one) for one in manifests]
    if stated in derived or (len(manifests) > 1 and stated.get("license_name") == _MIXED):
        return {}
    return stated


def licence_text(stated: Mapping[str, str]) -> str:
    """What a card states, in the form that a ledger has it: an identifier, or name and address.

    `other` is the hub's word for what it has no identifier for, and names nothing.
    """
    if stated["license"] != "other":
        return stated["license"][:MAX_LICENCE]
    link = stated.get("license_link", "")
    words = [stated.get("license_name", ""), link if "://" in link else ""]
    return " ".join(" ".join(words).split())[:MAX_LICENCE].rstrip() or "other"


def _split_licence(parts: Sequence[Part]) -> dict[str, str]:
    """What both sides say; where they differ, that they do."""
    first, *others = [licence_entries(part.manifest) for part in parts]
    if all(one == first for one in others):
        return first
    ledger = f"{parts[0].prefix}{MANIFEST_NAME}"
    return {"license": "other", "license_name": _MIXED, "license_link": ledger}


def _address(licence: Mapping[str, str]) -> str:
    """The hub's identifier; of a licence that has none, where it stands."""
    link = licence.get("license_link", "")
    return link if link.startswith("https://") else licence["license"]


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

{_DATASETS}
The shards are plain tars that every webdataset reader reads:

```python
import webdataset

for sample in webdataset.WebDataset("{shard}", shardshuffle=False).decode("pil"):
    sample["__key__"], sample["json"]["caption"], sample["target.jpg"]
```
"""


_DATASETS: Final = """Or with the `datasets` package, which has columns and splits from this card:

```python
import datasets

for row in datasets.load_dataset("path/to/this/folder", split="train", streaming=True):
    row["__key__"], row["json"]["caption"], row["target.jpg"], row["ref00.jpg"]
```
"""


def _split_figures(parts: Sequence[Part]) -> str:
    names = [f"`{part.split}`" for part in parts]
    rows = [part.rows for part in parts]
    subsets = sorted({row.subset for each in rows for row in each})
    figures = [
        ("samples", [len(each) for each in rows]),
        *(
            (f"subset `{one}`", [sum(row.subset == one for row in each) for each in rows])
            for one in subsets
        ),
        ("instances", [sum(row.instances for row in each) for each in rows]),
        ("references", [sum(row.references for row in each) for each in rows]),
        ("shards", [len(part.manifest.shards) for part in parts]),
    ]
    lines = [f"| {name} | {' | '.join(map(str, each))} |" for name, each in figures]
    return "\n".join(
        [
            "## Figures\n",
            f"| | {' | '.join(names)} |",
            f"|---|{'---|' * len(names)}",
            *lines,
            "\nThe two share no identity, source or near copy. Each is a dataset of its own, with "
            "index, manifest and\ncard in its folder.\n",
        ]
    )


def _loading_splits(parts: Sequence[Part]) -> str:
    (first, *_) = parts
    return f"""## Loading

```python
import imig

dataset = imig.Dataset("path/to/this/folder/{first.prefix.rstrip("/")}")
scene = dataset[0]
scene.target, scene.caption, scene.instances[0].references[0].image
```

{_DATASETS}"""


def _tally(words: Sequence[str]) -> list[tuple[str, int]]:
    return sorted(Counter(words).items())


def _listed(words: Sequence[str], *, longest: int = 8) -> str:
    """The most frequent words with their counts."""
    common = Counter(words).most_common(longest)
    rest = len(words) - sum(count for _, count in common)
    listed = [f"{word}: {count}" for word, count in common]
    return ", ".join([*listed, *([f"others: {rest}"] if rest else [])]) or "none"
