"""Vision-language models of two architectures, tiny and with random weights."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models_support import load, picture
from support.vision_language_folders import save_llava, save_qwen2_vl
from transformers import AutoModelForImageTextToText, AutoProcessor

from imig.errors import UsageError
from imig.models.families.vision_language import _reason
from imig.models.protocols import PictureAnswerer

QUESTION = 'Does this picture show "a red mug"?'


@pytest.fixture(scope="module", params=[save_llava, save_qwen2_vl])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    save: Callable[[Path], Path] = request.param
    return save(tmp_path_factory.mktemp(save.__name__))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load("vision-language", folder)


def test_the_verdict_is_the_library_s_own_next_word(folder: Path, model: Any) -> None:
    assert isinstance(model, PictureAnswerer)
    direct = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    for seed in range(6):
        image = picture(80, 60, seed=seed)
        content = [
            {"type": "image", "image": image},
            {
                "type": "text",
                "text": f"{QUESTION} Answer with yes or no first, then with the reason in a few "
                "words.",
            },
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            logits = direct(**inputs).logits[0, -1]
        # One token a byte: an answer begins with one of these letters.
        letters = [processor.tokenizer.convert_tokens_to_ids(one) for one in ("y", "Y", "n", "N")]
        yes, no = logits[letters[:2]].logsumexp(0), logits[letters[2:]].logsumexp(0)
        (answer,) = model.answer([image], [QUESTION])
        assert answer.yes == bool(yes >= no)
        tokens = direct.generate(**inputs, do_sample=False, max_new_tokens=48)
        begin = inputs["input_ids"].shape[1]
        said = processor.tokenizer.decode(tokens[0, begin:], skip_special_tokens=True)
        assert answer.reason == _reason(said)


def test_answers_do_not_depend_on_their_neighbours(model: Any) -> None:
    images = [picture(80, 60, seed=s) for s in range(3)] + [picture(50, 90).convert("L")]
    questions = [QUESTION, QUESTION, "Is it so?", QUESTION]
    together = model.answer(images, questions)
    alone = [model.answer([i], [q])[0] for i, q in zip(images, questions, strict=True)]
    assert together == alone
    assert model.answer([], []) == []


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
