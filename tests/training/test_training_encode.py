"""`imig encode`: the tiny networks once over a dataset; a training on it equals one on pictures."""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from support.contextgen_folder import write_contextgen_folder
from support.extra_views import add_disc
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import seal
from torch import Tensor

import imig
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.contextgen.batch import make_batch
from imig.contextgen.components import LatentCodec, TextEncoders, find_components
from imig.contextgen.encode import encode_pictures
from imig.contextgen.encoded_scene import scene_from_bytes
from imig.contextgen.sample import EncodedSample
from imig.contextgen.settings import AttentionConfig
from imig.display.picture import draw_preview
from imig.display.stats import dataset_stats
from imig.errors import DataError, UsageError
from imig.sample import Sample
from imig.schema import EncodingRecord, Face, Manifest
from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.manifest import MANIFEST_NAME, read_manifest
from imig.shards.writer import write_tar
from imig.training.choices import Variant, available_variants, caption_text
from imig.training.data import TrainingData, _Packed
from imig.training.encode import encode_dataset
from imig.training.encode_scene import SceneEncoder
from imig.training.encode_workers import default_workers
from imig.training.encoding import differences, encoding_record
from imig.training.loop import train
from imig.training.metrics import read_metrics
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import TrainRecipe
from imig.training.recipe_file import load_training_recipe

SHARDS, PER_SHARD = 4, 3
COMPARED = ("*.tar", "index.parquet", MANIFEST_NAME, "README.md")


def settings(*more: str) -> list[str]:
    return [
        "steps=2",
        "batch_size=1",  # what goes through the networks by itself has the same bits
        "adapter.rank=4",
        "data.target_width=96",
        "data.reference_side=48",
        "data.validation_fraction=0.2",
        "data.caption_dropout=0.5",
        "watch.log_every=1",
        "watch.validate_every=2",
        "watch.picture_every=2",
        "watch.pictures=1",
        "watch.sampling_steps=1",
        *more,
    ]


def recipe(*more: str) -> TrainRecipe:
    return load_training_recipe("train-tiny", overrides=settings(*more))


