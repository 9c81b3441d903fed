"""Paths as people give them: what is one, what is none, and how a shell takes it back."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from imig.errors import UsageError
from imig.paths import command_text, expand_home, input_path, output_path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/homes/me")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("s3://bucket/x", "aws s3 cp --recursive FOLDER s3://bucket/x"),
        ("s3:/bucket/x", "aws s3 cp --recursive FOLDER s3://bucket/x"),  # what Path makes of it
        ("S3://bucket", "aws s3 cp"),
        ("gs://bucket/x", "gcloud storage cp"),
        ("gcs://bucket/x", "gcloud storage cp"),
        ("hf://datasets/me/x", "copy that there; "),
        ("az://container/x", "copy that there; "),
        ("http://server/x", "copy that there; "),
        ("hdfs://server:9000/x", "copy that there; "),
        ("memory://x", "copy that there; "),
        ("simplecache::s3://bucket/x", "copy that there; "),
        ("server:/data/x", "copy that there; "),
        ("me@server:/data/x", "copy that there; "),
        ("file:///tmp/x", "give the path itself, /tmp/x"),
        ("file://localhost/tmp/x", "give the path itself, /tmp/x"),
        ("file:/tmp/x", "give the path itself, /tmp/x"),
    ],
)
def test_addresses_are_no_outputs(text: str, cure: str) -> None:
    for form in (text, Path(text)):
        with pytest.raises(
            UsageError, match="is an address, and this is written to this machine only"
        ):
            output_path(form)
    with pytest.raises(UsageError) as caught:
        output_path(text)
    assert cure in caught.value.cure
    assert not any(Path.cwd().iterdir())
    with pytest.raises(UsageError, match="is an address, and this is read from this machine only"):
        input_path(text)


@pytest.mark.parametrize(
    "text",
    ["shards", "./s3:/x", "a:b", "C:\\new", "C:/new", "std::vector", "12:30:00", "x y", "-x", "é"],
)
def test_names_are_no_addresses(text: str) -> None:
    for function in (input_path, output_path):
        path = function(text)
        assert path.absolute() == Path(text).absolute()
        # What is given back means the same when it is read again.
        assert function(path) == path


def test_homes() -> None:
    assert expand_home("~/x") == Path("/homes/me/x")
    assert expand_home("~") == Path("/homes/me")
    assert expand_home("~root/x") == Path(os.path.expanduser("~root/x"))
    with pytest.raises(UsageError, match="no user 'nobody-like-this'") as caught:
        expand_home("~nobody-like-this/x")
    assert "./~nobody-like-this/x" in caught.value.cure
    with pytest.raises(UsageError, match="no user"):
        expand_home("~a\0b")
    # A name that begins with ~: said so, or there.
    assert expand_home("./~x") == Path.cwd() / "~x"
    Path("~my-backup").mkdir()
    assert expand_home("~my-backup") == Path.cwd() / "~my-backup"


def test_no_home_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda text: text)  # as of a user without an entry
    with pytest.raises(UsageError, match="HOME is not set"):
        expand_home("~/x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a path is empty"),
        ("x" * 5000, "cannot be used: File name too long"),
        ("/".join(["y" * 200] * 30), "cannot be used: File name too long"),
        ("a\0b", "cannot be used: embedded null byte"),
        ("file/below", "cannot write file/below: file is a file, and no folder"),
        ("file/far/below", "cannot write file/far/below: file is a file, and no folder"),
    ],
)
def test_what_no_output_can_be(text: str, message: str) -> None:
    Path("file").touch()
    with pytest.raises(UsageError, match=message) as caught:
        output_path(text)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        (Path("shards"), "shards"),
        (Path("my shards"), "'my shards'"),
        (Path("it's"), """'it'"'"'s'"""),
        (Path('"x"'), """'"x"'"""),
        (Path("$HOME"), "'$HOME'"),
        (Path("-x"), "./-x"),
        (Path("--help"), "./--help"),
        (Path("~x"), "'./~x'"),
        (Path("s3:/x"), "./s3:/x"),
        (Path("a;b"), "'a;b'"),
        (Path("two\nlines"), "'two\nlines'"),
        ("s3://bucket/x", "s3://bucket/x"),  # text is a word as it stands
        ("", "''"),
    ],
)
def test_commands_to_copy(word: str | Path, quoted: str) -> None:
    text = command_text("imig", "validate", word)
    assert text == f"imig validate {quoted}"
    last = shlex.split(text)[-1]
    assert last == str(word) or last == f"./{word}"
