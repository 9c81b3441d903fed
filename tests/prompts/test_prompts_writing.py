"""`imig prompts` against a real server: faults, kills, duplicates, secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chat_server import ChatServer, Fault, Reply, Said, chat_server
from support.prompt_writer import entry_count, write_answer
from support.prompts_file import read_prompts

from imig.cli import main
from imig.prompts.grammar import write_grammar_prompt

KEY = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


def recipe_of(tmp_path: Path, server: ChatServer, **writer: Any) -> Path:
    endpoint = {
        "url": server.url,
        "model": "some-model",
        "key_variable": "TEST_KEY",
        "backoff_seconds": 0.01,
        "concurrency": 4,
        **writer.pop("endpoint", {}),
    }
    source = {
        "kind": "prompts",
        "count": 40,
        "writer": {"kind": "language-model", "endpoint": endpoint, **writer},
    }
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"name": "r", "seed": 3, "source": source}))
    return path


def words(recipe: Path, output: Path, *more: str | int) -> list[str]:
    return ["prompts", "--recipe", str(recipe), "--output", str(output), *map(str, more)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write(tmp_path: Path, reply: Reply, **writer: Any) -> tuple[int, Path, ChatServer]:
    """Run the command against a server; exit code, file, and the server for questions."""
    output = tmp_path / "out" / "p.jsonl"
    with chat_server(reply, key=KEY) as server:
        code = main(words(recipe_of(tmp_path, server, **writer), output))
    return code, output, server


def test_prompts_by_number_with_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = {"price_per_million_input": 2.0, "price_per_million_output": 8.0}
    code, output, server = write(tmp_path, write_answer, endpoint=prices)
    assert code == 0
    records = read_prompts(output)
    assert len(records) == 40
    assert len(server.requests) == 10, "four prompts a request"
    for record in records:
        assert record.writer == "some-model"
        assert len(record.nouns) == record.template["count"]
        assert 2 <= len(record.nouns) <= 5
        assert all(noun in record.prompt for noun in record.nouns)
        assert record.subjects == []
        assert record.style == record.template["style"]
    printed = capsys.readouterr().out
    assert f"writing 40 prompts -> {output}" in printed
    assert "wrote 40/40 prompts" in printed
    assert "tokens, cost 0.0" in printed
    assert names(output.parent) == {"p.jsonl", "p.state.json"}
    assert json.loads((output.parent / "p.state.json").read_text())["usage"]["requests"] == 10
    for path in output.parent.iterdir():
        assert KEY not in path.read_text()


def test_the_same_answers_give_the_same_file_in_any_order(tmp_path: Path) -> None:
    whole = []
    for name, threads, seconds in (("a", 1, 0.0), ("b", 8, 0.03)):
        folder = tmp_path / name
        folder.mkdir()
        with chat_server(write_answer, seconds=seconds) as server:
            recipe = recipe_of(folder, server, endpoint={"concurrency": threads})
            assert main(words(recipe, folder / "p.jsonl")) == 0
            assert server.most_busy <= threads
            assert threads == 1 or server.most_busy >= 4
        whole.append((folder / "p.jsonl").read_bytes())
    assert whole[0] == whole[1]


def test_models_that_think_aloud_write_prompts_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without structured output, with a draft in the thoughts, and with too few tokens at first."""

    def reply(request: dict[str, Any]) -> str | Fault | Said:
        if "response_format" in request:
            return Fault(500, {"error": {"message": "grammar"}})
        answer = write_answer(request)
        thoughts = f'I need {{"prompts": [..]}}.\n{answer.replace("red", "blue")}\nNo, {{again}}.'
        if request.get("max_tokens", 0) < 4096:
            return Said({"content": f"<think>{thoughts}"}, "length", 1000)
        return f"{thoughts}</think>\n```json\n{answer}\n```\nAll {{four}} are there."

    code, output, _ = write(tmp_path, reply)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "the answer breaks off: asked again with 4096 tokens" in printed.out.replace("\n", " ")
    assert names(output.parent) == {"p.jsonl", "p.state.json"}, "nothing was put aside"
    folder = tmp_path / "plain"
    folder.mkdir()
    _, plain, _ = write(folder, write_answer)
    assert output.read_bytes() == plain.read_bytes()