def encode(plain: Path, output: Path, *more: str, overwrite: bool = False, workers: int = 1) -> str:
    """Encodes; gives what was printed."""
    text = io.StringIO()
    console = Console(file=text, width=200)
    encode_dataset(
        plain, recipe(*more), output=output, console=console, workers=workers, overwrite=overwrite
    )
    return text.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, also what is hidden."""
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def make_samples() -> list[Sample]:
    """Tabletop scenes; one with an edit, one with that and a face, one without references."""
    samples = [tabletop_sample(n, width=96, height=80) for n in range(SHARDS * PER_SHARD)]
    for number in (1, 5):
        add_disc(samples[number], samples[number].scene.instances[0], name="ref50", kind="edit")
    instance = samples[5].scene.instances[1]
    face = Face(box=(0, 0, 9, 9), aligned_box=(10, 20, 70, 80))
    add_disc(samples[5], instance, name="face51", kind="face", face=face)
    x1, y1, x2, y2 = instance.box
    instance.face_box = (x1, y1, (x1 + x2) // 2, (y1 + y2) // 2)
    for instance in samples[7].scene.instances:
        instance.references = []
    samples[7].files = {"target.jpg": samples[7].files["target.jpg"]}
    return samples


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encode") / "shards"
    samples = make_samples()
    shards = {
        f"basic-{number:06d}.tar": samples[number * PER_SHARD : (number + 1) * PER_SHARD]
        for number in range(SHARDS)
    }
    seal(folder, shards, {name: write_tar(folder / name, some) for name, some in shards.items()})
    by_hand = "---\ntags: [imig]\nlicense: cc-by-nc-4.0\n---\n"
    (folder / "README.md").write_text(by_hand)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "basic-00000000.jpg").write_bytes(samples[0].files["target.jpg"])
    return folder


@pytest.fixture(scope="module")
def encoded(plain: Path) -> Path:
    """`plain`, encoded by a run that nobody disturbs."""
    output = plain.with_name("encoded")
    said = encode(plain, output)
    assert "encoding" in said
    assert f"encoded 12 scenes in 4 shards to {output}" in said
    return output


def parts(sample: EncodedSample) -> dict[str, Tensor]:
    assert sample.target is not None
    found = {
        "tokens": sample.text.tokens,
        "pooled": sample.text.pooled,
        "layout": sample.layout,
        "target": sample.target,
    }
    for number, one in enumerate(sample.references):
        found |= {f"latents {number}": one.latents, f"valid {number}": one.valid}
    return found


# What is written


def test_samples_are_what_training_would_encode(plain: Path, encoded: Path) -> None:
    config = recipe().data
    components = find_components().path
    text = TextEncoders.load(components, torch.float32, "cpu")
    codec = LatentCodec.load(components, torch.float32, "cpu")
    written = imig.Dataset(encoded)
    record = written.manifest.encoding
    assert record is not None
    seen: list[tuple[Variant, ...]] = []
    for view in imig.Dataset(plain):
        variants = available_variants(view.record, config=config)
        seen.append(variants)
        assert (ENCODED_MEMBER in written[view.record.id].files) == bool(variants)
        if not variants:
            continue
        data = written.read_member(view.record.id, ENCODED_MEMBER)
        scene = scene_from_bytes(data, sample=view.record.id, encoding=record, place="a test")
        assert tuple(scene.layouts) == variants
        for variant in variants:
            for drop in (False, True):
                caption = caption_text(
                    view.record.caption, drop=drop, instruction=config.instruction
                )
                pictures = scene_to_pictures(view, variant=variant, caption=caption, config=config)
                [fresh] = encode_pictures([pictures], text=text, codec=codec)
                stored = scene.to_sample(variant, drop_caption=drop)
                assert (stored.id, stored.grid) == (fresh.id, fresh.grid)
                assert [one.box for one in stored.references] == [
                    one.box for one in fresh.references
                ]
                ours, theirs = parts(stored), parts(fresh)
                assert ours.keys() == theirs.keys()
                for name, one in ours.items():
                    # Pictures that two variants share went through in other company the 2nd time.
                    atol = 0 if variant == variants[0] else 1e-5
                    torch.testing.assert_close(one, theirs[name], rtol=0, atol=atol)
    assert seen.count(("edit", "crop")) == 1
    assert seen.count(("face", "edit", "crop")) == 1
    assert seen.count(()) == 1
    assert seen.count(("crop",)) == SHARDS * PER_SHARD - 3


def test_the_dataset_stays_one(plain: Path, encoded: Path) -> None:
    report = validate_dataset(encoded)
    assert report.faults == []
    before, after = imig.Dataset(plain), imig.Dataset(encoded)
    assert after.ids == before.ids
    for old, new in zip(before, after, strict=True):
        assert new.record == old.record
        files = dict(new.files)
        files.pop(ENCODED_MEMBER, None)
        assert files == old.files
    assert dataset_stats(after).instances == dataset_stats(before).instances
    assert draw_preview(after[0]).size == draw_preview(before[0]).size
    models = {one.family: one.revision for one in after.manifest.models}
    assert models == {"oracle": "0", "contextgen": find_components().revision}
    assert (encoded / "pictures" / "basic-00000000.jpg").is_file()
    card = (encoded / "README.md").read_text()
    assert "pictures/basic-00000000.jpg" in card
    assert "license: cc-by-nc-4.0" in card  # which the owner has written, and no scene says
    assert not (encoded / ".build").exists()


def test_bfloat16_stores_what_a_batch_rounds_to_anyway(plain: Path, tmp_path: Path) -> None:
    """And what losses are measured with stays float32."""
    config = recipe().data
    encode(plain, tmp_path / "half", "model.dtype=bfloat16")
    dataset = imig.Dataset(tmp_path / "half")
    components = find_components().path
    text = TextEncoders.load(components, torch.bfloat16, "cpu")
    codec = LatentCodec.load(components, torch.bfloat16, "cpu")
    record = dataset.manifest.encoding
    assert record is not None
    assert record.dtype == "bfloat16"
    view = dataset[0]
    data = view.files[ENCODED_MEMBER]
    stored = scene_from_bytes(data, sample=view.record.id, encoding=record, place="").to_sample(
        "crop"
    )
    caption = caption_text(view.record.caption, drop=False, instruction=config.instruction)
    pictures = scene_to_pictures(view, variant="crop", caption=caption, config=config)
    fresh = encode_pictures([pictures], text=text, codec=codec)
    ours, theirs = (
        make_batch(one, attention=AttentionConfig()).to("cpu", torch.bfloat16)
        for one in ([stored], fresh)
    )
    for name in ("text", "pooled", "conditions", "layout", "target"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert ours.layout.dtype == torch.float32
    assert validate_dataset(tmp_path / "half").ok
    assert len(data) / len(imig.Dataset(plain)[0].files["target.jpg"]) > 0.5


# Resuming


def start(plain: Path, output: Path, *, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "imig", "encode", str(plain), "--output", str(output)]
    command += ["--workers", str(workers)]
    for text in settings():
        command += ["--set", text]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,  # its process group is its own
    )


def running(group: int) -> list[str]:
    """Processes of a group; those that have ended and only wait for their parent are none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize(
    ("device", "gpus", "workers"),
    [("cuda", 4, 4), ("cuda", 1, 1), ("cuda:0", 4, 1), ("cuda:1", 4, 1)],
)
def test_a_process_a_gpu_and_one_for_a_gpu_that_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, workers: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert default_workers(torch.device(device)) == workers


