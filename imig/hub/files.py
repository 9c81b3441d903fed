"""Which files of a folder go to a hub: a finished dataset's, or those of both sides of a split."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imig.errors import UsageError
from imig.output.folder import BUILD_FOLDER
from imig.output.identity import require_whole
from imig.paths import command_text, input_path
from imig.schema import Manifest
from imig.shards.card import CARD_NAME, PICTURES_FOLDER, read_front_matter
from imig.shards.croissant import CROISSANT_NAME
from imig.shards.hub_columns import Split
from imig.shards.index import INDEX_NAME
from imig.shards.manifest import MANIFEST_NAME, file_sha256, read_manifest
from imig.shards.names import KNOWN_NAMES, SHARD_PATTERN

SPLITS: Final[dict[str, Split]] = {"train/": "train", "validation/": "validation"}
"""The folders that `imig split` makes."""
LAST: Final = (CARD_NAME, CROISSANT_NAME, MANIFEST_NAME)
"""Written together when all else is there: what a reader looks at first."""


@dataclass(frozen=True)
class HubFile:
    """A file and its place in the repository."""

    name: str
    """Path in the repository, and from the folder that is pushed."""
    path: Path
    size: int
    known_sha256: str | None
    """As the manifest has it; null where it has none."""

    def sha256(self) -> str:
        return self.known_sha256 or file_sha256(self.path)

    def git_id(self) -> str:
        """What git calls the file's bytes, as hubs list small files."""
        data = self.path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

    def last(self) -> bool:
        return self.name.rpartition("/")[2] in LAST


@dataclass(frozen=True)
class HubFolder:
    """What is pushed."""

    folder: Path
    datasets: dict[str, Manifest]
    """The manifest of each dataset by its folder: `""`, or `train/` and `validation/`."""
    files: list[HubFile]

    def names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.files)

    def remarks(self) -> Iterator[str]:
        """What a reader on the hub will miss."""
        front = read_front_matter(self.folder / CARD_NAME)
        if front is None or "dataset_info" not in front:
            yield (
                f"{CARD_NAME} does not name the columns, without which `datasets` reads no shards "
                f"of ours: `{command_text('imig', 'card', self.folder)}` writes one that does"
            )

    def samples(self) -> int:
        return sum(one.counts.written for one in self.datasets.values())


def read_hub_folder(path: Path) -> HubFolder:
    """The files that go to the hub.

    Raises
    ------
    UsageError
        When the folder is no finished dataset.
    DataError
        When a file of the dataset is missing, or of the wrong size.
    """
    folder = input_path(path)
    prefixes = dataset_prefixes(folder)
    datasets: dict[str, Manifest] = {}
    files: list[HubFile] = []
    for prefix in prefixes:
        root = folder / prefix
        if (root / BUILD_FOLDER).is_dir():
            raise UsageError(
                f"{root} is being written, or was left unfinished: it has a {BUILD_FOLDER}",
                cure="the command that was stopped finishes it",
            )
        datasets[prefix] = manifest = read_manifest(root / MANIFEST_NAME)
        require_whole(root, manifest)
        files += _dataset_files(root, prefix, manifest)
    if prefixes != [""]:
        card = folder / CARD_NAME
        if not card.is_file():
            raise UsageError(
                f"{folder} has no {CARD_NAME} that names its two datasets: an older imig made it",
                cure=f"`{command_text('imig', 'card', folder)}` writes one",
            )
        files.append(HubFile(CARD_NAME, card, card.stat().st_size, None))
    return HubFolder(folder, datasets, files)


def with_url(croissant: Path, url: str) -> bytes:
    """A dataset's description with the address at which it is found."""
    value = json.loads(croissant.read_bytes())
    # Where the specification's examples have it.
    placed = {}
    for key, one in value.items():
        placed[key] = one
        if key == "conformsTo":
            placed["url"] = url
    return f"{json.dumps(placed, indent=1, ensure_ascii=False)}\n".encode()


def is_dataset_file(name: str) -> bool:
    """Whether a file in a repository is called as those that imig writes there."""
    folder, _, base = name.rpartition("/")
    if folder.endswith(PICTURES_FOLDER) and base.endswith(".jpg"):
        folder = folder.removesuffix(PICTURES_FOLDER).rstrip("/")
    elif base not in KNOWN_NAMES and not fnmatch.fnmatchcase(base, SHARD_PATTERN):
        return False
    return folder == "" or f"{folder}/" in SPLITS


def dataset_prefixes(folder: Path) -> list[str]:
    """The folders of the datasets: `""`, or `train/` and `validation/`.

    Raises UsageError when there are none that are finished.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no dataset folder {folder}", cure="`imig build demo` makes one."
        )
    if (folder / MANIFEST_NAME).is_file():
        return [""]
    sides = [prefix for prefix in SPLITS if (folder / prefix / MANIFEST_NAME).is_file()]
    if len(sides) == len(SPLITS):
        return sides
    raise UsageError(
        f"{folder} is not a finished dataset: it has no {MANIFEST_NAME}",
        cure="a build writes it last; run the same command again to finish it",
    )


def _dataset_files(root: Path, prefix: str, manifest: Manifest) -> Iterator[HubFile]:
    checksums: dict[str, str | None] = {one.name: one.sha256 for one in manifest.shards}
    checksums[INDEX_NAME] = manifest.index_sha256
    others = {name: None for name in sorted(KNOWN_NAMES) if (root / name).is_file()}
    pictures = sorted((root / PICTURES_FOLDER).glob("*.jpg"))
    shown = {f"{PICTURES_FOLDER}/{path.name}": None for path in pictures if path.is_file()}
    licences = {path.name: None for path in sorted(root.glob("LICENSE*")) if path.is_file()}
    for name, sha256 in {**others, **shown, **licences, **checksums}.items():
        path = root / name
        yield HubFile(prefix + name, path, path.stat().st_size, sha256)
