"""Wrong calls, odd names, closed streams: an error with a cure and an exit code, no traceback."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.commands.common import print_json

COMMANDS = (
    "prompts", "build", "validate", "preview", "stats", "diff", "refilter", "split", "merge",
    "encode", "train", "generate", "models", "recipes",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("calls") / "it's [a] dataset")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Exit code, output and errors of a command."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        try:
            code = main([str(one) for one in words])
        except SystemExit as error:
            code = int(str(error.code or 0))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call: Call, command: str) -> None:
    code, out, err = call(command, "-h")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: imig {command}")


WRITING = {
    "build": ("build", "demo", "--output"),
    "build-plan": ("build", "demo", "--plan", "--output"),
    "encode": ("encode", "DATASET", "--output"),
    "train": ("train", "--shards", "DATASET", "--output"),
    "generate": ("generate", "--from-shards", "basic-00000001", "--shards", "DATASET", "--output"),
    "refilter": ("refilter", "DATASET", "--output"),
    "report": ("refilter", "DATASET", "--report", "--output"),
    "split": ("split", "DATASET", "--output"),
    "merge": ("merge", "DATASET", "--output"),
    "prompts": ("prompts", "--recipe", "basic", "--set", "models=tiny", "--count", "3", "--output"),
    "preview": ("preview", "--random", "--shards", "DATASET", "--out"),
    "stats": ("stats", "DATASET", "--out"),
}
"""Every option that names what is written."""


@pytest.mark.parametrize("words", WRITING.values(), ids=WRITING.keys())
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("http://bucket/x", "error: http://bucket/x is an address, and this is written to this ma"),
        ("file:///tmp/x", "give the path itself, /tmp/x"),
        ("~nobody-here/x", "there is no user 'nobody-here' on this machine"),
        ("", "error: a path is empty"),
        ("x" * 5000, "this path cannot be used: File name too long"),
        ("file/x.png", "error: cannot write file/x.png: file is a file, and no folder"),
    ],
)
def test_what_cannot_be_written_to(
    here: Path, call: Call, dataset: Path, words: tuple[str, ...], output: str, message: str
) -> None:
    (here / "file").touch()
    code, _, err = call(*(str(dataset) if one == "DATASET" else one for one in words), output)
    assert code == 2
    assert message in err
    assert len(err) < 500
    assert sorted(one.name for one in here.iterdir()) == ["file"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["build", "demo", "--limit", "1e3"], 2, "'1e3' is not a whole number from 1 on"),
        (["build", "demo", "--limit", "-5"], 2, "'-5' is not a whole number from 1 on"),
        (["build", "demo", "--set"], 2, "expected one argument"),
        (["build", "demo", "--set", "x"], 2, "--set x: not of the form a.b=value"),
        (["build", "demo", "--set", "sorce.count=5"], 2, "did you mean 'source'?"),
        (["build", "demo", "--set", "source.count=many"], 2, "--set source.count=many: source.co"),
        (["build", "photos", "--set", "source.path=s3://b/x"], 2, "s3://b/x is an address, and t"),
        (["build", "photos", "--set", "source.path=2024"], 2, "2024 is not a folder"),
        (["build", "photos", "--set", "source.path=x #1"], 2, "x #1 is not a folder"),
        (["build", "photos", "--set", "source.path=~no-one-x"], 2, "no user 'no-one-x'"),
        (["build", "nowhere/r.yaml"], 2, "there is no recipe file nowhere/r.yaml"),
        (["build", "s3://b/r.yaml"], 2, "s3://b/r.yaml is an address"),
        (["build", "."], 2, "is a folder, and a recipe is a file"),
        (["validate", "~no-one-x"], 2, "no user 'no-one-x'"),
        (["validate", "az://b/x"], 2, "az://b/x is an address, and this is read from this mach"),
        (["validate", "x" * 5000], 2, "File name too long"),
        (["validate", "-x"], 2, "required: DIR"),
        (["stats", "s3:/b/x"], 2, "s3:/b/x is an address"),
        (["stats", "nothing://b/x"], 2, "cannot open nothing://b/x"),
        (["stats", "~no-one-x"], 2, "no user 'no-one-x'"),
        (["split", "s3://a/b"], 2, "nothing says where the two datasets go"),
        (["split", "x", "--seed", "1e3"], 2, "invalid int value: '1e3'"),
        (["split", "x", "--validation", "nan"], 2, "is not a share above 0 and below 1"),
        (["merge", "nothing://a/b", "x", "--output", "y"], 2, "cannot open nothing://a/b"),
        (["remove", "s3://a/b", "--source", "x"], 2, "copy the dataset to this machine"),
        (["build", "demo", "--output", "hf://datasets/a/b"], 2, "imig push FOLDER OWNER/NAME"),
        (["refilter", "nothing://a/b", "--report"], 2, "cannot open nothing://a/b"),
        (["encode", "s3:/a/b"], 2, "nothing says where the encoded dataset goes"),
        (["generate", "s3://b/l.json", "--output", "x"], 2, "is an address"),
        (["generate", "l.json", "--adapter", "s3://b", "--output", "x"], 2, "is an address"),
        (["generate", "l.json", "--output", "x", "--seed", "-1"], 2, "'-1' is not a whole number"),
        (["generate", "l.json", "--output", "x", "--guidance", "inf"], 2, "'inf' is not a number"),
        (["preview", "-basic"], 2, "unrecognized arguments: -basic"),
        (["preview"], 2, "give an ID or --random"),
        ([], 2, "the following arguments are required: COMMAND"),
        (["bild"], 2, "invalid choice: 'bild'"),
    ],
)
def test_wrong_calls(here: Path, call: Call, words: list[str], code: int, message: str) -> None:
    found, _, err = call(*words)
    assert found == code
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("filter.dino=2024-05-01", "filter.dino: expected a valid number, unable to parse"),
        ("filter.dino=@", "--set filter.dino=@: the value is not YAML"),
        ("filter.dino=2024-13-45", "filter.dino: expected a valid number"),
        ("filter.min_instances=yes", "filter.min_instances: expected a valid integer"),
        ("filter.dnio=1", "did you mean 'dino'?"),
        ("filter=null", "only keys below filter. and duplicates. can change here"),
        ("filter.dino.x=1", "unknown key 'dino.x'"),
    ],
)
def test_wrong_thresholds(
    here: Path, call: Call, dataset: Path, setting: str, message: str
) -> None:
    code, _, err = call("refilter", dataset, "--set", setting, "--report")
    assert code == 2
    assert message in err


@pytest.mark.parametrize("name", ["-it's [bold]x[/] :smile:", "~two\nlines $HOME ü"])
def test_what_comes_next_can_be_copied(here: Path, call: Call, dataset: Path, name: str) -> None:
    code, out, _ = call("split", dataset, "--validation", "0.3", "--output", f"./{name}")
    assert code == 0
    following = shlex.split(out.partition("next: ")[2])
    assert following[:2] == ["imig", "validate"]
    assert call(*following[1:3])[0] == 0
    assert following[3:6] == ["imig", "train", "--shards"]
    assert Path(following[6]).resolve() == here / name / "train"
    strict = f"--output=./{name}-strict"
    code, out, _ = call("refilter", following[6], "--set", "filter.min_instances=1", strict)
    assert code == 0
    following = shlex.split(out.partition("next: ")[2])
    assert call(*following[1:3])[0] == 0
    assert call(*following[4:])[0] == 0


def test_each_card_names_its_split(here: Path, call: Call, dataset: Path) -> None:
    def split_of(folder: str) -> str:
        [word] = {
            line.partition("split: ")[2]
            for line in (here / folder / "README.md").read_text().splitlines()
            if "- split: " in line
        }
        return word

    share = ("--validation", "0.4")
    assert call("split", dataset, *share, "--output", "a")[0] == 0
    assert (split_of("a/train"), split_of("a/validation")) == ("train", "validation")
    # What is made of a part is that part ...
    open_filter = ("--set", "filter.min_instances=1")
    assert call("refilter", "a/validation", *open_filter, "--output", "b")[0] == 0
    assert split_of("b") == "validation"
    # ... and parts that were held out are, together, held out still; mixed they are not.
    assert call("split", dataset, *share, "--seed", "1", "--output", "c")[0] == 0
    assert call("merge", "b", "c/validation", "--output", "d")[0] == 0
    assert split_of("d") == "validation"
    assert call("merge", "b", dataset, "--output", "e")[0] == 0
    assert split_of("e") == "train"


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line in which `imig` is the command, and Python finds what it finds here."""
    script = f'imig() {{ "{sys.executable}" -m imig "$@"; }}; set -o pipefail; {command}'
    python_path = str(Path(imig.__file__).parents[1])
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path, **environment},
        timeout=120,
    )


