"""The commands as a shell sees them: output, exit codes, time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from support.tiny_dataset import write_tiny_dataset

from imig import __version__
from imig.cli import main


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("cli") / "d")


def imig(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imig.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_shows_examples() -> None:
    done = imig("--help")
    assert done.returncode == 0
    assert "imig build demo" in done.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, imig, imig.cli\n"
        "try: imig.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'ray', 'pandas', 'transformers', 'pydantic'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"imig {__version__}\n"


def test_usage_errors_have_no_traceback() -> None:
    done = imig("build", "dmeo")
    assert done.returncode == 2
    assert done.stderr == "error: there is no recipe 'dmeo'\n  did you mean 'demo'?\n"
    assert done.stdout == ""


def test_plan_prints_and_builds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nsource: {kind: tabletop, count: 20}\n")
    output = tmp_path / "out"
    assert main(["build", str(recipe), "--plan", "--limit", "9", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "9 scenes in 2 blocks of 8" in printed.replace("\n", " ")
    assert not output.exists()
    assert "ray" not in sys.modules or "ray.data" not in printed


def test_plans_of_several_recipes_say_who_shares_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", "basic", "complex", "--set", "models=tiny", "--plan", "--output"]
    assert main([*words, str(tmp_path / "parts")]) == 0
    screen = capsys.readouterr().out
    for name in ("basic", "complex"):
        assert f"-> {tmp_path / 'parts' / name}" in screen.replace("\n", " ")
    assert (
        "of weights): source, draw, ground, segment, crop, score, quality, filter, write" in screen
    )
    assert "loaded more than once" not in screen
    assert main([*words, str(tmp_path / "parts"), "--set", "engine.fuse=never"]) == 0
    screen = capsys.readouterr().out
    assert "1 worker (1 CPU, 5 MB of weights): ground" in screen
    assert "loaded more than once: grounding-dino:tiny in ground, reground: 5 MB more" in screen
    assert not (tmp_path / "parts").exists()


def test_recipes_that_would_share_a_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", "demo", "demo", "--output", str(tmp_path / "parts")]
    assert main(words) == 2
    assert "2 of the recipes have the name 'demo'" in capsys.readouterr().err
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop: {}\n", "r.yaml:3: stage 'crop' needs "),
        (
            "ground: {model: {family: grounding-dyno}}\n",
            "r.yaml:3: unknown model family 'grounding-dyno'",
        ),
        ("ground: {model: {family: dinov2}}\n", "r.yaml:3: ground.model must ground"),
        (
            "ground:\n  model: {family: grounding-dino, weights: /nowhere}\n",
            "r.yaml:4: grounding-dino: weights '/nowhere' not found",
        ),
    ],
)
def test_plan_errors_name_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: r\nsource: {{kind: tabletop}}\n{text}")
    assert main(["build", str(recipe), "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_validate(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(dataset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    damaged = write_tiny_dataset(tmp_path / "damaged")
    (damaged / "index.parquet").unlink()
    assert main(["validate", str(damaged)]) == 1
    assert "missing-index" in capsys.readouterr().out
    assert main(["validate", str(tmp_path / "nowhere")]) == 2


def test_preview(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "p.png"
    words = ["preview", "--shards", str(dataset), "--out", str(out)]
    assert main([*words, "basic-00000001", "--layers", "boxes,labels"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert Image.open(out).width > 96
    assert main([*words, "--random"]) == 0
    assert main(words) == 2
    assert main([*words, "basic-00000099"]) == 2
    assert main([*words, "--random", "--layers", "bxoes"]) == 2


def test_stats(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.png"
    assert main(["stats", str(dataset), "--out", str(out), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["scenes"] == 6
    assert figures["target_sizes"] == {"96x64": 6}
    assert Image.open(out).width > 500
    assert main(["stats", str(dataset)]) == 0


def test_recipes_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["models", "list"]) == 0
    assert "grounding-dino" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error(dataset: Path) -> None:
    command = f"{sys.executable} -m imig.cli stats {dataset} --json | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_another_ctrl_c_does_not_disturb_the_ending() -> None:
    # What a build leaves to the end of the process takes a while, and people are impatient.
    code = (
        "import atexit, sys, time\n"
        "from imig.cli import run_command\n"
        "atexit.register(time.sleep, 1)\n"
        "def command():\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
        "    return 0\n"
        "sys.exit(run_command('build', command))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a script inherits SIGINT as ignored; Python leaves it so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "stopped; the same command continues\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        ("flexible", "match=null", "the subset 'flexible' needs the stage 'match'"),
        ("flexible", "crop={}", "--set crop={}: the subset 'flexible' has no stage 'crop'"),
        ("demo", "subset=complex", "--set subset=complex: the subset 'complex' needs the stage"),
        ("complex", "segment=null", "stage 'crop' needs masks, which no stage before it writes"),
        ("complex", "draw=null", "stage 'ground' needs target, which no stage before it writes"),
        (
            "demo",
            "segment.model=null",
            "stage 'segment' needs grounded masks, which no stage before it writes",
        ),
        ("basic", "quality.features=null", "duplicates.similarity is a threshold on a figure"),
        (
            "basic",
            "filter.min_aesthetics=5",
            "--set filter.min_aesthetics=5: filter.min_aesthetics",
        ),
        ("basic", "filter.agreement=true", "that this recipe does not compute"),
    ],
)
def test_a_plan_that_cannot_give_the_subset_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str, setting: str, message: str
) -> None:
    words = ["build", recipe, "--set", "models=tiny", "--set", setting, "--plan"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
