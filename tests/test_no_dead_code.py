"""What imig defines is used: by imig itself, its tools, benchmarks, examples or documentation.

Tests alone do not count: what only a test calls is no part of the tool. Neither do re-exports that
nobody imports.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

import imig

ROOT = Path(__file__).parents[1]
USERS = ("imig", "tools", "benchmarks", "examples")

CALLED_BY_OTHERS = {
    "add_parser": "cli.py calls that of every command",
    "connect_tcp": "httpcore calls its backends",
    "emit": "logging calls its handlers",
    "readinto": "io.BufferedReader calls its raw file",
    "seekable": "io.BufferedReader asks its raw file",
    "start_tls": "httpcore calls its streams",
    "ignore_aliases": "PyYAML asks its dumpers",
    "on_execution_step": "Ray Data calls its callbacks",
    "WORDS": "what the words of stages mean: its keys are the type `Word`, written out beside it",
}
"""Names that are looked up by others, and by whom."""

PASSED_ON_WHOLE = {"imig.schema": "what the format on disk is made of, in one place"}
"""Packages that pass on more than somebody imports, and why."""

MARKED = re.compile(r"validator|serializer|setter|overload")
"""Decorators that call what they decorate, or say the same name once more."""
WORDS = re.compile(r"[\w.:]+")


class Definition(NamedTuple):
    """A function, class, method or constant."""

    name: str
    owner: str
    """The class of a method; empty at the top of a module."""
    start: int
    end: int


@dataclass
class Uses:
    """What is read anywhere, and where."""

    names: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    """Variables, attributes and words of texts -> module and line."""
    imported: set[tuple[str, str]] = field(default_factory=set)
    """Module and name, imported or read as the module's attribute."""
    exports: list[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=list)
    """What a package's `__init__` passes on: as its own, and where it is from."""

    def add(self, module: str, tree: ast.Module, *, is_package: bool, modules: set[str]) -> None:
        """Take in a module."""
        aliases: dict[str, str] = {}
        read_here = {
            one.id
            for one in ast.walk(tree)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for one in node.names:
                    whole = f"{node.module}.{one.name}"
                    if whole in modules:
                        aliases[one.asname or one.name] = whole
                    elif is_package and one.name not in read_here:
                        self.exports.append(((module, one.name), (str(node.module), one.name)))
                    else:
                        self.imported.add((str(node.module), one.name))
            elif isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    self.names[node.id].append((module, node.lineno))
            elif isinstance(node, ast.Attribute):
                if isinstance(node.ctx, ast.Load):
                    self.names[node.attr].append((module, node.lineno))
                if isinstance(node.value, ast.Name) and node.value.id in aliases:
                    self.imported.add((aliases[node.value.id], node.attr))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._add_text(module, node.value, node.lineno)

    def _add_text(self, module: str, text: str, line: int) -> None:
        """A name in a table, ``package.module:Class``, or what `getattr` asks for."""
        if not WORDS.fullmatch(text):
            return
        path, _, last = text.replace(":", ".").rpartition(".")
        self.imported.add((path, last))
        self.names[last].append((module, line))

    def follow_exports(self) -> None:
        """What is imported from a package is used where the package has it from."""
        for _ in range(3):
            self.imported |= {source for own, source in self.exports if own in self.imported}


def definitions(tree: ast.Module) -> Iterator[Definition]:
    """Functions, classes, methods and constants of a module; no fields, which tables read."""
    pending: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree)]
    while pending:
        owner, body = pending.pop()
        for node in body.body:
            names: list[str] = []
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                if not any(MARKED.search(ast.unparse(one)) for one in node.decorator_list):
                    names = [node.name]
                if isinstance(node, ast.ClassDef):
                    pending.append((node.name, node))
            elif isinstance(node, ast.Assign) and not owner:
                names = [one.id for one in node.targets if isinstance(one, ast.Name)]
            elif (
                isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not owner
            ):
                names = [node.target.id]
            for name in names:
                if not name.startswith("__"):
                    yield Definition(name, owner, node.lineno, node.end_lineno or node.lineno)


def uses_in(trees: dict[str, ast.Module], *, packages: set[str]) -> Uses:
    """What all of these modules read."""
    uses, modules = Uses(), set(trees)
    for module, tree in trees.items():
        uses.add(module, tree, is_package=module in packages, modules=modules)
    uses.follow_exports()
    return uses


def unused(trees: dict[str, ast.Module], uses: Uses, *, documented: set[str]) -> list[str]:
    """Definitions of imig that nobody uses: module, line, name."""
    found = []
    for module, tree in trees.items():
        for one in definitions(tree) if module.split(".")[0] == "imig" else ():
            if one.name in documented or one.name in CALLED_BY_OTHERS:
                continue
            outside = [
                place
                for place in uses.names[one.name]
                if place[0] != module or not one.start <= place[1] <= one.end
            ]
            # A method is found by its name alone, anything else in its module or by an import.
            reads = outside if one.owner else [place for place in outside if place[0] == module]
            by_name = ("", one.name) if one.name[0].isupper() else (module, one.name)
            if not reads and (one.owner or uses.imported.isdisjoint({(module, one.name), by_name})):
                found.append(f"{module}:{one.start}: {one.name}")
    return found


def documented_names() -> set[str]:
    """What people are told to call: names in Python blocks of the documentation, and of `imig`."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    blocks = [one for text in texts for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    return {*imig.__all__, *re.findall(r"\w+", "\n".join(blocks))}


@pytest.fixture(scope="module")
def parsed() -> tuple[dict[str, ast.Module], Uses]:
    """Every module by its dotted name, and what all of them read."""
    trees: dict[str, ast.Module] = {}
    packages: set[str] = set()
    for folder in USERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.name == "__init__.py":
                name = name.removesuffix(".__init__")
                packages.add(name)
            trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees, uses_in(trees, packages=packages)


def test_what_is_defined_is_used(parsed: tuple[dict[str, ast.Module], Uses]) -> None:
    trees, uses = parsed
    assert unused(trees, uses, documented=documented_names()) == []


def test_what_packages_pass_on_is_imported(parsed: tuple[dict[str, ast.Module], Uses]) -> None:
    _, uses = parsed
    public = documented_names()
    idle = [
        f"{package}: {name}"
        for (package, name), (source, _) in uses.exports
        if package.startswith("imig.")
        and package not in PASSED_ON_WHOLE
        and source.startswith("imig.")
        and (package, name) not in uses.imported
        and name not in public
    ]
    assert idle == []


def test_dead_code_is_seen() -> None:
    modules = {
        "imig.a": "LIMIT = 3\n"
        "def alive(): return 1\ndef again(): return again()\ndef passed_on(): ...\n"
        "class Thing:\n    def method(self): ...\n    def read(self): ...\n",
        "imig": "from imig.a import passed_on\n__all__ = ['passed_on']\n",
        "imig.b": "from imig.a import alive\nother.read()\nalive.LIMIT\n",
    }
    trees = {name: ast.parse(text) for name, text in modules.items()}
    assert unused(trees, uses_in(trees, packages={"imig"}), documented=set()) == [
        "imig.a:1: LIMIT",
        "imig.a:3: again",
        "imig.a:4: passed_on",
        "imig.a:5: Thing",
        "imig.a:6: method",
    ]
