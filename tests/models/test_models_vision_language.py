"""Vision-language models of three architectures, tiny and with random weights."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL.Image import Image
from support.models_support import load, picture
from support.vision_language_folders import save_llava, save_qwen2_vl, save_qwen3_vl
from transformers import AutoModelForImageTextToText, AutoProcessor

from imig.errors import UsageError
from imig.models import describing, vision_chat
from imig.models.describing import Interview, description_question
from imig.models.protocols import PhraseCaptioner, PictureAnswerer
from imig.models.vision_chat import _reason

QUESTION = 'Does this picture show "a red mug"?'
SAVES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "llava": ("vision-language", save_llava),
    "qwen2-vl": ("vision-language", save_qwen2_vl),
    "qwen3-vl": ("qwen3-vl", save_qwen3_vl),
}
"""Family, and what writes its checkpoint."""
TOKENS = 12
"""Of an answer here."""


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights go on to the last token that they may."""
    monkeypatch.setattr(vision_chat, "ANSWER_TOKENS", TOKENS)
    monkeypatch.setattr(vision_chat, "CAPTION_TOKENS", TOKENS)


@pytest.fixture(scope="module", params=SAVES)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    family, save = SAVES[request.param]
    return family, save(tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def folder(checkpoint: tuple[str, Path]) -> Path:
    return checkpoint[1]


@pytest.fixture(scope="module")
def model(checkpoint: tuple[str, Path]) -> Any:
    return load(*checkpoint)


class Library:
    """The checkpoint as transformers loads and asks it."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def inputs(self, image: Image, *turns: str) -> Any:
        chat = [
            {"role": role, "content": [{"type": "text", "text": turn}]}
            for role, turn in zip(("user", "assistant") * len(turns), turns, strict=False)
        ]
        chat[0]["content"] = [{"type": "image", "image": image}, *chat[0]["content"]]
        return self.processor.apply_chat_template(
            chat,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def say(self, inputs: Any, *, tokens: int) -> str:
        said = self.model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
        begin = inputs["input_ids"].shape[1]
        text: str = self.processor.tokenizer.decode(said[0, begin:], skip_special_tokens=True)
        return text


@pytest.fixture(scope="module")
def library(folder: Path) -> Library:
    return Library(folder)


def test_the_verdict_is_the_library_s_own_next_word(library: Library, model: Any) -> None:
    assert isinstance(model, PictureAnswerer)
    processor = library.processor
    for seed in range(6):
        image = picture(80, 60, seed=seed)
        words = "Answer with yes or no first, then with the reason in a few words."
        inputs = library.inputs(image, f"{QUESTION} {words}")
        with torch.no_grad():
            logits = library.model(**inputs).logits[0, -1]
        # One token a byte: an answer begins with one of these letters.
        letters = [processor.tokenizer.convert_tokens_to_ids(one) for one in ("y", "Y", "n", "N")]
        yes, no = logits[letters[:2]].logsumexp(0), logits[letters[2:]].logsumexp(0)
        (answer,) = model.answer([image], [QUESTION])
        assert answer.yes == bool(yes >= no)
        assert answer.reason == _reason(library.say(inputs, tokens=TOKENS))


def test_a_verbatim_question_is_put_as_it_stands(library: Library, model: Any) -> None:
    letters = [library.processor.tokenizer.convert_tokens_to_ids(one) for one in "yYnN"]
    images = [picture(80, 60, seed=seed) for seed in range(4)]
    wanted = []
    for image in images:
        with torch.no_grad():
            logits = library.model(**library.inputs(image, QUESTION)).logits[0, -1]
        wanted.append(bool(logits[letters[:2]].logsumexp(0) >= logits[letters[2:]].logsumexp(0)))
    answers = model.answer(images, [QUESTION] * 4, verbatim=True)
    assert [one.yes for one in answers] == wanted
    assert {one.reason for one in answers} == {""}


def test_a_description_is_what_the_library_says(
    library: Library, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(model, PhraseCaptioner)
    images = [picture(80, 60, seed=seed) for seed in range(2)]
    heard: list[str] = []
    wanted = []
    for image in images:
        interview = Interview(description_question("Describe it.", max_phrases=3), max_phrases=3)
        while not interview.done:
            heard.append(library.say(library.inputs(image, *interview.turns), tokens=TOKENS))
            interview.hear(heard[-1])
        wanted.append(interview.description())
    said: list[str] = []
    monkeypatch.setattr(Interview, "hear", noting(said, Interview.hear))
    assert model.describe(images, instruction="Describe it.", max_phrases=3) == wanted
    assert sorted(said) == sorted(heard)
    assert len(said) == 6, "random weights say no JSON: each picture is asked three times"
    assert model.caption([]) == []


def noting(said: list[str], hear: Callable[[Interview, str], None]) -> Any:
    def note(interview: Interview, answer: str) -> None:
        said.append(answer)
        hear(interview, answer)

    return note


def test_a_description_is_put_together_from_what_is_said(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that say JSON are too large to be tested; what they would say is given here."""
    asked: list[list[str]] = []

    def say(images: list[Image], turns: list[list[str]]) -> list[str]:
        asked.extend(turns)
        assert len({one.size for one in images}) == 1
        phrase = "red mug" if len(turns[0]) == 3 else "mug on <image><|image_pad|>"
        return [f'{{"caption": "A red mug.", "phrases": ["{phrase}"]}}'] * len(images)

    monkeypatch.setattr(model, "_say", say)
    images = [picture(80, 60), picture(60, 80), picture(80, 60).convert("L")]
    described = model.describe(images, instruction="What is it?", max_phrases=3)
    assert [(one.caption, one.phrases) for one in described] == [("A red mug.", ("red mug",))] * 3
    assert sorted(map(len, asked)) == [1, 1, 1, 3, 3, 3]
    special = model._processor.image_token
    assert not any(special in turn for turns in asked for turn in turns)
    assert model.caption(images) == ["A red mug."] * 3


def test_answers_do_not_depend_on_their_neighbours(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(80, 60, seed=s) for s in range(3)] + [picture(50, 90).convert("L")]
    questions = [QUESTION, QUESTION, "Is it so?", QUESTION]
    together = model.answer(images, questions)
    alone = [model.answer([i], [q])[0] for i, q in zip(images, questions, strict=True)]
    assert together == alone
    assert model.answer([], []) == []
    monkeypatch.setattr(describing, "TRIES", 1)
    said: list[str] = []
    monkeypatch.setattr(Interview, "hear", noting(said, Interview.hear))
    model.describe(images, instruction="?", max_phrases=3)
    together, said[:] = sorted(said), []
    for image in images:
        model.describe([image], instruction="?", max_phrases=3)
    assert together == sorted(said)


def test_each_family_takes_its_own_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a 'qwen2_vl' model, not 'qwen3_vl'"):
        load("qwen3-vl", save_qwen2_vl(tmp_path / "2"))
    folder = save_qwen3_vl(tmp_path / "3")
    (image,) = [picture(80, 60)]
    both = [load(family, folder) for family in ("qwen3-vl", "vision-language")]
    assert type(both[0]._model).__name__ == "Qwen3VLForConditionalGeneration"
    own, general = [one.answer([image], [QUESTION]) for one in both]
    assert own == general


def test_a_checkpoint_without_a_chat_template(tmp_path: Path) -> None:
    folder = save_llava(tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="has no chat template"):
        load("vision-language", folder)


@pytest.mark.parametrize(
    "ending",
    ["<think>\n", "{% if x %}<think></think>{% endif %}"],
    ids=["left open by the template", "opened by the model"],
)
def test_models_that_think_first_answer_at_once(ending: str, tmp_path: Path) -> None:
    folders = [save_llava(tmp_path / name) for name in ("thinks", "told")]
    for folder, end in zip(folders, (ending, "<think>\n\n</think>\n\n"), strict=True):
        template = folder / "chat_template.jinja"
        template.write_text(template.read_text() + end.replace("\n", "{{ '\\n' }}"))
    images = [picture(80, 60, seed=seed) for seed in range(3)]
    thinks, told = (load("vision-language", folder) for folder in folders)
    assert thinks.answer(images, [QUESTION] * 3) == told.answer(images, [QUESTION] * 3)


def test_reasons_do_not_repeat_the_verdict() -> None:
    assert _reason("<think>Yes?</think>**No**, it is blue.") == "it is blue."
    assert _reason("Yes, it does.") == "it does."
    assert _reason("no") == ""
    assert _reason("Nothing red is there") == "Nothing red is there"
