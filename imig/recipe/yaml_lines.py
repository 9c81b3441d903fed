"""YAML and JSON with the line of every key, no key twice, and every value as it was written.

What YAML 1.1 takes a bare word for (`no`, `2024-05-01`, `007`) is only a guess: a `Written` keeps
the word beside it until the field is known (`imig.recipe.values`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.reader import Reader, ReaderError

from imig.errors import DataError, UsageError
from imig.printable import shortened
from imig.text import bytes_to_text

KeyPath = tuple[str, ...]

MAX_NODES: Final = 100_000
"""Values of a file, aliases followed. Ten lines of aliases can mean more than any memory holds."""

MAX_DEPTH: Final = 1000
"""Values within each other, in a file of somebody else's program."""
_QUICK: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP: Final = "brackets are nested too deeply"
_TAG: Final = "tag:yaml.org,2002:"
_NO_VALUE: Final = (ValueError, OverflowError, AttributeError, KeyError)
"""What PyYAML raises of a word that has a tag or a form, and not the value."""


@dataclass(frozen=True)
class Written:
    """A bare word of a file, or the text behind a `--set`."""

    text: str
    value: Any
    """What YAML makes of it: None, bool, int, float, or text again; of a `--set` lists and dicts
    too, with bare words in them."""
    setting: str = ""
    """``--set a.b=text`` where that is its origin: then text may be anything, blanks too."""
    fault: str = ""
    """Why a setting is no YAML."""


@dataclass(frozen=True)
class LinedYaml:
    """A parsed file."""

    value: Any
    """Dicts with text for keys, lists, texts that were quoted, and a `Written` for the rest."""
    lines: dict[KeyPath, int]
    """Line, from 1, of the key that ends each path."""
    bare: frozenset[KeyPath]
    """Keys with nothing behind the colon (not even `null`)."""


