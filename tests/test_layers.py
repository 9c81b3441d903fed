"""Imports go downwards only: what a module may import is what stands above it in this table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "imig"

LAYERS = (
    # what everything may import
    ("errors", "printable", "threads", "startup", "regular_file", "text_encodings", "packed"),
    ("processes",),
    ("paths", "text", "outside"),
    ("schema", "console", "stores"),
    ("layout",),
    ("pictures",),
    ("sample",),
    # what a stage's settings are made of, and what is said of wrong ones
    ("recipe.parts", "recipe.yaml_lines"),
    ("recipe.errors", "duplicates.config"),
    ("recipe.values",),
    # things, each by itself
    ("tabletop", "shards"),
    ("models", "duplicates"),
    ("endpoint",),
    ("prompts",),
    # the steps of a build, and the recipe that is composed of them
    ("stages",),
    ("recipe",),
    ("prompts.dialogue", "checks"),
    ("prompts.writing",),
    # what does the work
    ("contextgen",),
    ("display", "comparison", "estimate"),
    ("licences",),
    ("output",),
    ("engine", "derived", "training", "interop", "hub"),
    ("evaluation",),
    ("api",),
    # the face
    ("schema_export", "commands"),
    ("cli",),
    ("__main__",),
)
"""From the bottom up. Of those that share a line none may import another."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

MODULES = {
    ".".join(("imig", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def component(module: str) -> str | None:
    """The entry of `LAYERS` that a module belongs to: the longest that fits."""
    parts = module.removesuffix(".__init__").split(".")[1:]
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in LEVEL:
            return ".".join(parts[:end])
    return None


def imported_modules(path: Path) -> Iterator[str]:
    """Every module of imig that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.startswith("imig."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "imig":
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                known = whole in MODULES or f"{whole}.__init__" in MODULES
                yield whole if known else str(node.module)


def upward_imports(module: str, path: Path) -> list[str]:
    own = component(module)
    assert own is not None, f"{module} has no place in LAYERS"
    return [
        f"{module} -> {found}"
        for found in imported_modules(path)
        if (other := component(found)) is not None and other != own and LEVEL[other] >= LEVEL[own]
    ]


@pytest.mark.parametrize("module", [one for one in MODULES if one != "imig.__init__"])
def test_a_module_imports_only_what_lies_below(module: str) -> None:
    assert upward_imports(module, MODULES[module]) == []


def test_an_import_upwards_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "boxes.py"
    module.write_text("def late():\n    from imig.engine.plan import Plan\n", encoding="utf-8")
    assert upward_imports("imig.layout.boxes", module) == ["imig.layout.boxes -> imig.engine.plan"]
