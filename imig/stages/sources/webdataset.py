"""Pictures from tars in webdataset form, whoever wrote them.

Which members make a sample: `imig.stages.sources.archive_keys`. They need not be adjacent here: a
tar's headers are read once, and its pictures later, each at its offset.
"""

from __future__ import annotations

import difflib
import hashlib
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from imig.errors import CannotOpenError, DataError, SourceLostError
from imig.sample import Sample
from imig.schema import Source
from imig.stages.base import Word
from imig.stages.pictures import PictureError
from imig.stages.sources.archive import (
    ChangedArchiveError,
    OddMemberError,
    is_unchanged,
    read_member,
)
from imig.stages.sources.archive_paths import path_to_archives
from imig.stages.sources.archive_samples import Entry, Samples, is_json, json_keys, list_samples
from imig.stages.sources.archive_text import (
    bytes_to_json,
    json_to_caption,
    json_to_licence,
    json_to_nouns,
    key_paths,
    look_up,
    value_to_phrases,
    value_to_text,
)
from imig.stages.sources.base import (
    STAGE,
    UNDECODABLE_CAPTION,
    UNREADABLE_JSON,
    SourceError,
    SourceKind,
    fill_from_bytes,
    fill_text,
    printable,
    printable_path,
    set_licence,
    turn_down,
)
from imig.stages.sources.config import WebdatasetSource
from imig.stages.sources.opening import MAX_TEXT_BYTES, cannot_open, max_bytes, require_some
from imig.stores.path import OutputPath, StorePath
from imig.text import bytes_to_text

LOOKED_AT: Final = 64
"""Samples whose JSON is searched, on the driver, for a key that the recipe names."""
_LISTED_KEYS: Final = 12


class SampleText(NamedTuple):
    """What a sample says about its picture, and which member said it."""

    caption: str
    caption_from: str
    nouns: list[str]
    nouns_from: str
    undecodable: list[str]
    """Members in no encoding that is known: which, and the first wrong byte."""
    unreadable_json: list[str]
    """JSON members that were asked for what they say, and are no JSON."""
    licence: str = ""