ASCII = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


def test_a_terminal_that_knows_no_more_than_ascii(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path / "é ü")
    command = "imig split 'é ü' --validation 0.3 --output 日本"
    done = shell(command, tmp_path, **ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "日本" / "train" / "dataset.json").is_file()
    done = shell("imig build photos --set source.path=é", tmp_path, **ASCII)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: --set source.path=\\udcc3\\udca9: source.path: ")


def test_json_is_json_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("ascii", "latin-1", "utf-8", "UTF8"):
        data = io.BytesIO()
        screen = io.TextIOWrapper(data, encoding=encoding, errors="backslashreplace")
        monkeypatch.setattr(sys, "stdout", screen)
        print_json({"name": "日本 é \udce9"})
        screen.flush()
        assert json.loads(data.getvalue().decode(encoding)) == {"name": "日本 é \udce9"}


def test_streams_that_are_closed_or_full(tmp_path: Path) -> None:
    write_tiny_dataset(tmp_path / "d")
    done = shell("imig split d --validation 0.3 --output s <&- >&- 2>&-", tmp_path)
    assert done.returncode == 0
    for side in ("train", "validation"):
        # Nothing that was to be printed has gone into a file that took the number of the stream.
        assert validate_dataset(tmp_path / "s" / side).faults == []
    done = shell("imig recipes > /dev/full", tmp_path)
    assert done.returncode == 1
    assert b"error: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_readers_that_go_away(here: Path, call: Call) -> None:
    done = shell("imig build --help | true; imig recipes | head -c 1", here)
    assert (done.returncode, done.stderr) == (0, b"")
    prompts = ("prompts", "--recipe", "basic", "--set", "models=tiny", "--count", "3")
    done = shell(f"imig {' '.join(prompts)} | true", here)
    # Work that was cut off has not succeeded.
    assert done.returncode in (0, 141)
    assert b"Traceback" not in done.stderr
    assert call(*prompts)[0] == 0
    assert len((here / "prompts.jsonl").read_text().splitlines()) == 3


def test_a_folder_that_is_gone_and_a_home_that_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = shell("cd gone; rmdir ../gone; imig recipes", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the folder that you are in is not there any more\n")
    done = shell("unset HOME; imig validate '~/nothing'", tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
