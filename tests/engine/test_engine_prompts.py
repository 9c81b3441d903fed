"""Builds whose prompts a language model writes first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chat_server import ChatServer, chat_server
from support.prompt_writer import write_answer
from support.prompts_build import build_here
from support.prompts_file import read_prompts

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.errors import UsageError

SCRIPT = Path(__file__).parents[1] / "support" / "prompts_build.py"
KEY = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def recipe_of(folder: Path, server: ChatServer, **settings: Any) -> Path:
    endpoint = {"url": server.url, "model": "some-model", "concurrency": 2}
    writer = {"kind": "language-model", "endpoint": endpoint, "prompts_per_request": 1}
    source = {"kind": "prompts", "count": 12, "instances": [2, 3], "writer": writer}
    draw = {"model": {"family": "tabletop"}, "width": 64, "height": 64}
    path = folder / "r.yaml"
    values = {"name": "r", "seed": 3, "source": source, "draw": draw, **settings}
    path.write_text(yaml.safe_dump(values))
    return path


def test_prompts_are_written_then_drawn(tmp_path: Path) -> None:
    output = tmp_path / "d"
    with chat_server(write_answer, key=KEY) as server:
        recipe = recipe_of(tmp_path, server)
        printed = build_here(recipe, output)
        assert "writing 12 prompts" in printed
        assert "wrote 12 scenes" in printed
        asked = len(server.requests)
        assert "finished already" in build_here(recipe, output)
        assert len(server.requests) == asked
    prompts = [record.prompt for record in read_prompts(output / "prompts.jsonl")]
    dataset = imig.Dataset(output)
    assert [scene.caption for scene in dataset] == prompts
    record = dataset.manifest.models[0]
    assert (record.family, record.weights) == ("openai-endpoint", "some-model")
    assert validate_dataset(output).ok
    for path in output.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_killed_while_prompts_are_written(tmp_path: Path) -> None:
    output, undisturbed = tmp_path / "d", tmp_path / "u"
    with chat_server(write_answer, seconds=0.2) as server:
        recipe = recipe_of(tmp_path, server)
        words = [sys.executable, str(SCRIPT), str(recipe), str(output)]
        environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (path := output / "prompts.jsonl").exists() or path.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert "by an earlier run)" in build_here(recipe, output)
        build_here(recipe, undisturbed)
    for name in ("prompts.jsonl", "basic-000000.tar", "index.parquet"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes()
    manifests = [json.loads((one / "dataset.json").read_text()) for one in (output, undisturbed)]
    assert manifests[0] == manifests[1]


def test_built_anew_prompts_that_are_wanted_again_stay(tmp_path: Path) -> None:
    output = tmp_path / "d"
    with chat_server(write_answer) as server:
        recipe = recipe_of(tmp_path, server)
        build_here(recipe, output)
        asked, prompts = len(server.requests), (output / "prompts.jsonl").read_bytes()
        recipe_of(
            tmp_path, server, draw={"model": {"family": "tabletop"}, "width": 80, "height": 64}
        )
        with pytest.raises(UsageError, match="draw"):
            build_here(recipe, output)
        build_here(recipe, output, overwrite=True)
        assert len(server.requests) == asked
        assert (output / "prompts.jsonl").read_bytes() == prompts
        recipe_of(tmp_path, server, seed=4)
        build_here(recipe, output, overwrite=True)
        assert len(server.requests) > asked
        assert (output / "prompts.jsonl").read_bytes() != prompts
        recipe.write_text("name: r\nsource: {kind: tabletop, count: 4, width: 64, height: 64}\n")
        build_here(recipe, output, overwrite=True)
        assert not list(output.glob("prompts*"))


def test_the_plan_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(write_answer) as server:
        recipe = recipe_of(tmp_path, server)
        assert main(["build", str(recipe), "--plan", "--output", str(tmp_path / "d")]) == 0
        assert "12 scenes" in capsys.readouterr().out
        assert server.requests == []
    assert main(["build", str(recipe), "--output", str(tmp_path / "d")]) == 2
    assert "no server answers at" in capsys.readouterr().err
