"""Files of prompts: read by number, and what is wrong with them."""

from __future__ import annotations

import pickle
import resource
from pathlib import Path

import pytest
from support.prompts_file import read_prompts

from imig.errors import DataError, UsageError
from imig.prompts.file import list_prompts
from imig.prompts.record import PromptRecord, line_to_record, record_to_line
from imig.schema import Subject

RECORD = PromptRecord(
    prompt="A cat on a mat.",
    nouns=["cat", "mat"],
    subjects=[Subject(phrase="grey cat", noun="cat", prompt="a grey cat alone")],
    style="realistic",
    template={"count": 2},
    writer="some-model",
)


def test_a_record_reads_back() -> None:
    line = record_to_line(RECORD)
    assert line.count(b"\n") == 1
    assert line_to_record(line, place="x") == RECORD
    assert record_to_line(PromptRecord(prompt="é")) == '{"prompt":"é"}\n'.encode()


def test_read_by_number_without_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n\n  \n{"prompt": "b"}\r\n{"prompt": "c"}')
    listed = list_prompts(path)
    assert [listed.read(number).prompt for number in (2, 0, 1)] == ["c", "a", "b"]
    assert [one.prompt for one in read_prompts(path)][1:] == ["b", "c"]
    sent = pickle.loads(pickle.dumps(listed))
    assert sent == listed
    path.write_bytes(b'{"prompt": "other"}')
    with pytest.raises(DataError, match="has changed since"):
        sent.read(0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json", "Invalid JSON"),
        (b'{"nouns": []}', "prompt: Field required"),
        (b'{"prompt": "  "}', "prompt: "),
        (b'{"prompt": "a", "noun": ["b"]}', "noun: Extra"),
        (b'{"prompt": "a", "subjects": [{"phrase": "b"}]}', r"subjects\.0\.noun: Field required"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=rf"p\.jsonl:3: {message}") as caught:
        list_prompts(path).read(1)
    assert '"prompt": ".."' in caught.value.cure
    with pytest.raises(UsageError, match=r"p\.jsonl:3"):
        list_prompts(path).first()


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        list_prompts(tmp_path / "nowhere")
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(UsageError, match="holds no prompt"):
        list_prompts(tmp_path / "empty")


def test_a_million_lines_are_small(tmp_path: Path) -> None:
    path = tmp_path / "million.jsonl"
    line = record_to_line(RECORD)
    with path.open("wb") as file:
        for _ in range(1000):
            file.write(line * 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    listed = list_prompts(path)
    assert len(listed) == 1_000_000
    assert len(pickle.dumps(listed)) < 9e6
    listed.read(0)
    for number in range(0, 1_000_000, 1000):
        assert listed.read(number) == RECORD
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60_000, f"{grown} kB"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_files_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "p.jsonl"
    text = '{"prompt": "a dog’s toy"}\r\n\r\n{"prompt": "un garçon"}\r\n{"prompt": ""}\r\n'
    path.write_bytes(text.encode(encoding))
    listed = pickle.loads(pickle.dumps(list_prompts(path)))
    assert len(listed) == 3
    assert [listed.read(number).prompt for number in (1, 0)] == ["un garçon", "a dog’s toy"]
    with pytest.raises(DataError, match=r"p\.jsonl:4: prompt: "):
        listed.read(2)


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        (b'{"prompt": "cafe\xcc\x81"}', "café"),
        (b'{"prompt": "fish &amp; chips"}', "fish & chips"),
        (b'{"prompt": "a dog\\u00e2\\u20ac\\u2122s toy"}', "a dog’s toy"),
        (b'{"prompt": "a cat \\ud83d"}', "a cat \ufffd"),
        (b'{"prompt": "a cat \\ud83d\\ude00"}', "a cat 😀"),
        (b'{"prompt": "a\\u0000b"}', "ab"),
    ],
)
def test_prompts_are_mended(line: bytes, prompt: str) -> None:
    assert line_to_record(line, place="x").prompt == prompt


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"prompt": "\\u0000"}', "p.jsonl:2: prompt: "),
        (b'{"prompt": "a\xff\x00\x01"}', "p.jsonl:2: byte 13 (0xff)"),
        (b"[" * 10_000, "p.jsonl:2: "),
        (b'"\\ud83d"', "p.jsonl:2: "),
    ],
    ids=["nothing left", "undecodable", "deep", "no object"],
)
def test_what_cannot_be_mended_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n' + line)
    with pytest.raises(DataError) as caught:
        list_prompts(path).read(1)
    assert message in caught.value.message
