"""`imig bench`: what it draws, what it keeps, what it refuses; with a small random FLUX."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from support.contextgen_folder import write_contextgen_folder
from support.tiny_dataset import write_tiny_dataset

from imig.cli import main
from imig.contextgen.generate import OutOfMemory, Studio
from imig.contextgen.scene_layout import picture_seed
from imig.display.result_files import read_record
from imig.errors import DataError
from imig.evaluation.bench.case_layout import case_to_layout
from imig.evaluation.bench.pictures import cut_batches, differences, list_pictures
from imig.evaluation.case import Case, CaseInstance, CaseReference

SAMPLE = Path(__file__).parents[1] / "data" / "coco-mig"
LABELS = ("a red mug", "a green cube", "a yellow duck", "a white lamp", "a black boat")
STEPS = ["--steps", "2", "--recipe", "train-tiny", "--set", "data.target_width=64"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contextgen_folder(tmp_path_factory.mktemp("bench") / "flux")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("bench") / "shards", 4)


def draw(cases: Path | str, weights: Path, output: Path, *words: str) -> int:
    own = ["--weights", str(weights), "--output", str(output), "--no-evaluate", "--workers", "1"]
    return main(["bench", str(cases), *own, *STEPS, *words])


def make_pack(folder: Path, *labels: str) -> Path:
    """ContextGen's reference pack, a picture a label."""
    for name in ("reference_images", "reference_masks"):
        (folder / name).mkdir(parents=True)
    entries = []
    for index, label in enumerate(labels):
        entries.append({"index": index, "caption": label, "available_mask_image": [3]})
        stem = f"{index:04d}_03_{label.replace(' ', '_')}"
        Image.new("RGB", (32, 32), (200, 20, 20)).save(folder / "reference_images" / f"{stem}.jpg")
        mask = Image.new("1", (32, 32), 1)
        mask.save(folder / "reference_masks" / f"{stem}_mask.png")
    (folder / "bench_instance_categories_filtered.json").write_text(json.dumps(entries))
    return folder


def pictures(output: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted((output / "pictures").iterdir())}


def pixels(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path)).astype(int)


def test_together_or_alone_or_by_generate_a_picture_is_the_same(
    weights: Path, shards: Path, tmp_path: Path
) -> None:
    assert draw(shards, weights, tmp_path / "together") == 0
    assert draw(shards, weights, tmp_path / "alone", "--batch-size", "1") == 0
    names = list(pictures(tmp_path / "together"))
    assert len(names) == 4
    for name in names:
        together, alone = (
            pixels(tmp_path / folder / "pictures" / name) for folder in ("together", "alone")
        )
        assert np.abs(together - alone).max() <= 1
    scene = names[0].rpartition("-")[0]
    assert names[0] == f"{scene}-{picture_seed(scene)}.png"
    words = ["generate", "--from-shards", scene, "--shards", str(shards), *STEPS]
    assert main([*words, "--weights", str(weights), "--output", str(tmp_path / "generated")]) == 0
    generated = pixels(tmp_path / "generated" / names[0])
    assert np.array_equal(generated, pixels(tmp_path / "alone" / "pictures" / names[0]))


def test_what_is_missing_is_drawn_as_in_an_undisturbed_run_and_the_rest_is_left_alone(
    weights: Path, shards: Path, tmp_path: Path
) -> None:
    assert draw(shards, weights, tmp_path / "one") == 0
    before = pictures(tmp_path / "one")
    lost, *others = (tmp_path / "one" / "pictures" / name for name in before)
    lost.unlink()
    half = lost.with_name(f".{lost.name}.tmp-123")
    half.write_bytes(before[lost.name][:50])
    times = [one.stat().st_mtime_ns for one in others]
    assert draw(shards, weights, tmp_path / "one") == 0
    assert pictures(tmp_path / "one") == before
    assert [one.stat().st_mtime_ns for one in others] == times


@pytest.mark.long
def test_pictures_drawn_otherwise_are_refused_with_the_difference(
    weights: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(shards, weights, tmp_path / "one", "--limit", "2") == 0
    before = pictures(tmp_path / "one")
    capsys.readouterr()
    assert draw(shards, weights, tmp_path / "one", "--limit", "2", "--steps", "3") == 2
    said = capsys.readouterr().err
    assert "2 pictures in" in said
    assert "steps was 2, now 3" in said
    assert "--overwrite" in said
    assert pictures(tmp_path / "one") == before
    assert (
        draw(shards, weights, tmp_path / "one", "--limit", "2", "--steps", "3", "--overwrite") == 0
    )
    after = pictures(tmp_path / "one")
    assert list(after) == list(before)
    assert all(after[name] != before[name] for name in before)
    record = read_record(tmp_path / "one" / "pictures" / next(iter(after)))
    assert record is not None
    assert (record["steps"], record["adapter_sha256"]) == (3, None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"settings": "other words"}, [], id="words"),
        pytest.param({"adapter": "renamed.safetensors"}, [], id="an adapter's name"),
        pytest.param({"adapter_sha256": "b"}, ["another adapter"], id="an adapter's bytes"),
        pytest.param({"adapter_sha256": None}, ["with an adapter"], id="no adapter"),
        pytest.param({"seed": 8}, ["seed was 7, now 8"], id="seed"),
        pytest.param(
            {"attention": {"ica": "none"}},
            ["attention.ica was 'middle', now 'none'"],
            id="a key of a block",
        ),
        pytest.param(
            {"given_sha256": "d"}, ["the case has changed: caption, boxes or references"], id="case"
        ),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], says: list[str]) -> None:
    found = {
        "seed": 7, "adapter": "a.safetensors", "adapter_sha256": "a", "settings": "recipe x",
        "attention": {"ica": "middle"}, "given_sha256": "c",
    }  # fmt: skip
    assert differences(found, {**found, **change}) == says
    assert differences(None, found) == ["nothing says how it was drawn"]


