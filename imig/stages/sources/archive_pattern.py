"""`source.members` of a recipe: which members, or which key of the JSON, a person means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

JSON_PREFIX: Final = "json:"


@dataclass(frozen=True)
class JsonKey:
    """``json:a.b``: the value at key b of the mapping at key a of the sample's JSON member."""

    path: str


@dataclass(frozen=True)
class MemberPattern:
    """A glob over names of members: ``*`` is anything but a slash, ``?`` one character.

    Without a slash it is for the name in its folder (or, of ``caption.txt``, what follows the key);
    with one, for the whole name.
    """

    glob: str

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        folders = self.glob.removeprefix("./").split("/")
        return re.compile("/".join(map(_part_to_expression, folders)), re.IGNORECASE | re.DOTALL)

    @cached_property
    def names_keys(self) -> bool:
        """Whether what the star stands for is the sample's key.

        So it is in ``*.image.jpg``, ``*_rgb.png`` and ``images/*.jpg``, but not in ``*.jpg``, which
        says nothing about the dot that is meant.
        """
        folder, _, base = self.glob.rpartition("/")
        if "*" not in base:
            return False
        behind = re.split(r"[*?]", base)[1] if base.startswith("*") else ""
        return bool(folder.strip("./")) or any(map(str.isalnum, behind.rpartition(".")[0]))

    def fits(self, name: str, *, extension: str) -> bool:
        """Whether a member's name, or what follows its key, is meant."""
        return self._match(name) is not None or bool(
            "/" not in self.glob and self._expression.fullmatch(extension)
        )

    def key(self, name: str) -> str | None:
        """What the stars of a pattern that `names_keys` stand for; None: not this member."""
        match = self._match(name)
        if match is None or not all(match.groups()):
            return None
        if "/" in self.glob:
            return "/".join(match.groups())
        return name[: name.rfind("/") + 1] + match.group(1)

    def _match(self, name: str) -> re.Match[str] | None:
        text = name if "/" in self.glob else name.rpartition("/")[2]
        return self._expression.fullmatch(text)


def _part_to_expression(part: str) -> str:
    """Of what stands between two slashes of a glob.

    A star but the last takes as little as it can and keeps that (an atomic group): trying all
    ways to share a name among many stars would take years.
    """
    begin, *pieces = (re.escape(piece).replace(r"\?", "[^/]") for piece in part.split("*"))
    kept = "".join(f"(?>([^/]*?){piece})" for piece in pieces[:-1])
    return begin + kept + (f"([^/]*){pieces[-1]}" if pieces else "")


def parse_mapping(text: str | None) -> JsonKey | MemberPattern | None:
    """A value of `source.members`."""
    if text is None:
        return None
    if text.startswith(JSON_PREFIX):
        return JsonKey(text.removeprefix(JSON_PREFIX).strip())
    return MemberPattern(text)