def test_flexible_recipes_ask_for_subjects_alone(tmp_path: Path) -> None:
    with chat_server(write_answer) as server:
        recipe = recipe_of(tmp_path, server)
        recipe.write_text(recipe.read_text() + "subset: flexible\n")
        assert main(words(recipe, tmp_path / "p.jsonl", "--count", 8)) == 0
    for record in read_prompts(tmp_path / "p.jsonl"):
        assert [one.phrase for one in record.subjects] == record.nouns
        assert all(one.prompt.endswith("on a plain background") for one in record.subjects)


def _spoil(answer: str, number: int) -> str | Fault:
    """One kind of fault after the other."""
    value = json.loads(answer)
    entry = value["prompts"][0]
    match number:
        case 0:
            return answer[: len(answer) // 2]
        case 1:
            entry["subjects"].pop()
        case 2:
            entry["prompt"] = "Nothing of that."
        case 3:
            entry["prompt"] = ""
        case 4:
            return "I am sorry, but I cannot do that."
        case 5:
            return Fault(400, {"error": {"message": "content filter"}})
        case _:
            pass
    return json.dumps(value)


def test_invalid_answers_are_put_aside_and_asked_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count, lock = 0, threading.Lock()

    def reply(request: dict[str, Any]) -> str | Fault:
        nonlocal count
        with lock:
            number, count = count, count + 1
        return _spoil(write_answer(request), number)

    code, output, server = write(tmp_path, reply, endpoint={"concurrency": 1})
    assert code == 0
    assert len(read_prompts(output)) == 40
    aside = lines(output.parent / "p.quarantine.jsonl")
    reasons = " ".join(one["reason"] for one in aside)
    assert len(aside) >= 6
    for reason in ("JSON", "subjects instead of", "does not say", "empty", "no JSON object"):
        assert reason in reasons
    assert all({"number", "attempt", "reason", "answer"} == set(one) for one in aside)
    assert any(one["answer"] == "I am sorry, but I cannot do that." for one in aside)
    assert f"{len(aside)} invalid answers" in capsys.readouterr().out
    again = [one for one in server.requests if entry_count(one) == 1]
    assert len(again) >= len(aside)


def test_a_refused_request_is_no_reason_to_stop(tmp_path: Path) -> None:
    def reply(request: dict[str, Any]) -> str | Fault:
        if entry_count(request) > 1 and len(server_requests) < 12:
            server_requests.append(request)
            return Fault(400, {"error": {"message": "content filter"}})
        return write_answer(request)

    server_requests: list[Any] = []
    code, output, _ = write(tmp_path, reply)
    assert code == 0
    assert len(read_prompts(output)) == 40
    aside = lines(output.parent / "p.quarantine.jsonl")
    assert {one["answer"] for one in aside} == {None}
    assert "content filter" in aside[0]["reason"]


def test_near_duplicates_are_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first: list[dict[str, Any]] = []

    def reply(request: dict[str, Any]) -> str:
        value = json.loads(write_answer(request))
        if not first:
            first.append(value["prompts"][0])
        if entry_count(request) > 1:
            # The same things, and all words but one: a copy for any number of subjects.
            copy = {**first[0], "number": 3}
            copy["prompt"] = copy["prompt"].rsplit(" ", 1)[0] + " somehow."
            value["prompts"][2] = copy
        return json.dumps(value)

    code, output, _ = write(tmp_path, reply, endpoint={"concurrency": 1}, max_similarity=0.7)
    assert code == 0
    prompts = [record.prompt for record in read_prompts(output)]
    assert len(prompts) == 40
    assert sum("somehow" in prompt for prompt in prompts) == 0
    aside = lines(output.parent / "p.quarantine.jsonl")
    assert any("like prompt 0 (similarity 0." in one["reason"] for one in aside)
    assert "duplicate" in capsys.readouterr().out


def test_too_many_useless_answers_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, server = write(tmp_path, lambda _: "no", max_invalid=12)
    assert code == 1
    error = capsys.readouterr().err
    assert "12 answers in a row could not be used, the last one: no JSON object" in error
    assert "p.quarantine.jsonl" in error
    assert len(server.requests) < 30
    assert not output.exists()

    def always_the_same(request: dict[str, Any]) -> str:
        value = json.loads(write_answer(request))
        for entry in value["prompts"]:
            entry["prompt"] = "the same " + " and ".join(s["phrase"] for s in entry["subjects"])
            if entry["subjects"][1:]:
                entry["prompt"] = entry["prompt"].replace(entry["subjects"][1]["phrase"], "red mug")
            entry["subjects"] = [{"phrase": "red mug", "noun": "mug"}]
        return json.dumps(value)

    assert write(tmp_path, always_the_same, max_invalid=12)[0] == 1


def test_wrong_keys_and_urls_are_errors_of_the_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY + "-wrong")
    code, output, server = write(tmp_path, write_answer)
    assert code == 2
    printed = "".join(capsys.readouterr())
    assert "refuses access (HTTP 401" in printed
    assert "TEST_KEY" in printed
    assert KEY not in printed
    assert len(server.requests) <= 8
    assert names(output.parent) == set(), "nothing is left of a run that wrote nothing"
    recipe = recipe_of(tmp_path, server)
    assert main(words(recipe, output)) == 2
    assert "no server answers at" in capsys.readouterr().err
    tabletop = tmp_path / "t.yaml"
    tabletop.write_text("name: t\nsource: {kind: tabletop}\n")
    assert main(words(tabletop, output)) == 2
    assert "source of this recipe is tabletop" in capsys.readouterr().err