def case(name: str, *, size: tuple[int, int] = (64, 64), instances: int = 1) -> Case:
    return Case(id=name, caption="", size=size, instances=(CaseInstance("mug"),) * instances)


def test_batches_have_one_size_and_depend_on_the_cases_alone() -> None:
    cases = [case(f"{n}", size=(64, 64 if n % 2 else 96), instances=n) for n in range(1, 8)]
    named = list_pictures(cases, seeds=2, first_seed=None)
    batches = cut_batches(cases, named, width=None, size=3)
    sizes = {one.id: one.size for one in cases}
    assert all(len({sizes[one.case] for one in batch}) == 1 for batch in batches)
    assert sorted(one.name for batch in batches for one in batch) == sorted(
        one.name for some in named.values() for one in some
    )
    assert [one.case for one in batches[0]] == ["7", "5", "3"]
    # so a second seed leaves the batches of the first as they are
    first = cut_batches(cases, list_pictures(cases, seeds=1, first_seed=None), width=None, size=3)
    assert batches[: len(first)] == first


def test_a_case_that_cannot_be_drawn_is_named_and_the_others_are_drawn(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layouts = tmp_path / "layouts"
    layouts.mkdir()
    ball = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    ball.paste((220, 30, 30, 255), (10, 5, 30, 15))
    ball.save(layouts / "ball.png")
    for name, image in (("good", "ball.png"), ("lost", "gone.png")):
        reference = {"image": image, "box": [8, 8, 40, 24]}
        written = {"caption": "a ball", "width": 64, "height": 48, "references": [reference]}
        (layouts / f"{name}.json").write_text(json.dumps({**written, "seed": 5}))
    assert draw(layouts, weights, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "1 of 2 cases could not be drawn" in said
    assert "gone.png" in said
    assert list(pictures(tmp_path / "out")) == ["good-5.png"]
    assert pixels(tmp_path / "out" / "pictures" / "good-5.png").shape == (48, 64, 3)


def test_a_benchmark_without_references_takes_them_from_a_pack(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(SAMPLE / "mig_bench.json", tmp_path)
    place = f"coco-mig={tmp_path / 'mig_bench.json'}"
    assert draw(place, weights, tmp_path / "out") == 1
    assert "3 of 3 cases (coco-mig) have no references" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    some = make_pack(tmp_path / "some", *LABELS)
    assert draw(place, weights, tmp_path / "out", "--references", str(some)) == 1
    assert "1 of 3 cases (coco-mig) have too few references" in capsys.readouterr().err
    every = make_pack(tmp_path / "every", *LABELS, "a blue toy car")
    words = ["--references", str(every), "--seed", "42", "--seeds", "2"]
    assert draw(place, weights, tmp_path / "out", *words) == 0
    assert list(pictures(tmp_path / "out")) == [
        f"{key}-{seed}.png" for key in ("0", "12", "6") for seed in (42, 43)
    ]


RED = CaseReference("red", lambda: (Image.new("RGB", (20, 10), (220, 30, 30)), None))


def test_a_case_becomes_a_layout_of_its_references_in_its_boxes() -> None:
    box = (8.0, 16.0, 40.0, 32.0)
    opened = case_to_layout(
        Case("7", "a mug", (64, 48), (CaseInstance("mug", box=box, references=(RED,)),))
    )
    assert (opened.id, opened.layout.caption) == ("7", "a mug")
    assert (opened.layout.width, opened.layout.height) == (64, 48)
    assert opened.layout.references[0].box == box
    assert opened.references[0].mask.all()


@pytest.mark.parametrize(
    ("instances", "says"),
    [
        pytest.param([], "no instances", id="nothing"),
        pytest.param([CaseInstance("mug", references=(RED,))], "no boxes", id="no box"),
        pytest.param([CaseInstance("mug", box=(0, 0, 9, 9))], "no references", id="no reference"),
    ],
)
def test_what_a_case_lacks_is_said(instances: list[CaseInstance], says: str) -> None:
    with pytest.raises(DataError, match=f"case 7: {says}"):
        case_to_layout(Case("7", "a mug", (64, 48), tuple(instances)))


@pytest.mark.long
def test_a_batch_that_the_memory_has_no_room_for_is_halved(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draw(shards, weights, tmp_path / "alone", "--batch-size", "1") == 0
    whole, tried = Studio.draw, []

    def small(self: Studio, samples: Any, **options: Any) -> Any:
        tried.append(len(samples))
        if len(samples) > 1:
            raise OutOfMemory("too small")
        return whole(self, samples, **options)

    monkeypatch.setattr(Studio, "draw", small)
    assert draw(shards, weights, tmp_path / "halved") == 0
    assert tried == [4, 2, 1, 1, 1, 1]
    assert pictures(tmp_path / "halved").keys() == pictures(tmp_path / "alone").keys()


def _command(cases: Path, weights: Path, output: Path, *words: str) -> list[str]:
    return [
        *(sys.executable, "-m", "imig", "bench", str(cases), "--weights", str(weights)),
        *("--output", str(output), *STEPS, "--no-evaluate", *words),
    ]


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_bench_that_was_stopped_goes_on_to_the_same_bytes(
    how: signal.Signals, weights: Path, shards: Path, tmp_path: Path
) -> None:
    words = ["--batch-size", "2", "--seeds", "8", "--workers", "1", "--steps", "6"]
    command = _command(shards, weights, tmp_path / "stopped", *words)
    folder = tmp_path / "stopped" / "pictures"
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # what a shell starts in the background ignores Ctrl-C, and so do the tests then
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while not list(folder.glob("[!.]*.png")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.02)
        process.send_signal(how)
        process.wait()
    done = list(folder.glob("[!.]*.png"))
    assert 0 < len(done) < 32
    for one in done:
        Image.open(one).load()
    assert subprocess.run(command, check=False).returncode == 0
    undisturbed = _command(shards, weights, tmp_path / "whole", *words)
    assert subprocess.run(undisturbed, check=False).returncode == 0
    assert pictures(tmp_path / "stopped") == pictures(tmp_path / "whole")


@pytest.mark.parametrize(("device", "workers"), [("cuda", 3), ("cuda:1", 1)])
def test_a_process_a_gpu_and_one_for_a_gpu_that_is_named(
    weights: Path,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    workers: int,
) -> None:
    started: list[int] = []

    def start(*_: object, workers: int, what: str) -> NoReturn:
        started.append(workers)
        raise DataError(f"no process that {what} is started here")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("imig.evaluation.bench.run.each_in_processes", start)
    words = ["--weights", str(weights), "--output", str(tmp_path / "out"), "--batch-size", "1"]
    words += ["--device", device, "--no-evaluate"]
    assert main(["bench", str(shards), *STEPS, *words]) == 1
    assert started == [workers]


@pytest.mark.long
def test_several_processes_draw_the_same_bytes(weights: Path, shards: Path, tmp_path: Path) -> None:
    for workers in ("1", "2"):
        words = ["--batch-size", "2", "--workers", workers]
        command = _command(shards, weights, tmp_path / workers, *words)
        assert subprocess.run(command, check=False).returncode == 0
    assert pictures(tmp_path / "1") == pictures(tmp_path / "2")


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk at hand")
def test_a_full_disk_leaves_no_half_picture(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if ".png.tmp-" not in self.name:
            return write(self, data)
        write(self, data[: len(data) // 2])
        with open("/dev/full", "wb", buffering=0) as file:
            return file.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert draw(shards, weights, tmp_path / "one") == 1
    assert list((tmp_path / "one" / "pictures").iterdir()) == []
    assert draw(shards, weights, tmp_path / "one") == 0
    assert len(pictures(tmp_path / "one")) == 4


@pytest.mark.long
def test_pictures_are_measured_and_the_worst_are_shown(shards: Path, tmp_path: Path) -> None:
    """With the tiny models: what of the folder is measured, and what the result pins."""
    output = tmp_path / "out"
    words = ["bench", str(shards), "--weights", "tiny", "--output", str(output), "--steps", "1"]
    words += ["--measure-set", "models=tiny", "--workers", "1", "--set", "data.target_width=64"]
    words += ["--recipe", "train-tiny"]
    assert main([*words, "--seeds", "2", "--worst", "3"]) == 0
    result = json.loads((output / "evaluation.json").read_text())
    assert (result["cases"], result["pictures"]) == (4, 8)
    assert result["drawing"]["steps"] == 1
    assert result["drawing"]["weights_revision"]
    assert (output / "worst.html").read_text().count("<section>") == 3
    # pictures of seeds that this bench does not have are in no figure
    assert main([*words, "--limit", "3"]) == 0
    result = json.loads((output / "evaluation.json").read_text())
    assert (result["cases"], result["pictures"], result["against"]["limit"]) == (3, 3, 3)
