"""Adapters' files: the same content, the same bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from imig.contextgen.safetensors_file import save_tensors

TENSORS = {
    "b": torch.arange(6.0).view(2, 3).T,
    "a": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
}
METADATA = {
    "z": "",
    "format": "pt",
    "imig": json.dumps({"instruction": 'Ein "Bär"\n\ttanzt \\ \u2028 \x01\x7f 🐻: {caption}'}),
    "ü": "Überschrift\r\n",
    **{f"key{number}": str(number) for number in range(20)},
}
WRITE = """
import sys
from pathlib import Path
import test_contextgen_safetensors_file as here
here.save_tensors(here.TENSORS, Path(sys.argv[1]), metadata=here.METADATA)
"""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    ours, other = tmp_path / "new" / "ours.safetensors", tmp_path / "other.safetensors"
    save_tensors(TENSORS, ours, metadata=METADATA)
    # Rust's order of the metadata is drawn once a map: within one process it changes, too.
    for _ in range(3):
        save_tensors(TENSORS, other, metadata=dict(reversed(METADATA.items())))
        assert sha256(other) == sha256(ours)
    where = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", WRITE, str(other)], check=True, cwd=where)
    assert sha256(other) == sha256(ours)
    assert [path.name for path in ours.parent.iterdir()] == [ours.name]


def test_others_read_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(TENSORS, path, metadata=METADATA)
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, one in TENSORS.items():
        assert found[name].dtype == one.dtype
        assert torch.equal(found[name], one)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == METADATA


@pytest.mark.parametrize("metadata", [{}, {"one": "1"}])
def test_little_metadata(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(TENSORS, path, metadata=metadata)
    with safe_open(path, framework="pt") as file:
        assert (file.metadata() or {}) == metadata
