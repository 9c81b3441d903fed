"""Damaged files of a run that writes prompts: named with their cure, and good prompts stay."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from support.damage import DAMAGES, cases

from imig.cli import main
from imig.errors import DataError, ImigError, UsageError
from imig.prompts.output import OutputPaths, open_output
from imig.prompts.record import PromptRecord

IDENTITY = {"writer": {"kind": "grammar"}, "seed": 0}


def record(number: int) -> PromptRecord:
    return PromptRecord(prompt=f"A blue cup {number}.", nouns=[f"blue cup {number}"])


@pytest.fixture
def paths(tmp_path: Path) -> OutputPaths:
    """Three prompts, one that waits and one that was turned down."""
    paths = OutputPaths(tmp_path / "prompts.jsonl")
    with open_output(paths.prompts, identity=IDENTITY) as output:
        for number in range(3):
            output.append(record(number))
        output.keep(5, 0, record(5))
        output.quarantine(3, 0, reason="\ud83d", answer="\ud83d")
    return paths


def go_on(paths: OutputPaths) -> list[int]:
    """The numbers that were kept."""
    with open_output(paths.prompts, identity=IDENTITY) as output:
        assert len(output) == 3
        assert output.attempts == {3: 1}
        return [number for number, _, _ in output.kept()]


def test_what_is_not_damaged_is_gone_on_with(paths: OutputPaths) -> None:
    assert go_on(paths) == [5]


@pytest.mark.parametrize("damage", cases("other-object"))
def test_a_damaged_state(paths: OutputPaths, damage: str) -> None:
    before = paths.prompts.read_bytes()
    DAMAGES[damage](paths.state)
    with pytest.raises(DataError) as caught:
        go_on(paths)
    assert f"{paths.state} is damaged: " in caught.value.message
    assert "--overwrite" in caught.value.cure
    assert paths.prompts.read_bytes() == before


LINES = ("list", "other-object", "wrong-types", "deep", "binary")


@pytest.mark.parametrize("name", ["quarantine", "pending"])
@pytest.mark.parametrize("damage", LINES)
def test_a_damaged_line(paths: OutputPaths, name: str, damage: str) -> None:
    path: Path = getattr(paths, name)
    good = path.read_bytes()
    DAMAGES[damage](path)
    path.write_bytes(good + path.read_bytes().replace(b"\n", b"") + b"\n" + good)
    before = {one: one.read_bytes() for one in paths.all()}
    with pytest.raises(DataError) as caught:
        go_on(paths)
    assert f"{path}:2 is damaged: " in caught.value.message
    assert "remove that line" in caught.value.cure
    assert {one: one.read_bytes() for one in paths.all()} == before
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:1] + lines[2:]))
    assert set(go_on(paths)) == {5}


@pytest.mark.parametrize("name", ["prompts", "quarantine", "pending"])
@pytest.mark.parametrize("damage", ["folder", "pipe", "device"])
def test_files_that_are_none(paths: OutputPaths, name: str, damage: str) -> None:
    path: Path = getattr(paths, name)
    DAMAGES[damage](path)
    with pytest.raises(UsageError, match=r"cannot write .*prompts") as caught:
        go_on(paths)
    assert "--output" in caught.value.cure


@pytest.mark.parametrize("name", ["quarantine", "pending", "prompts"])
def test_a_torn_line_is_cut_off(paths: OutputPaths, name: str) -> None:
    path: Path = getattr(paths, name)
    good = path.read_bytes()
    path.write_bytes(good + b'{"number": 7, "at')
    assert go_on(paths) == [5]
    assert path.read_bytes() == good


def test_two_runs_at_once(paths: OutputPaths) -> None:
    with (
        open_output(paths.prompts, identity=IDENTITY),
        pytest.raises(UsageError, match="another process writes"),
        open_output(paths.prompts, identity=IDENTITY),
    ):
        pass
    assert go_on(paths) == [5]


def test_a_full_disk(paths: OutputPaths) -> None:
    full = OSError(28, os.strerror(28))
    for place in ("imig.prompts.output._write", "os.replace"):
        with (
            patch(place, side_effect=full),
            pytest.raises(ImigError, match="No space") as caught,
            open_output(paths.prompts, identity=IDENTITY) as output,
        ):
            output.append(record(3))
        assert "room on the disk" in caught.value.cure
        assert go_on(paths) == [5]


@pytest.mark.parametrize("output", ["file/x.jsonl", "folder", "pipe", "/proc/x.jsonl", "/dev/full"])
def test_places_that_cannot_be_written(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    words = ["prompts", "--recipe", "basic", "--set", "models=tiny", "--count", "2", "--output"]
    assert main([*words, str(tmp_path / output)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("error: cannot write")
    assert len(errors) == 2
    assert errors[1].strip()
    assert (tmp_path / "file").read_bytes() == b"mine"