def start(recipe: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "imig.cli", *words(recipe, output)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_and_run_again_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = tmp_path / "undisturbed.jsonl"
    output = tmp_path / "p.jsonl"

    def reply(request: dict[str, Any]) -> str:
        # Every request by itself, so that the remainder of a request asks for the same.
        assert entry_count(request) == 1
        return write_answer(request)

    with chat_server(reply, seconds=0.05) as server:
        recipe = recipe_of(tmp_path, server, prompts_per_request=1)
        assert main(words(recipe, undisturbed)) == 0
        server.requests.clear()
        for count in (5, 20):
            process = start(recipe, output)
            wait_for_lines(output, count, process)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            with output.open("ab") as file:
                file.write(b'{"prompt": "torn')
        assert main(words(recipe, output)) == 0
        assert "by an earlier run)" in capsys.readouterr().out
        assert output.read_bytes() == undisturbed.read_bytes()
        # Two kills with four threads: what was under way is asked for again, nothing else.
        assert len(server.requests) <= 40 + 2 * 8
        usage = json.loads((tmp_path / "p.state.json").read_text())["usage"]
        assert usage["requests"] >= 15
        assert main(words(recipe, output)) == 0
        assert "holds 40 prompts already, 40 are wanted: nothing to do" in capsys.readouterr().out
        asked = len(server.requests)
        assert main(words(recipe, output, "--count", 44)) == 0
        assert len(server.requests) == asked + 4
        assert output.read_bytes().startswith(undisturbed.read_bytes())


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    with chat_server(write_answer, seconds=0.2) as server:
        recipe = recipe_of(tmp_path, server, endpoint={"concurrency": 2})
        process = start(recipe, tmp_path / "p.jsonl")
        wait_for_lines(tmp_path / "p.jsonl", 4, process)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 130
        assert error == "stopped; the same command continues\n"
        there = (tmp_path / "p.jsonl").read_bytes()
        assert main(words(recipe, tmp_path / "p.jsonl")) == 0
        assert (tmp_path / "p.jsonl").read_bytes().startswith(there)
        assert len(read_prompts(tmp_path / "p.jsonl")) == 40


def test_files_of_others_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "p.jsonl"
    with chat_server(write_answer) as server:
        recipe = recipe_of(tmp_path, server)
        output.write_text('{"prompt": "mine"}\n')
        assert main(words(recipe, output)) == 2
        assert "not by `imig prompts`" in capsys.readouterr().err
        assert output.read_text() == '{"prompt": "mine"}\n'
        assert main(words(recipe, output, "--overwrite", "--count", 8)) == 0
        assert len(read_prompts(output)) == 8
        assert main(words(recipe, output, "--set", "seed=4")) == 2
        assert "by another recipe; different: seed" in capsys.readouterr().err
        moved = ("--set", f"source.writer.endpoint.url={server.url}/", "--count", 9)
        assert main(words(recipe, output, *moved)) == 0, "where it is asked does not matter"
    with output.open("rb") as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(words(recipe, output, "--count", 12)) == 2
        assert "another process writes" in capsys.readouterr().err
    assert main(words(recipe, Path("/proc/p.jsonl"))) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_grammar_writes_what_a_build_would_make(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nseed: 5\nsource: {kind: prompts, count: 30}\n")
    assert main(words(recipe, tmp_path / "p.jsonl", "--count", 10)) == 0
    assert main(words(recipe, tmp_path / "p.jsonl")) == 0
    records = read_prompts(tmp_path / "p.jsonl")
    assert records == [
        write_grammar_prompt(n, recipe_seed=5, instances=(2, 5), subset="basic") for n in range(30)
    ]
    assert names(tmp_path) == {"r.yaml", "p.jsonl", "p.state.json"}
