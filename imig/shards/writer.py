"""Write shards: plain ustar tars whose bytes depend on nothing but the samples."""

from __future__ import annotations

import io
import mmap
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imig.errors import VALIDATE, DataError
from imig.regular_file import open_regular_file
from imig.sample import Sample
from imig.schema import Scene, scene_to_json
from imig.shards.atomic import atomic_write
from imig.shards.tar import (
    BLOCK,
    Buffer,
    TarFault,
    TarMember,
    make_header,
    member_data,
    split_member,
    walk_tar,
)
from imig.stores.path import OutputPath, local_copy

JSON_MEMBER = "json"


@dataclass(frozen=True)
class SampleSpan:
    """Where a sample lies in its shard: all its members, headers and padding included."""

    id: str
    offset: int
    size: int


def sample_to_members(sample: Sample) -> list[tuple[str, bytes]]:
    """Full member names and bytes of a sample, sorted by name.

    Raises
    ------
    DataError
        When the sample lacks a member that its scene names.
    """
    scene = sample.scene
    require_members(scene, sample.files, place=f"sample {scene.id}")
    members = {JSON_MEMBER: scene_to_json(scene), **sample.files}
    return [(f"{scene.id}.{name}", members[name]) for name in sorted(members)]


def named_members(scene: Scene) -> set[str]:
    """The members that a scene names: its target, and its references' pictures and masks."""
    references = [reference for one in scene.instances for reference in one.references]
    masks = {reference.mask for reference in references if reference.mask is not None}
    return {scene.target, *(reference.image for reference in references), *masks}


def require_members(scene: Scene, members: Collection[str], *, place: str) -> None:
    """Raise DataError when a scene names members that are not among these."""
    missing = sorted(named_members(scene).difference(members))
    if missing:
        raise DataError(f"{place} lacks {', '.join(missing)}, which its scene names", cure=VALIDATE)


def write_tar(path: OutputPath, samples: Iterable[Sample]) -> list[SampleSpan]:
    """Write samples to a new tar, in the order given; returns where each one lies.

    The file appears under its name only when it is whole (see `atomic_write`).

    Raises
    ------
    DataError
        When the tar cannot be written, or a sample is incomplete or its id too long for a tar.
    """
    return write_members(path, (sample_to_members(sample) for sample in samples))


def write_members(
    path: OutputPath, samples: Iterable[Iterable[tuple[str, bytes]]]
) -> list[SampleSpan]:
    """`write_tar` for samples that are (full member name, bytes) pairs already."""
    spans, start = [], 0
    with atomic_write(path) as temporary, temporary.open("wb") as out:
        for members in samples:
            pieces: list[bytes] = []
            name = ""
            for name, data in members:
                pieces += (_header(name, len(data)), data, bytes(-len(data) % BLOCK))
            # One write a sample: its members are small, and their padding is smaller.
            size = out.write(b"".join(pieces))
            spans.append(SampleSpan(id=split_member(name)[0], offset=start, size=size))
            start += size
        _end_archive(out)
    return spans


def concatenate_parts(parts: Iterable[Path], target: OutputPath) -> list[SampleSpan]:
    """Join tars of `write_tar`: the bytes that one `write_tar` of all their samples would write.

    The parts stay. Returns where each sample lies in `target`.

    Raises
    ------
    DataError
        When a part is damaged (names it) or the target cannot be written.
    """
    spans: list[SampleSpan] = []
    with atomic_write(target) as temporary, temporary.open("wb") as out:
        for part in parts:
            start = out.tell()
            in_part = list(sample_spans(part))
            spans += [SampleSpan(one.id, start + one.offset, one.size) for one in in_part]
            with part.open("rb") as file:
                _copy(file, out, sum(one.size for one in in_part))
        _end_archive(out)
    return spans


def sample_spans(path: Path) -> Iterator[SampleSpan]:
    """Where each sample of a tar lies; reads headers only. Raises DataError on damage."""
    with _mapped(path) as data:
        yield from (span for span, _ in _group(path, data))


def member_names(path: OutputPath) -> frozenset[str]:
    """The members that any sample of a tar has; reads headers only. Raises DataError on damage."""
    with local_copy(path) as copy, _mapped(copy) as data:
        return frozenset(name for _, members in _group(str(path), data) for name in members)


def read_tar(
    path: OutputPath, *, only: Collection[str] | None = None, place: str | None = None
) -> Iterator[tuple[SampleSpan, dict[str, bytes]]]:
    """Samples of a tar in file order: where each lies, and its bytes by member name.

    Parameters
    ----------
    only:
        The members that are wanted; the bytes of others are not read. None: all.
    place:
        What messages call the tar, where `path` is a copy. Of one in a store a copy is made, for as
        long as it is read.

    Raises
    ------
    DataError
        When the tar is damaged; `imig validate` says more.
    """
    with local_copy(path) as copy, _mapped(copy) as data:
        for span, members in _group(place or str(path), data):
            yield (
                span,
                {
                    name: member_data(data, member)
                    for name, member in members.items()
                    if only is None or name in only
                },
            )


def _group(path: Path | str, data: Buffer) -> Iterator[tuple[SampleSpan, Mapping[str, TarMember]]]:
    key, members, start, end, last = "", dict[str, TarMember](), 0, 0, ""
    for item in walk_tar(data):
        if isinstance(item, TarFault):
            where = f", behind {last!r}" if last else ""
            raise DataError(
                f"{path} is damaged at byte {item.offset}{where}: {item.message}", cure=VALIDATE
            )
        its_key, name = split_member(item.name)
        if members and its_key != key:
            yield SampleSpan(id=key, offset=start, size=end - start), members
            members, start = {}, item.offset
        if not item.plain or name in members:
            what = "twice" if item.plain else "that is no plain file"
            raise DataError(f"{path} has a member {item.name!r} {what}", cure=VALIDATE)
        key, end, last = its_key, item.end, item.name
        members[name] = item
    if members:
        yield SampleSpan(id=key, offset=start, size=end - start), members


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes, not read before they are used."""
    try:
        with (
            open_regular_file(path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        # What mmap says of an empty file.
        raise DataError(f"{path} is empty") from error


def _header(name: str, size: int) -> bytes:
    try:
        return make_header(name, size)
    except ValueError as error:
        raise DataError(
            f"{name} does not fit into a tar header: {error}",
            cure="Member names end at 100 characters; use shorter sample ids.",
        ) from error


def _end_archive(out: io.BufferedWriter) -> None:
    """Two zero blocks, and more up to whole records, as tar has them."""
    out.write(bytes(2 * BLOCK))
    out.write(bytes(-out.tell() % tarfile.RECORDSIZE))


def _copy(source: io.BufferedReader, target: io.BufferedWriter, size: int) -> None:
    """Copy `size` bytes: the members of a part without its end of archive."""
    remaining = size
    while chunk := source.read(min(remaining, 1 << 20)):
        target.write(chunk)
        remaining -= len(chunk)
    if remaining:
        raise DataError(f"{source.name} became shorter while it was read")