@pytest.mark.long
def test_killed_in_the_middle_it_goes_on(plain: Path, encoded: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(plain, output, workers=2)
    while len(list(output.glob(".build/shards/*.json"))) < 1:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while running(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(process.pid), "its workers end with it"
    assert not (output / MANIFEST_NAME).exists(), "killed too late: nothing is tested"
    for shard in output.glob("*.tar"):
        assert shard.read_bytes() == (encoded / shard.name).read_bytes(), "whole shards only"
    said = encode(plain, output)
    assert "scenes finished by an earlier run" in said
    assert contents(output) == contents(encoded)


def test_interrupted_it_leaves_whole_shards(
    plain: Path, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, calls = tmp_path / "out", []
    whole = SceneEncoder.__call__

    def interrupted(self: SceneEncoder, prepared: object) -> object:
        calls.append(prepared)
        if len(calls) == PER_SHARD + 2:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(self, prepared)  # type: ignore[arg-type]

    monkeypatch.setattr(SceneEncoder, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode(plain, output)
    assert list(contents(output)) == ["basic-000000.tar"]
    with pytest.raises(UsageError, match=r"unfinished work that differs: data\.target_width is 96"):
        encode(plain, output, "data.target_width=112")
    with pytest.raises(UsageError, match=r"data\.edit_probability: samples with and without edits"):
        encode(plain, output, "data.edit_probability=0")
    assert list(contents(output)) == ["basic-000000.tar"], "it is left as it was"
    calls.clear()
    monkeypatch.setattr(SceneEncoder, "__call__", whole)
    assert "(3 scenes finished by an earlier run)" in encode(plain, output)
    assert contents(output) == contents(encoded)


def test_a_finished_one_is_left_alone(
    plain: Path, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {one: one.stat().st_mtime_ns for one in encoded.iterdir()}
    monkeypatch.setattr(TextEncoders, "load", None)
    said = encode(plain, encoded)
    assert said == (
        f"{encoded} is finished already: 12 scenes in 4 shards; --overwrite encodes them anew\n"
    )
    with pytest.raises(UsageError, match=r"a finished dataset that differs: data\.instruction is"):
        encode(plain, encoded, "data.instruction=Show {caption}")
    with pytest.raises(UsageError, match="differs: it is not encoded"):
        encode(encoded, plain)
    with pytest.raises(UsageError, match=r"is the dataset .* that is read"):
        encode(plain, plain.parent / "." / "shards", overwrite=True)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not imig's: it holds thesis\.txt"):
        encode(plain, tmp_path, overwrite=True)
    assert {one: one.stat().st_mtime_ns for one in encoded.iterdir()} == before


def test_overwriting_and_encoding_again_give_the_same(
    plain: Path, encoded: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    encode(plain, output, "data.target_width=112")
    encode(plain, output, overwrite=True)
    assert contents(output) == contents(encoded)
    encode(encoded, tmp_path / "again")
    for shard in encoded.glob("*.tar"):
        assert (tmp_path / "again" / shard.name).read_bytes() == shard.read_bytes()


def test_a_damaged_sample_stops_and_is_named(plain: Path, tmp_path: Path) -> None:
    samples = make_samples()[:2]
    samples[1].files["ref00.jpg"] = samples[1].files["ref00.jpg"][:300]
    folder, name = tmp_path / "shards", "basic-000000.tar"
    seal(folder, {name: samples}, {name: write_tar(folder / name, samples)})
    with pytest.raises(DataError, match=r"basic-00000001 .* ref00\.jpg does not decode"):
        encode(folder, tmp_path / "out")
    assert not contents(tmp_path / "out")


def test_the_command(plain: Path, encoded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for text in settings() for word in ("--set", text)]
    assert main(["encode", f"file://{plain}", *words]) == 2
    assert "give a folder with --output" in capsys.readouterr().err
    assert main(["encode", f"file://{plain}", "--output", str(encoded), *words]) == 0
    assert "is finished already" in capsys.readouterr().out
    assert main(["encode", str(plain.parent / "nothing")]) == 2
    assert "there is no dataset folder" in capsys.readouterr().err
    assert main(["encode", str(plain), "--set", "model.weights=/nowhere"]) == 2
    assert "not found" in capsys.readouterr().err
    assert not plain.with_name("shards-encoded").exists()


# Training


def losses(run: Path) -> list[tuple[float, ...]]:
    names = ("step", "loss", "gradient_norm", "margin", "validation/loss")
    return [
        tuple(math.nan if (value := row.get(name)) is None else value for name in names)
        for row in read_metrics(run / "metrics.jsonl")
    ]


def test_training_on_encoded_shards_is_training_on_pictures(
    plain: Path, encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recipe()
    assert train(one, [plain], run=tmp_path / "plain") == 0
    adapter = tmp_path / "plain" / "adapter.safetensors"
    dpo = recipe("objective={kind: dpo, beta: 100}", f"adapter.start={adapter}")
    assert train(dpo, [plain], run=tmp_path / "plain-dpo") == 0

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("text encoders are not needed")

    monkeypatch.setattr(TextEncoders, "load", refuse)
    assert train(one, [encoded], run=tmp_path / "encoded") == 0
    assert train(dpo, [encoded], run=tmp_path / "encoded-dpo") == 0
    assert len(losses(tmp_path / "plain")) >= 2
    for name in ("", "-dpo"):
        seen, expected = (losses(tmp_path / f"{kind}{name}") for kind in ("encoded", "plain"))
        np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)
    assert list((tmp_path / "encoded" / "pictures").iterdir()), "held-out scenes are drawn"
    with pytest.raises(AssertionError, match="not needed"):
        train(one, [plain], run=tmp_path / "again")


def data(folder: Path | str, one: TrainRecipe, *others: Path) -> TrainingData:
    return TrainingData(
        [folder, *others],
        config=one.data,
        seed=0,
        batch_size=2,
        encode_as=lambda: encoding_record(
            one, components=find_components(one.model.weights).path, dtype=torch.float32
        ),
    )


def test_what_the_data_hands_out(plain: Path, encoded: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no usable reference"):
        near, far = data(encoded, recipe()), data(f"file://{encoded}", recipe())
    dropped = set()
    for number in range(8):
        for sample, again, planned in zip(
            near[number], far[number], near.plan(number), strict=True
        ):
            assert isinstance(sample, EncodedSample)
            assert isinstance(again, EncodedSample)
            assert all(torch.equal(one, parts(again)[name]) for name, one in parts(sample).items())
            assert (len(sample.text.tokens) < 5) == planned.choice.drop_caption
            dropped.add(planned.choice.drop_caption)
    assert dropped == {False, True}
    unpacked = pickle.loads(bytes(_Packed(near)[3]))  # type: ignore[arg-type]
    assert [one.id for one in unpacked.samples] == [one.id for one in near[3]]
    held_out = near.validation_sample(0)
    assert isinstance(held_out, EncodedSample)
    pictures = near.validation_pictures(0)
    assert pictures.id == held_out.id
    assert pictures.caption
    with pytest.warns(UserWarning, match="no usable reference"):
        mixed = data(encoded, recipe(), plain)
    with pytest.warns(UserWarning, match="no usable reference"):
        pictures_only = TrainingData([encoded], config=recipe().data, seed=0, batch_size=1)
    kinds = {type(one).__name__ for number in range(12) for one in mixed[number]}
    assert kinds == {"EncodedSample", "PictureSample"}
    assert type(pictures_only[0][0]).__name__ == "PictureSample"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.target_width=112", "data.target_width is 96 there and 112 here"),
        ("data.reference_side=64", "data.reference_side is 48 there and 64 here"),
        ("data.max_references=2", "data.max_references is 6 there and 2 here"),
        ("data.instruction=Show {caption}", "data.instruction is 'Paint this as one natural"),
        ("attention.text_length=512", "attention.text_length is 'caption' there and 512 here"),
        ("model.dtype=bfloat16", "model.dtype is 'float32' there and 'bfloat16' here"),
        ("model.weights={weights}", "model.weights are tiny ("),
    ],
)
def test_another_recipe_is_refused(
    encoded: Path, tmp_path: Path, change: str, message: str
) -> None:
    if "{weights}" in change:
        change = f"model.weights={write_contextgen_folder(tmp_path / 'weights')}"
    with pytest.raises(UsageError) as raised:
        train(recipe(change), [encoded], run=tmp_path / "run")
    assert raised.value.message.startswith(f"{encoded} was encoded with other settings than this")
    assert message in raised.value.message
    assert "; " not in raised.value.message, "one difference"
    assert "train on the plain shards" in raised.value.cure


def test_padded_texts_are_encoded_stored_and_trained_on(tmp_path: Path) -> None:
    plain, padded = tmp_path / "shards", tmp_path / "padded"
    samples = [tabletop_sample(n, width=96, height=80) for n in range(2)]
    name = "basic-000000.tar"
    plain.mkdir()
    seal(plain, {name: samples}, {name: write_tar(plain / name, samples)})
    only = ("attention.text_length=512", "data.validation_fraction=0", "data.caption_dropout=0.5")
    encode(plain, padded, *only)
    record = read_manifest(padded / MANIFEST_NAME).encoding
    assert record is not None
    assert record.text_length == 512
    assert not validate_dataset(padded).faults
    data = imig.Dataset(padded).read_member(samples[0].scene.id, ENCODED_MEMBER)
    scene = scene_from_bytes(data, sample=samples[0].scene.id, encoding=record, place="a test")
    assert len(scene.caption.tokens) == len(scene.empty.tokens) == 512
    for folder in (plain, padded):
        assert train(recipe(*only), [folder], run=tmp_path / f"run-{folder.name}") == 0
    seen, expected = (losses(tmp_path / f"run-{name}") for name in ("padded", "shards"))
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match="text_length is 512 there and 'caption' here"):
        train(recipe(), [padded], run=tmp_path / "refused")


def test_settings_that_encode_nothing_may_differ(plain: Path, encoded: Path) -> None:
    for change in ("data.edit_probability=0", "data.face_probability=1", "data.caption_dropout=1"):
        with pytest.warns(UserWarning, match="no usable reference"):
            assert isinstance(data(encoded, recipe(change))[0][0], EncodedSample)
    record = read_manifest(encoded / MANIFEST_NAME).encoding
    assert record is not None

    def fits(there: str, here: str) -> bool:
        old, new = (record.model_copy(update={"edits": one}) for one in (there, here))
        return not list(differences(old, new))

    kinds = ("never", "sometimes", "always")
    assert {(one, other) for one in kinds for other in kinds if fits(one, other)} == {
        *((one, one) for one in kinds),
        ("sometimes", "never"),
        ("sometimes", "always"),
    }
    moved = record.model_copy(update={"weights": "/data/tiny"})
    assert not list(differences(moved, record)), "the same weights in another place"


def test_a_damaged_encoding_stops_training_and_is_named(encoded: Path, tmp_path: Path) -> None:
    manifest = read_manifest(encoded / MANIFEST_NAME)
    assert manifest.encoding is not None
    other = manifest.encoding.model_copy(update={"instruction": "{caption}"})
    for one in encoded.iterdir():
        if one.is_file():
            (tmp_path / one.name).write_bytes(one.read_bytes())
    _rewrite(tmp_path, manifest, encoding=other)
    with pytest.warns(UserWarning, match="no usable reference"):
        spoilt = data(tmp_path, recipe("data.instruction={caption}"))
    with pytest.raises(DataError, match=r"was encoded otherwise .* \(wanted for training sample"):
        spoilt[0]
    assert {fault.kind for fault in validate_dataset(tmp_path).faults} == {"encoding-mismatch"}


def _rewrite(folder: Path, manifest: Manifest, *, encoding: EncodingRecord) -> None:
    changed = manifest.model_copy(update={"encoding": encoding})
    (folder / MANIFEST_NAME).write_text(changed.model_dump_json())
