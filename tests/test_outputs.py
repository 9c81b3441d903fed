"""Outputs of commands: run again, held by another process, on a full disk, not to be written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from support.derived_datasets import contents, make_scene, write_dataset

from imig.cli import main
from imig.output.folder import build_lock


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two datasets that are read only."""
    folder = tmp_path_factory.mktemp("parents")
    return [
        str(write_dataset(folder / f"p{place}", [make_scene(3 * place + n) for n in range(3)]))
        for place in range(2)
    ]


def words(command: str, parents: Sequence[str], output: Path | str) -> list[str]:
    """A command that makes something."""
    more = {
        "merge": ["merge", *parents, "--output"],
        "refilter": ["refilter", parents[0], "--set", "filter.dino=0.6", "--output"],
        "split": ["split", parents[0], "--validation", "0.4", "--output"],
        "curves": ["refilter", parents[0], "--report", "--output"],
        "build": ["build", "demo", "--limit", "2", "--output"],
        "encode": ["encode", parents[0], "--output"],
        "train": ["train", "--shards", parents[0], "--output"],
        "prompts": ["prompts", "--recipe", "basic", "--set", "models=tiny", "--count", "2",
                    "--output"],
        "stats": ["stats", parents[0], "--out"],
        "preview": ["preview", "basic-00000000", "--shards", parents[0], "--out"],
    }  # fmt: skip
    return [*more[command], str(output)]


def refused(command: list[str], capsys: pytest.CaptureFixture[str], *, says: str) -> None:
    """It ends with one error and one cure."""
    capsys.readouterr()
    code = main(command)
    errors = capsys.readouterr().err.splitlines()
    assert code in (1, 2)
    assert len(errors) == 2, errors
    assert errors[0].startswith("error: ")
    assert says in errors[0]
    assert errors[1].startswith("  ")


@pytest.mark.parametrize("command", ["merge", "refilter", "split"])
def test_a_finished_output_is_finished_already(
    command: str, parents: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    again = words(command, parents, output)
    assert main(again) == 0
    before = contents(output)
    capsys.readouterr()
    assert main(again) == 0
    said = capsys.readouterr().out.splitlines()
    folders = [output / "train", output / "validation"] if command == "split" else [output]
    verb = {"merge": "merges", "refilter": "filters", "split": "splits"}[command]
    for folder, line in zip(folders, said, strict=True):
        manifest = json.loads((folder / "dataset.json").read_bytes())
        assert line == (
            f"{folder} is finished already: {manifest['counts']['written']} scenes in "
            f"{len(manifest['shards'])} shards; --overwrite {verb} them anew"
        )
    assert main([*again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished_already"] is True
    assert contents(output) == before

    other = [one.replace("0.6", "0.7").replace("0.4", "0.5") for one in again]
    other += ["--name", "mine"] if command == "merge" else []
    refused(other, capsys, says="holds a finished dataset that differs: ")
    assert contents(output) == before
    assert main([*other, "--overwrite"]) == 0
    assert contents(output) != before


MAKING = ("merge", "refilter", "split", "build", "encode", "train", "prompts")
READING = (pytest.param("curves", marks=pytest.mark.long), "stats", "preview")
SUFFIX = {"curves": ".png", "stats": ".png", "preview": ".png", "prompts": ".jsonl"}


@pytest.mark.parametrize("command", [*MAKING, *READING])
@pytest.mark.parametrize("place", ["file/x", "/proc/imig-test"])
def test_an_output_that_cannot_be_written(
    command: str, place: str, parents: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    output = f"{tmp_path / place}{SUFFIX.get(command, '')}"
    refused(words(command, parents, output), capsys, says=output)
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("command", ["merge", "refilter", "split", "prompts", *READING])
def test_a_full_disk(
    command: str, parents: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"out{SUFFIX.get(command, '')}"
    full = OSError(28, os.strerror(28))
    writers = ("os.replace", "PIL.Image.Image.save")
    with patch(writers[0], side_effect=full), patch(writers[1], side_effect=full):
        refused(words(command, parents, output), capsys, says="No space left on device")
    assert main(words(command, parents, output)) == 0, "it goes on when there is room"


@pytest.mark.parametrize("command", ["merge", "refilter", "build"])
def test_an_output_that_another_process_writes(
    command: str, parents: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with build_lock(tmp_path / "out"):
        refused(
            words(command, parents, tmp_path / "out"),
            capsys,
            says=f"another build writes into {tmp_path / 'out'}: process {os.getpid()} on ",
        )


@pytest.mark.parametrize("command", ["merge", "refilter", "split", "build", "encode", "train"])
def test_an_output_that_is_a_file(
    command: str, parents: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    refused(words(command, parents, tmp_path / "out"), capsys, says=str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"mine"
