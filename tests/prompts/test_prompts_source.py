"""Prompts as the source of a build."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imig.errors import DataError, UsageError
from imig.prompts.config import PromptsSource
from imig.prompts.record import PromptRecord, record_to_line
from imig.sample import Sample
from imig.schema import Subject, Subset
from imig.stages.base import BuildContext
from imig.stages.source import SourceStage

WRITER = {"kind": "language-model", "endpoint": {"model": "some-model"}}


def stage_of(
    *, subset: Subset = "basic", seed: int = 3, output: Path | None = None, **block: Any
) -> SourceStage:
    config = PromptsSource.model_validate({"kind": "prompts", **block})
    return SourceStage(config, BuildContext(recipe_seed=seed, subset=subset, output=output))


def read_all(stage: SourceStage) -> list[Sample]:
    return stage(stage.enumerate(0, stage.count()))


def prompts_file(tmp_path: Path, records: list[PromptRecord]) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b"".join(map(record_to_line, records)))
    return path


def subject(phrase: str) -> Subject:
    return Subject(phrase=phrase, noun=phrase.split()[-1], prompt=f"a {phrase} alone")


def test_the_grammar_in_any_process() -> None:
    stage = stage_of(count=5, instances=(2, 3))
    assert stage.count() == 5
    assert stage.writes == {"caption", "nouns"}
    samples = read_all(stage)
    for sample in samples:
        scene = sample.scene
        assert scene.caption == scene.source.prompt
        assert scene.nouns
        assert all(noun in scene.caption.lower() for noun in scene.nouns)
        assert scene.style
        assert scene.subjects == []
        assert (scene.source.kind, scene.source.path, scene.source.model) == ("prompt", None, None)
        assert scene.source.seed == scene.seed
        assert (scene.width, scene.height, sample.files) == (1, 1, {})
    worker: SourceStage = pickle.loads(pickle.dumps(stage))
    assert worker(worker.enumerate(3, 4))[0].scene == samples[3].scene
    assert read_all(stage_of(count=1, seed=4))[0].scene.caption != samples[0].scene.caption


def test_flexible_prompts_have_subjects() -> None:
    stage = stage_of(subset="flexible", count=3, instances=(2, 4))
    assert stage.writes == {"caption", "nouns", "subjects"}
    for sample in read_all(stage):
        assert [one.phrase for one in sample.scene.subjects] == sample.scene.nouns


def test_a_file_of_prompts(tmp_path: Path) -> None:
    path = prompts_file(
        tmp_path,
        [
            PromptRecord(prompt="A red  mug\nand a dog.", nouns=["red mug", "dog"], style="anime"),
            PromptRecord(prompt="Only a dog.", nouns=["dog"]),
        ],
    )
    stage = stage_of(path=str(path))
    assert stage.writes == {"caption", "nouns"}
    first, second = read_all(stage)
    assert first.scene.caption == "A red mug and a dog."
    assert first.scene.source.prompt == "A red  mug\nand a dog."
    assert first.scene.source.path == "prompts.jsonl"
    assert (first.scene.nouns, first.scene.style) == (["red mug", "dog"], "anime")
    assert second.scene.style is None
    fingerprint = stage.fingerprint()
    assert stage_of(path=str(path), count=1).fingerprint() == fingerprint
    path.write_bytes(record_to_line(PromptRecord(prompt="Another.")) * 2)
    with pytest.raises(DataError, match="has changed"):
        read_all(stage)
    changed = stage_of(path=str(path))
    assert changed.fingerprint() != fingerprint
    assert changed.writes == {"caption"}


def test_a_flexible_file_s_prompts_need_two_subjects(tmp_path: Path) -> None:
    two = PromptRecord(prompt="A cat, a dog.", subjects=[subject("grey cat"), subject("wet dog")])
    path = prompts_file(tmp_path, [two, PromptRecord(prompt="A cat.", subjects=[subject("cat")])])
    good, few = read_all(stage_of(subset="flexible", path=str(path)))
    assert [one.phrase for one in good.scene.subjects] == ["grey cat", "wet dog"]
    assert good.reject is None
    assert few.reject is not None
    assert (few.reject.reason, few.reject.figures) == (
        "too few subjects", {"subjects": 1, "wanted": 2},
    )  # fmt: skip


def test_wrong_files_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file"):
        stage_of(path=str(tmp_path / "nowhere.jsonl"))
    path = prompts_file(tmp_path, [PromptRecord(prompt="A cat.")] * 2)
    assert stage_of(path=str(path), count=2).count() == 2
    with pytest.raises(UsageError, match="holds 2 prompts, fewer than") as caught:
        stage_of(path=str(path), count=3).count()
    assert "source.count=2" in caught.value.cure
    path.write_text("A cat.\n")
    with pytest.raises(UsageError, match=r"prompts\.jsonl:1: Invalid JSON"):
        stage_of(path=str(path))


def test_a_language_model_s_prompts_lie_in_the_dataset(tmp_path: Path) -> None:
    stage = stage_of(count=2, writer=WRITER, output=tmp_path)
    assert stage.count() == 2
    assert stage.writes == {"caption", "nouns"}
    prompts_file(tmp_path, [PromptRecord(prompt="A cat."), PromptRecord(prompt="A dog.")])
    assert [sample.scene.caption for sample in read_all(stage)] == ["A cat.", "A dog."]
    with pytest.raises(UsageError, match="need a file"):
        stage_of(count=2, writer=WRITER)


def test_the_block_is_checked() -> None:
    for block in ({}, {"count": 2, "instances": (3, 2)}, {"count": 2, "instances": (2, 9)}):
        with pytest.raises(ValidationError):
            PromptsSource.model_validate({"kind": "prompts", **block})
