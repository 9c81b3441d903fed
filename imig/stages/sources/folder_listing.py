"""What lies below a folder: pictures, and what keeps others from being found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imig.stages.pictures import UNREAD_SUFFIXES, picture_suffixes
from imig.stages.sources.base import name_some, printable, unread_to_remark


@dataclass
class FolderListing:
    """Paths are relative to the folder, with forward slashes."""

    paths: list[str] = field(default_factory=list)
    """Pictures, sorted. Links are among them, whether they lead to a file or not."""
    captioned: set[str] = field(default_factory=set)
    """Pictures beside which there is a file of the same name that ends in ``.txt``."""
    unread: Counter[str] = field(default_factory=Counter)
    """Suffix -> files that are pictures of a kind that is not read."""
    unreadable: list[str] = field(default_factory=list)
    """Folders that could not be listed, each with the reason."""
    links: list[str] = field(default_factory=list)
    """Links to folders, which are not followed."""
    dangling: list[str] = field(default_factory=list)
    """Pictures that are links and lead to no file."""

    def remarks(self) -> list[str]:
        """A line for each kind of what was not found or left out."""
        counted = [
            ("folders that cannot be read, so that what is in them is missing", self.unreadable),
            (
                "links to folders, which are not followed (give the folders they lead to)",
                self.links,
            ),
            ("links that lead to no file, whose scenes are quarantined", self.dangling),
        ]
        remarks = [f"{what}: {len(n):,} ({name_some(n)})" for what, n in counted if n]
        return [*remarks, *unread_to_remark(self.unread)]


def list_folder(root: Path, *, recursive: bool) -> FolderListing:
    """List the pictures below a folder; hidden files and folders are left out.

    Folders that cannot be read are noted, the root among them (as ``.``).
    """
    listing = FolderListing()
    pending = [""]
    while pending:
        below = pending.pop()
        names: list[str] = []
        texts: set[str] = set()
        try:
            for entry in _entries(root / below):
                path = f"{below}/{entry.name}" if below else entry.name
                if _is_folder(entry):
                    if recursive and entry.is_symlink():
                        listing.links.append(path)
                    elif recursive:
                        pending.append(path)
                    continue
                stem, suffix = os.path.splitext(entry.name)
                lower = suffix.lower()
                if lower in picture_suffixes():
                    names.append(path)
                    if entry.is_symlink() and not os.path.exists(entry.path):
                        listing.dangling.append(path)
                elif suffix == ".txt" and _is_file(entry):
                    texts.add(stem)
                elif lower in UNREAD_SUFFIXES:
                    listing.unread[lower] += 1
        except OSError as error:
            # What was found before it is kept, as `ls` keeps it.
            listing.unreadable.append(f"{printable(below or '.')}: {error.strerror or error}")
        listing.paths += names
        listing.captioned.update(
            path for path in names if os.path.splitext(path.rpartition("/")[2])[0] in texts
        )
    for found in (listing.paths, listing.unreadable, listing.links, listing.dangling):
        found.sort()
    return listing


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