def read_text(path: Path) -> str:
    """The text of a recipe or a layout file, whatever encoding an editor has saved it in.

    Raises
    ------
    UsageError
        When it cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {path}: {reason}") from error
    try:
        return bytes_to_text(data, where=str(path))
    except DataError as error:
        raise UsageError(error.message, cure="save it as UTF-8") from error


def parse_yaml(text: str, path: Path) -> LinedYaml:
    """Parse one YAML document; `path` is for messages only.

    Raises
    ------
    UsageError
        On a syntax error, a key that stands twice in a mapping, or a second document; names file
        and line.
    """
    try:
        loader = yaml.SafeLoader(text)
    except ReaderError as error:  # characters that no text has
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(
            f"{path}:{line}: not YAML: the character U+{ord(error.character):04X} is not allowed"
            if isinstance(error.character, str)
            else f"{path}:{line}: not YAML: {error.reason}",
            cure="remove it, or write it as an escape in double quotes",
        ) from error
    try:
        node = loader.get_single_node()
        found = [] if node is None else list(_walk(node, path))
        value = None if node is None else _Nodes(loader).to_value(node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, path) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {error}") from error
    except RecursionError:
        raise UsageError(f"{path}:1: {_TOO_DEEP}") from None
    finally:
        loader.dispose()
    lines = {key: line for key, line, _ in found}
    bare = frozenset(key for key, _, is_bare in found if is_bare)
    return LinedYaml(value=value, lines=lines, bare=bare)


def parse_json(text: str, path: Path) -> LinedYaml:
    """Parse JSON, whose values mean what JSON says (1e3 is no number in YAML).

    Raises
    ------
    UsageError
        On a syntax error or a key that stands twice in a mapping; names file and line.
    """
    doubled: list[str] = []

    def to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        doubled.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=to_dict)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}:{error.lineno}: not JSON: {error.msg}",
            cure="check quotes, commas and brackets in this line and the one above",
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"{path}: not JSON that can be read: {error}") from error
    except RecursionError:
        raise UsageError(f"{path}:1: {_TOO_DEEP}") from None
    try:
        # YAML knows the lines. JSON may be indented with tabs, and have characters in its texts
        # that YAML never has.
        return LinedYaml(
            value, parse_yaml(Reader.NON_PRINTABLE.sub("?", text.replace("\t", " ")), path).lines,
            frozenset(),
        )  # fmt: skip
    except UsageError as error:
        if _TOO_DEEP in error.message:
            raise
        if not doubled:
            return LinedYaml(value, {}, frozenset())  # good JSON that YAML cannot read
        if f"the key {doubled[0]!r} stands" in error.message:
            raise
        raise UsageError(f"{path}: the key {doubled[0]!r} stands there twice") from error


def parse_setting(text: str, *, setting: str) -> Written:
    """What stands behind the ``=`` of ``--set a.b=text``; `setting` is the whole, for messages."""
    try:
        document = parse_yaml(text, Path("value"))
    except UsageError as error:
        return Written(text, text, setting=setting, fault=error.message.rpartition("not YAML: ")[2])
    value = document.value
    return Written(text, value.value if isinstance(value, Written) else value, setting=setting)


def parse_plain_yaml(text: str, path: Path) -> Any:
    """The values of a file of somebody else's program, as YAML 1.1 takes them; quick.

    Raises
    ------
    UsageError
        It is no YAML, or means more than `MAX_NODES` values; names file and line.
    """
    loader = None
    try:
        _require_shallow(text, path)
        loader = _QUICK(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_few(node, path)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, path) from error
    except (yaml.YAMLError, *_NO_VALUE, TypeError) as error:
        raise UsageError(f"{path}: not YAML: {shortened(str(error))}") from error
    except RecursionError:
        raise UsageError(f"{path}:1: {_TOO_DEEP}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _require_shallow(text: str, path: Path) -> None:
    """Raise UsageError where values are nested as nobody nests them.

    What makes nodes of them in C calls itself for each level, and takes the process along when the
    stack is used up.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_QUICK):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = "" if event.start_mark is None else f":{event.start_mark.line + 1}"
                raise UsageError(f"{path}{line}: {_TOO_DEEP}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _require_few(node: yaml.Node, path: Path) -> None:
    """Raise UsageError for a document of too many values, aliases followed."""
    count, left = 0, [node]
    while left:
        one = left.pop()
        count += 1
        if count > MAX_NODES:
            raise UsageError(f"{path}: with its aliases (*) followed the file is too large")
        if isinstance(one, yaml.MappingNode):
            left += [inner for pair in one.value for inner in pair]
        elif isinstance(one, yaml.SequenceNode):
            left += one.value


class _Nodes:
    """From the nodes of a document to values; aliases are the same object twice."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._known: dict[int, Any] = {}

    def to_value(self, node: yaml.Node) -> Any:
        if id(node) not in self._known:
            self._known[id(node)] = self._to_value(node)
        return self._known[id(node)]

    def _to_value(self, node: yaml.Node) -> Any:
        if not node.tag.startswith(_TAG):
            raise _wrong_tag(node, f"the tag {node.tag} means nothing here")
        if isinstance(node, yaml.SequenceNode):
            return [self.to_value(one) for one in node.value]
        if isinstance(node, yaml.MappingNode):
            self._loader.flatten_mapping(node)  # merge keys
            return {str(key.value): self.to_value(inner) for key, inner in node.value}
        if not isinstance(node, yaml.ScalarNode):
            raise _wrong_tag(node, "this is no value")
        if node.style is not None or not _is_guess(node.tag):
            try:
                return self._loader.construct_object(node, deep=True)
            except _NO_VALUE as error:
                what = node.tag.removeprefix(_TAG)
                raise _wrong_tag(node, f"{node.value!r} is no {what}") from error
        return Written(node.value, self._guess(node))

    def _guess(self, node: yaml.Node) -> Any:
        try:
            value = self._loader.construct_object(node, deep=True)
        except (*_NO_VALUE, yaml.constructor.ConstructorError):
            return node.value  # 2024-13-45 has the form of a date, and = a meaning of its own
        return value if isinstance(value, bool | int | float | None) else node.value


def _is_guess(tag: str) -> bool:
    """Whether it is one that YAML gives a bare word for its form."""
    return tag.removeprefix(_TAG) in ("null", "bool", "int", "float", "timestamp", "merge", "value")


def _wrong_tag(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


@dataclass
class _Walk:
    """What a walk through a document has met so far."""

    path: Path
    visited: int = 0
    inside: set[int] = field(default_factory=set)


def _walk(node: yaml.Node, path: Path) -> Iterator[tuple[KeyPath, int, bool]]:
    """(key path, line, bare) of every key below `node`."""
    yield from _walk_below(node, (), _Walk(path))


def _walk_below(node: yaml.Node, key: KeyPath, walk: _Walk) -> Iterator[tuple[KeyPath, int, bool]]:
    line = node.start_mark.line + 1
    walk.visited += 1
    if id(node) in walk.inside:
        raise UsageError(f"{walk.path}:{line}: an alias (*) stands inside of what it repeats")
    if walk.visited > MAX_NODES:
        raise UsageError(f"{walk.path}:{line}: with its aliases (*) followed the file is too large")
    walk.inside.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk_below(item, (*key, str(number)), walk)
    if isinstance(node, yaml.MappingNode):
        yield from _walk_mapping(node, key, walk)
    walk.inside.discard(id(node))


def _walk_mapping(
    node: yaml.MappingNode, key: KeyPath, walk: _Walk
) -> Iterator[tuple[KeyPath, int, bool]]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(
                f"{walk.path}:{line}: a key is a word, not a list or a mapping",
                cure="put what begins with a bracket or a brace into quotes",
            )
        name = str(key_node.value)
        if name in seen:
            raise UsageError(
                f"{walk.path}:{line}: the key {name!r} stands in line {seen[name]} already",
                cure="keep one of the two",
            )
        seen[name] = line
        bare = isinstance(value_node, yaml.ScalarNode) and value_node.value == ""
        yield (*key, name), line, bare and value_node.style is None
        yield from _walk_below(value_node, (*key, name), walk)


def _syntax_error(error: yaml.MarkedYAMLError, path: Path) -> UsageError:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}" if mark else f"{path}"
    problem = error.problem or error.context
    if isinstance(error, yaml.composer.ComposerError) and error.problem == (
        "but found another document"
    ):
        return UsageError(
            f"{place}: a second document begins here (---)",
            cure="put what follows into a file of its own",
        )
    cure = "check indentation, quotes and colons in this line and the one above"
    if "'\\t'" in str(problem):
        cure = "indent with blanks: YAML allows no tabs there"
    return UsageError(f"{place}: not YAML: {problem}", cure=cure)
