"""A judge behind a real server: how it is asked, what it costs to go on, and what is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from support.benchmark_files import mug_and_duck, write_lamicbench, write_layoutsam
from support.chat_server import ChatServer, Fault, Reply, Said, chat_server, user_text

from imig.endpoint.answers import EndpointAnswerer, says_yes
from imig.errors import DataError
from imig.evaluation.against import open_against
from imig.evaluation.recipe_file import load_evaluation_recipe
from imig.evaluation.result import EvaluationResult
from imig.evaluation.run import evaluate
from imig.recipe.parts import EndpointConfig

PICTURE = Image.new("RGB", (40, 30), "red")


def answerer(server: ChatServer, **settings: Any) -> EndpointAnswerer:
    values = {"model": "some-model", "backoff_seconds": 0.001, "max_retries": 1, **settings}
    config = EndpointConfig.model_validate({**values, "url": server.url})
    return EndpointAnswerer(config, name="questions.endpoint")


def test_a_verbatim_question_is_all_that_the_model_is_told() -> None:
    with chat_server(lambda _: "Yes.") as server:
        (answer,) = answerer(server, temperature=0).answer([PICTURE], ["Is it?"], verbatim=True)
    (request,) = server.requests
    assert (answer.yes, answer.reason) == (True, "Yes.")
    assert user_text(request) == "Is it?"
    assert "response_format" not in request
    assert request["temperature"] == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("reply", "yes", "requests"),
    [
        pytest.param(lambda _: "", False, 1, id="nothing said"),
        pytest.param(lambda _: "I cannot tell.", False, 1, id="neither"),
        pytest.param(
            lambda _: Said({"content": None, "refusal": "no faces"}), False, 1, id="a refusal"
        ),
        pytest.param(
            lambda _: Said({"content": "yes"}, "length"), True, 1, id="broken off behind the answer"
        ),
        pytest.param(
            lambda request: Said({"content": "<think>Is it"}, "length")
            if request.get("max_tokens", 0) < 4096
            else "<think>Is it? no</think>Yes",
            True,
            2,
            id="broken off in thoughts",
        ),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_no_and_thoughts_are_waited_for(
    reply: Reply, yes: bool, requests: int
) -> None:
    with chat_server(reply) as server:
        (answer,) = answerer(server, max_tokens=16).answer([PICTURE], ["Is it?"], verbatim=True)
    assert answer.yes is yes
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        pytest.param("Yes", True, id="word"),
        pytest.param(" yes, it is.", True, id="sentence"),
        pytest.param("**Yes**", True, id="markdown"),
        pytest.param("No, although yes could be said", False, id="the first counts"),
        pytest.param("<think>yes or no?</think>\nNo.", False, id="thoughts do not"),
        pytest.param("Yesterday", False, id="a longer word"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_the_first_yes_or_no_is_the_verdict(text: str, yes: bool) -> None:
    assert says_yes(text) is yes


def run(
    against: str, pictures: Path, *overrides: str, recipe: str = "lamicbench"
) -> tuple[EvaluationResult, str]:
    console = Console(file=io.StringIO(), width=200)
    loaded = load_evaluation_recipe(recipe, overrides=["models=tiny", *overrides])
    result = evaluate(
        pictures,
        open_against(against),
        loaded.recipe,
        output=pictures.parent / "out",
        partial=True,
        console=console,
    )
    return result, (pictures.parent / "out" / "table.md").read_text(encoding="utf-8")


def asks(server: ChatServer, key: str = "questions") -> str:
    return (
        f"{key}.endpoint={{url: '{server.url}', model: some-model, max_retries: 0, "
        "temperature: 0, backoff_seconds: 0.001}"
    )


@pytest.mark.long
def test_lamicbench_from_end_to_end(tmp_path: Path) -> None:
    """The real detector, segmenter and features (tiny), and a judge that sees no stripes."""
    bench = write_lamicbench(tmp_path / "bench")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        mug_and_duck().save(pictures / f"0007_{number}.jpg", quality=95)
    with chat_server(lambda one: "no" if "striped" in user_text(one) else "yes") as server:
        result, table = run(f"lamicbench={bench}", pictures, asks(server))
    assert result.pictures == 2
    assert result.missing == ["0000"]
    assert result.figures["answers_right"].value == pytest.approx(2 / 3)
    ips = result.figures["identity"]
    assert ips.value is not None
    assert ips.units == 4
    assert ips.value > 0.8, "the very things that the references show"
    assert set(result.unmeasured) == {"aesthetics", "faces"}
    assert "the recipe names no model for it (faces.model)" in result.unmeasured["faces"]
    assert result.table is not None
    cells = {one.title: one.cells["all"].value for one in result.table.columns}
    assert cells["ITC"] == pytest.approx(200 / 3)
    assert cells["IPS"] == pytest.approx(100 * ips.value)
    assert cells["AES"] is cells["AVG"] is None, "a mean of what was not measured is none"
    assert "LAMICBench++" in table


@pytest.mark.long
def test_layoutsam_from_end_to_end(tmp_path: Path) -> None:
    bench = write_layoutsam(tmp_path / "bench" / "a.parquet")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    mug_and_duck().save(pictures / "sa_12.jpg")
    mug_and_duck().save(pictures / "0000.png")
    with chat_server(lambda one: "No" if "lamp" in user_text(one) else "Yes") as server:
        result, _ = run(
            f"layoutsam={bench}", pictures, asks(server, "attributes"), recipe="layoutsam"
        )
    assert result.figures["attribute_spatial"].value == pytest.approx(2 / 3)
    assert result.figures["attribute_shape"].units == 3
    assert len(server.requests) == 1 + 2 * 4
    assert result.figures["clip_global"].units == 2
    assert set(result.unmeasured) == {"preference"}


@pytest.mark.long
def test_a_server_that_fails_in_the_middle_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of pictures is kept when it is done; who goes on, elsewhere, asks for the rest."""
    monkeypatch.setattr("imig.evaluation.measuring.BATCH", 2)
    bench = write_lamicbench(tmp_path / "bench")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 0, 0)).save(pictures / f"0007_{number}.png")
    only = ("identity=null", "aesthetics=null", "faces=null")

    def fails_after(answers: int) -> Callable[[dict[str, Any]], str | Fault]:
        left = iter([True] * answers)
        return lambda _: "yes" if next(left, False) else Fault(503)

    with chat_server(fails_after(14)) as server, pytest.raises(DataError, match="503"):
        run(f"lamicbench={bench}", pictures, asks(server), *only)
    kept = (tmp_path / "out" / "pictures.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([one for one in kept if one]) == 4
    moved = tmp_path / "moved"
    bench.rename(moved)
    with chat_server(lambda _: "yes") as server:
        result, _ = run(f"lamicbench={moved}", pictures, asks(server), *only)
    assert len(server.requests) == 2 * 3
    assert result.figures["answers_right"].value == 1.0
    with chat_server(lambda _: "no") as server:
        again, _ = run(f"lamicbench={moved}", pictures, asks(server), *only)
    assert server.requests == []
    assert again.figures == result.figures
