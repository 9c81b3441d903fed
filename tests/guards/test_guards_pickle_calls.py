"""No call in imig loads a pickle, or runs text as code, but for the few that are listed here."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import imig

PACKAGE = Path(imig.__file__).parent

FORBIDDEN = (
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.*", "_pickle.*", "cloudpickle.*",
    "dill.*", "joblib.*", "shelve.*", "marshal.*", "jsonpickle.*",
    "eval", "exec", "compile", "os.system", "runpy.*", "code.Interactive*",
    "subprocess.*", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load*", "yaml.full_load*", "yaml.Loader",
    "yaml.UnsafeLoader", "yaml.FullLoader",
    "pandas.read_pickle", "pd.read_pickle", "torch.hub.*", "torch.jit.load", "torch.package.*",
    "torch.export.load", "torch.ops.load_library", "ctypes.*", "cffi.*",
    "webdataset.*", "onnx.*",
    "*.read_pickle", "*.unpickle", "*.broadcast_object_list", "*.all_gather_object",
    "*.scatter_object_list", "*.recv_object_list", "*.gather_object",
)  # fmt: skip
"""Names of calls, `*` for anything; those of methods whatever they are called on."""

ALLOWED = {
    ("sample.py", "pickle.loads"): "its own bytes of a moment ago, in the same process",
    ("packed.py", "pickle.loads"): "its own bytes, in the memory of the same process",
    ("training/data.py", "pickle.loads"): "of its own worker processes, through torch's pipe",
    ("estimate/cards.py", "subprocess.run"): "nvidia-smi, with words of its own",
    ("engine/node_checks.py", "cloudpickle.register_pickle_by_value"): "loads nothing",
    ("engine/node_checks.py", "cloudpickle.unregister_pickle_by_value"): "loads nothing",
    ("engine/workers.py", "pickle.loads"): "of the build's own tasks, through Ray's object store",
    ("engine/stream.py", "pickle.loads"): "as above: answers and failures of its own workers",
    ("engine/workers.py", "cloudpickle.dumps"): "writes what engine/fresh.py loads",
    ("engine/fresh.py", "pickle.loads"): "of the worker that has started the process",
    ("training/processes.py", "dist.broadcast_object_list"): "between the ranks of one training",
    ("training/processes.py", "dist.all_gather_object"): "between the ranks of one training",
}
"""Nothing of these comes from a file, from a dataset, or from whoever is not part of the run."""

TORCH_LOADS = Counter(
    {
        "models/families/aesthetics.py": 1,
        "models/families/groundingdino.py": 1,
        "models/families/segment_anything.py": 1,
        "training/checkpoint.py": 1,
    }
)


class Call(NamedTuple):
    name: str
    """Dotted, as it is written or as it was imported."""
    node: ast.Call


@cache
def all_calls() -> list[tuple[str, Call]]:
    """Every call of the package, with its file."""
    return [
        (path.relative_to(PACKAGE).as_posix(), call)
        for path in sorted(PACKAGE.rglob("*.py"))
        for call in calls(ast.parse(path.read_text(encoding="utf-8")))
    ]


def calls(tree: ast.Module) -> Iterator[Call]:
    """The calls of a module; those of imported names twice, once by where they are from."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            origins |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            origins |= {one.asname: one.name for one in node.names if one.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            yield Call(name, node)
            first, dot, rest = name.partition(".")
            if first in origins:
                yield Call(origins[first] + dot + rest, node)


_ANY_OF_THEM = re.compile("|".join(map(translate, FORBIDDEN)))


def is_forbidden(name: str) -> bool:
    return _ANY_OF_THEM.fullmatch(name) is not None


def test_nothing_else_loads_pickles_or_runs_text() -> None:
    found = {(file, call.name) for file, call in all_calls() if is_forbidden(call.name)}
    found = {one for one in found if not one[1].startswith("torch.distributed.")}  # as dist., too
    assert found == set(ALLOWED)


def test_torch_loads_tensors_only() -> None:
    found = Counter[str]()
    for file, call in all_calls():
        if call.name == "torch.load":
            found[file] += 1
            told = {one.arg: ast.unparse(one.value) for one in call.node.keywords}
            assert told.get("weights_only") == "True", f"{file}:{call.node.lineno}"
    assert found == TORCH_LOADS


def test_numpy_never_unpickles() -> None:
    for file, call in all_calls():
        told = {one.arg: ast.unparse(one.value) for one in call.node.keywords}
        assert told.get("allow_pickle", "False") == "False", f"{file}:{call.node.lineno}"
        assert call.name not in ("np.load", "numpy.load"), f"{file}:{call.node.lineno}"


UNTOLD = Counter({("contextgen/components.py", "kind.from_pretrained"): 1})
"""A scheduler, which is one JSON file."""
TOLD = {"weights_only": "True", "use_safetensors": "True", "trust_remote_code": "False"}


def test_libraries_are_told_that_files_are_not_to_be_trusted() -> None:
    """Of transformers, diffusers and open-clip: models by tensors alone, the rest without code."""
    seen, untold = Counter[str](), Counter[tuple[str, str]]()
    for file, call in all_calls():
        told = {one.arg: ast.unparse(one.value) for one in call.node.keywords}
        if call.name.endswith((".from_pretrained", ".create_model_and_transforms")):
            told = {key: value for key, value in told.items() if key in TOLD}
            if not told:
                untold[file, call.name] += 1
            seen[file] += 1
        for key, value in TOLD.items():
            assert told.get(key, value) == value, f"{file}:{call.node.lineno}"
    assert untold == UNTOLD
    assert len(seen) >= 5


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.load(x)",
        "from pickle import loads\nloads(x)",
        "import pickle as p\np.Unpickler(x)",
        "import yaml\nyaml.load(x)",
        "eval(x)",
        "import pandas as pd\npd.read_pickle(x)",
        "from torch import hub\nhub.load(x)",
        "import joblib\njoblib.load(x)",
    ],
)
def test_the_search_finds(code: str) -> None:
    assert any(is_forbidden(call.name) for call in calls(ast.parse(code)))
