"""YAML with the line of every key, and no key twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imig.errors import UsageError

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class LinedYaml:
    """A parsed file."""

    value: Any
    lines: dict[KeyPath, int]
    """Line, from 1, of the key that ends each path."""
    bare: frozenset[KeyPath]
    """Keys with nothing behind the colon (not even `null`)."""


def parse_yaml(text: str, path: Path) -> LinedYaml:
    """Parse one YAML document; `path` is for messages only.

    Raises
    ------
    UsageError
        On a syntax error or a key that stands twice in a mapping; names file and line.
    """
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # characters that no text has
        raise UsageError(f"{path}: not YAML: {error}") from error
    try:
        node = loader.get_single_node()
        found = [] if node is None else list(_walk(node, (), path))
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(
            f"{path}{line}: not YAML: {error.problem or error.context}",
            cure="check indentation, quotes and colons in this line and the one above",
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {error}") from error
    finally:
        loader.dispose()
    lines = {key: line for key, line, _ in found}
    bare = frozenset(key for key, _, is_bare in found if is_bare)
    return LinedYaml(value=value, lines=lines, bare=bare)


def _walk(node: yaml.Node, key: KeyPath, path: Path) -> Iterator[tuple[KeyPath, int, bool]]:
    """(key path, line, bare) of every key below `node`."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk(item, (*key, str(number)), path)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        name, line = str(key_node.value), key_node.start_mark.line + 1
        if name in seen:
            raise UsageError(
                f"{path}:{line}: the key {name!r} stands in line {seen[name]} already",
                cure="keep one of the two",
            )
        seen[name] = line
        bare = isinstance(value_node, yaml.ScalarNode) and value_node.value == ""
        yield (*key, name), line, bare and value_node.style is None
        yield from _walk(value_node, (*key, name), path)