class WebdatasetPictures(SourceKind):
    """Every sample of some tars, in the order of names and, within a tar, of first members."""

    def __init__(self, config: WebdatasetSource) -> None:
        self._config = config
        self._archives = path_to_archives(config.path)
        self._json_keys = json_keys(config.members)

    @cached_property
    def _samples(self) -> Samples:
        return list_samples(self._archives, key=self._config.key, members=self._config.members)

    @property
    def writes(self) -> frozenset[Word]:
        mapped = self._config.members
        written: set[Word] = {"target"}
        has_json = any(entry.jsons() for entry in self._samples.entries)
        if mapped.caption or has_json or any(one.texts() for one in self._samples.entries):
            written.add("caption")
        if mapped.nouns or has_json:
            written.add("nouns")
        return frozenset(written)

    def count(self) -> int:
        if not self._samples.entries:
            raise SourceError(f"no samples in {self._config.path}")
        self._check_mapping()
        return len(self._samples.entries)

    def folders(self) -> list[Path]:
        if any(isinstance(one, StorePath) for one in self._archives):
            return []
        folder = Path(self._config.path).expanduser()
        return [folder] if folder.is_dir() else []

    def files(self) -> list[OutputPath]:
        return self._archives

    def can_open(self, number: int) -> bool:
        members = self._samples.entries[number].members.values()
        return all(
            is_unchanged(self._archives[one], self._samples.states[one])
            for one in {member.archive for member in members}
        )

    def fingerprint(self) -> str:
        sizes = [state.size for state in self._samples.states]
        return hashlib.sha256(f"{super().fingerprint()} {sizes}".encode()).hexdigest()

    def record(self, number: int, *, seed: int) -> Source:
        place = self._samples.place(self._samples.entries[number])
        return Source(kind="shard", path=printable_path(place))

    def fill(self, sample: Sample, number: int) -> None:
        entry = self._samples.entries[number]
        picture = entry.picture()
        if picture is None:
            members = " ".join(sorted({name.lower() for name in entry.members}))
            sample.turn_down(
                stage=STAGE,
                reason="no image in the sample",
                figures={"members": printable_path(members)},
            )
            return
        try:
            data = self._read(entry, picture, limit=max_bytes(self._config.max_pixels))
        except OddMemberError as error:
            turn_down(sample, PictureError("too many bytes", {"error": str(error)}))
            return
        text = self.text(entry)
        fill_from_bytes(sample, data, self._config)
        if sample.reject is None:
            for problem in text.undecodable:
                sample.note_oddity(UNDECODABLE_CAPTION, problem)
            for problem in text.unreadable_json:
                sample.note_oddity(UNREADABLE_JSON, problem)
            fill_text(sample, caption=text.caption, nouns=text.nouns)
            set_licence(sample, text.licence)

    def text(self, entry: Entry) -> SampleText:
        """Caption and nouns: a text member comes before the JSON's keys; blank ones say nothing."""
        caption, caption_from = "", ""
        nouns, nouns_from = [], ""
        undecodable: list[str] = []
        unreadable: list[str] = []
        if "caption" not in self._json_keys:
            for name in entry.texts():
                if is_json(name):  # by a glob of the recipe
                    caption = json_to_caption(self._read_json(entry, name))[0]
                else:
                    caption = self._read_text(entry, name, undecodable)
                if caption.strip():
                    caption_from = name
                    break
        for name in (entry.chosen or {}).get("nouns", ()):
            if is_json(name):
                said = self._read_json(entry, name)
                nouns = value_to_phrases(said) if isinstance(said, list) else json_to_nouns(said)
            else:
                nouns = value_to_phrases(self._read_text(entry, name, undecodable))
            nouns_from = name
        enough = bool(caption_from and (nouns or not self._nouns_may_be_in_json))
        licence = ""
        for name in entry.jsons():
            value = self._read_json(entry, name)
            licence = licence or json_to_licence(value)
            if enough:
                continue
            if value is None:
                unreadable.append(self._where(entry, name))
            if not caption_from and (found := self._json_caption(value))[0]:
                caption, caption_from = found[0], f"{name}: {found[1]}"
            if not nouns and (phrases := self._json_nouns(value)):
                nouns, nouns_from = phrases, f"{name}: {self._json_keys.get('nouns', 'nouns')}"
        return SampleText(
            caption, caption_from, nouns, nouns_from, undecodable, unreadable, licence
        )

    @property
    def _nouns_may_be_in_json(self) -> bool:
        return self._config.members.nouns is None or "nouns" in self._json_keys

    def _json_caption(self, value: Any) -> tuple[str, str]:
        if (key := self._json_keys.get("caption")) is not None:
            return value_to_text(look_up(value, key)), key
        return ("", "") if self._config.members.caption else json_to_caption(value)

    def _json_nouns(self, value: Any) -> list[str]:
        if (key := self._json_keys.get("nouns")) is not None:
            return value_to_phrases(look_up(value, key))
        return [] if self._config.members.nouns else json_to_nouns(value)

    def _read(self, entry: Entry, extension: str, *, limit: int = MAX_TEXT_BYTES) -> bytes:
        """The bytes of a member.

        Raises CannotOpenError, SourceLostError, and OddMemberError when it is too large.
        """
        member = entry.members[extension]
        path = self._archives[member.archive]
        try:
            return read_member(
                path, member, state=self._samples.states[member.archive], limit=limit
            )
        except ChangedArchiveError as error:
            raise SourceLostError(
                f"{path} is not what it was when the build began",
                cure="leave the source alone during a build, and run the same command again: it "
                "goes on where the tars still hold the same samples",
            ) from error
        except OSError as error:
            require_some(self._archives, what="tar that was listed")
            raise cannot_open(self._where(entry, extension), error) from None

    def _read_text(self, entry: Entry, extension: str, undecodable: list[str]) -> str:
        """A text member; "" where it is in no encoding, which `undecodable` gets to know."""
        where = self._where(entry, extension)
        try:
            data = self._read(entry, extension)
        except OddMemberError as error:
            undecodable.append(f"{where}: {error}")
            return ""
        try:
            return bytes_to_text(data, where=where)
        except DataError as error:
            undecodable.append(error.message)
            return ""

    def _read_json(self, entry: Entry, extension: str) -> Any:
        try:
            data = self._read(entry, extension)
        except OddMemberError:
            return None
        return bytes_to_json(data, where=self._where(entry, extension))

    def _where(self, entry: Entry, extension: str) -> str:
        return printable(f"{self._samples.place(entry)}.{extension}")

    def json_values(self, entries: list[Entry]) -> list[Any]:
        """The JSON of some samples; what cannot be read is left out."""
        values = []
        for entry in entries:
            for name in entry.jsons():
                with suppress(CannotOpenError):  # the build will say so
                    values.append(self._read_json(entry, name))
        return values

    def _check_mapping(self) -> None:
        """Raise SourceError when what the recipe maps is in none of the samples."""
        entries = self._samples.entries
        for role, text in self._config.members:
            if text is None:
                continue
            if (key := self._json_keys.get(role)) is not None:
                self._check_json_key(role, text, key)
            elif not any((entry.chosen or {}).get(role) for entry in entries):
                raise SourceError(
                    f"source.members.{role}: no member is {text!r}",
                    cure="the first samples hold " + self._first_members(),
                    key=f"source.members.{role}",
                )

    def _check_json_key(self, role: str, text: str, key: str) -> None:
        with_json = [entry for entry in self._samples.entries if entry.jsons()][:LOOKED_AT]
        values = self.json_values(with_json)
        to_text = value_to_text if role == "caption" else value_to_phrases
        if any(to_text(look_up(value, key)) for value in values):
            return
        place = f"source.members.{role}"
        if not with_json:
            raise SourceError(
                f"{place}: {text!r} asks for JSON, and no sample has any",
                cure="the first samples hold " + self._first_members(),
                key=place,
            )
        there = list(dict.fromkeys(path for value in values for path in key_paths(value)))
        found = [one for value in values if (one := look_up(value, key)) is not None]
        if found:
            kind = "empty" if found[0] in ("", [], {}) else f"a {type(found[0]).__name__}"
            problem = f"{key!r} is there, but it is {kind}, not text"
        else:
            problem = f"no JSON of the first {len(with_json)} samples has the key {key!r}"
        guess = difflib.get_close_matches(key, there, n=1, cutoff=0.5)
        listed = ", ".join(map(printable, there[:_LISTED_KEYS])) or "none that can be read"
        more = f", and {len(there) - _LISTED_KEYS} more" if len(there) > _LISTED_KEYS else ""
        hint = f"did you mean json:{guess[0]}? " if guess and not found else ""
        raise SourceError(
            f"{place}: {problem}", cure=f"{hint}its keys are {listed}{more}", key=place
        )

    def _first_members(self) -> str:
        return "; ".join(
            f"{printable(entry.key)}: {printable(' '.join(sorted(entry.members)))}"
            for entry in self._samples.entries[:3]
        )

    def describe(self) -> list[str]:
        from imig.stages.sources.archive_report import describe_samples

        return describe_samples(self._samples, self.text, self.json_values, mapped=self._json_keys)

    def remarks(self) -> list[str]:
        from imig.stages.sources.archive_report import samples_to_remarks

        return samples_to_remarks(self._samples)
