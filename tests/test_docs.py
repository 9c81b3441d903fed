"""What README and docs say of files, commands, options and messages is so."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from imig.cli import _make_parser
from imig.models.families import FAMILIES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
REFERENCE = ROOT / "docs" / "reference.md"
FAQ = ROOT / "docs" / "faq.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

_CITED = re.compile(r"REFERENCE[\s#]+(\d(?:\.\d+[a-z]?)?(?:,[\s#]+\d\.\d+[a-z]?)*)(?!\d)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$|((?:^    [^\n]*\n)+)", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^ *|\$ |: |-m )imig ([a-z][\w-]*)((?: [^|;>`]*)?)")
_MADE_UP = ".."
"""In a message that the FAQ quotes: what differs from case to case."""


def pages() -> list[object]:
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in PAGES]


def cited() -> Iterator[tuple[str, Path]]:
    """Sections of docs/reference.md that the repository's files cite."""
    for folder in ("imig", "tests", "benchmarks", "pipelines", "schemas", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".json", ".md"} and path != Path(__file__):
                for match in _CITED.finditer(path.read_text(encoding="utf-8")):
                    yield from ((one, path) for one in re.findall(r"\d[\w.]*", match[1]))


def test_every_citation_has_its_section() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    sections = set(re.findall(r"^#{2,3} (\d[\w.]*?)\.? ", text, re.MULTILINE))
    found = {one.rstrip("."): path for one, path in cited()}
    assert len(found) > 10
    assert {one: path for one, path in found.items() if one not in sections} == {}


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, heading = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), link
        if heading:
            assert heading in _anchors(path), link


def _without_code(text: str) -> str:
    return _SPAN.sub("", _BLOCK.sub("", text))


def _anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.*)$", _BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@cache
def parsers() -> dict[str, set[str]]:
    """Options of every command, and of its actions (`models pull`); of imig itself under ""."""
    return dict(_options(_make_parser(), ""))


def _options(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, set[str]]]:
    yield name, {word for one in parser._actions for word in one.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _options(below, f"{name} {word}".strip())


def _codes(page: Path) -> Iterator[str]:
    """Lines of the page's code blocks, continued ones joined, and its code within sentences."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match[1] not in ("python", "json", "mermaid"):
            yield from re.sub(r"\\\n\s*", "", match[2] or match[3]).splitlines()
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        yield " ".join(span.split())


def _calls(page: Path) -> Iterator[tuple[str, set[str]]]:
    """Commands that the page names, and the options that it gives them."""
    for code in _codes(page):
        for one in re.split(r" {3,}", code.partition(" #")[0]):
            for match in _COMMAND.finditer(one):
                words = match[2].split()
                name = match[1]
                if words and f"{name} {words[0]}" in parsers():
                    name = f"{name} {words[0]}"
                given = {w.partition("=")[0].rstrip(",.") for w in words if w.startswith("--")}
                yield name, given


@pytest.mark.parametrize("page", pages())
def test_commands_and_options_exist(page: Path) -> None:
    for name, given in _calls(page):
        assert name in parsers(), f"imig {name}"
        assert given <= parsers()[name], f"imig {name}"


def test_the_pages_name_every_command() -> None:
    named = {name.partition(" ")[0] for page in PAGES for name, _ in _calls(page)}
    assert {name for name in parsers() if name and " " not in name} <= named


@pytest.mark.parametrize("page", pages())
def test_options_without_a_command_exist(page: Path) -> None:
    known = set().union(*parsers().values())
    for path in (ROOT / "benchmarks").rglob("*.py"):
        known.update(re.findall(r'"(--[a-z-]+)"', path.read_text(encoding="utf-8")))
    known.update(re.findall(r'"(--[a-z-]+)"', (ROOT / "tests/conftest.py").read_text()))
    for code in _codes(page):
        if match := re.match(r"--[a-z][a-z-]*", code):
            assert match[0] in known, code


@pytest.mark.parametrize("page", pages())
def test_make_has_the_targets(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for code in _codes(page):
        if match := re.match(r"(?:\$ )?make ([a-z][a-z-]*)", code):
            assert match[1] in targets, code


def test_the_readme_is_a_front_door() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") < 200


def test_every_family_and_package_is_described() -> None:
    models = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert [name for name in FAMILIES if f"`{name}`" not in models] == []
    drawn = ARCHITECTURE.read_text(encoding="utf-8")
    packages = sorted(one.parent.name for one in (ROOT / "imig").glob("*/__init__.py"))
    assert [name for name in packages if f"{name}/" not in drawn] == []


@cache
def messages() -> list[str]:
    """Every text in the package's code, with `_MADE_UP` where something is put in."""
    return [
        _template(node)
        for path in (ROOT / "imig").rglob("*.py")
        for above in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if not isinstance(above, ast.Expr)  # docstrings
        for node in ast.iter_child_nodes(above)
        if isinstance(node, ast.JoinedStr | ast.BinOp | ast.Constant)
    ]


def _template(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_template, values))
        case ast.BinOp(left=left, right=right):
            return _template(left) + _template(right)
    return _MADE_UP


def quoted() -> list[str]:
    """What the FAQ quotes: messages as headings, and reasons in the first column of a table."""
    text = FAQ.read_text(encoding="utf-8")
    return re.findall(r"^(?:### |\| )`(.+?)`(?: \||$)", text, re.MULTILINE)


@pytest.mark.parametrize("message", quoted())
def test_quoted_messages_are_the_programs(message: str) -> None:
    parts = [re.escape(part) for part in message.split(_MADE_UP) if part.strip()]
    assert any(re.search(".*".join(parts), text, re.DOTALL) for text in messages()), message


def test_enough_is_quoted() -> None:
    assert 25 <= len(quoted()) == len(set(quoted()))
