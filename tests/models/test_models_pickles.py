"""Weights that are pickles with code in them: whoever is given one refuses it, and runs nothing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models_support import load
from support.pickles import WRITERS
from torch import nn

import imig
from imig.errors import ImigError
from imig.models.families.aesthetics import _read_state
from imig.models.families.groundingdino import _load_state

WEIGHTS = Path(imig.__file__).parent / "weights"
Writer = Callable[[Path, Path], Path]


@pytest.fixture(params=list(WRITERS.values()), ids=list(WRITERS))
def write(request: pytest.FixtureRequest) -> Writer:
    writer: Writer = request.param
    return writer


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_these_pickles_do_harm_where_they_are_loaded(
    tmp_path: Path, mark: Path, writer: Writer
) -> None:
    with contextlib.suppress(RuntimeError):  # it has run the plain one before it finds it invalid
        torch.load(writer(tmp_path / "x.pt", mark), weights_only=False)
    assert mark.exists()


def tiny_without_weights(family: str, folder: Path) -> Path:
    shutil.copytree(
        WEIGHTS / family, folder, ignore=shutil.ignore_patterns("*.safetensors", "README.md")
    )
    return folder


def transformers_folder(family: str) -> Callable[[Path, Writer, Path], Any]:
    def read(folder: Path, write: Writer, mark: Path) -> Any:
        write(tiny_without_weights(family, folder) / "pytorch_model.bin", mark)
        return load(family, folder)

    return read


def open_clip_folder(folder: Path, write: Writer, mark: Path) -> Any:
    write(tiny_without_weights("open-clip", folder) / "open_clip_pytorch_model.bin", mark)
    return load("open-clip", folder)


def open_clip_file(folder: Path, write: Writer, mark: Path) -> Any:
    return load("open-clip", write(folder / "x.pt", mark), config="ViT-S-32")


def segment_anything_file(folder: Path, write: Writer, mark: Path) -> Any:
    return load("segment-anything", write(folder / "sam_vit_b_x.pth", mark))


def groundingdino_file(folder: Path, write: Writer, mark: Path) -> Any:
    return _load_state(nn.Linear(1, 1), write(folder / "groundingdino_swint.pth", mark))


def aesthetics_head(folder: Path, write: Writer, mark: Path) -> Any:
    return _read_state(write(folder / "head.pth", mark))


def contextgen_part(part: str, name: str) -> Callable[[Path, Writer, Path], Any]:
    def read(folder: Path, write: Writer, mark: Path) -> Any:
        from imig.contextgen.components import LatentCodec, TextEncoders, load_transformer

        shutil.copytree(WEIGHTS / "contextgen", folder)
        for one in (folder / part).glob("*.safetensors"):
            one.unlink()
        write(folder / part / name, mark)
        load_transformer(folder, torch.float32, "cpu")
        LatentCodec.load(folder, torch.float32, "cpu")
        return TextEncoders.load(folder, torch.float32, "cpu")

    return read


READERS: dict[str, Callable[[Path, Writer, Path], Any]] = {
    "dinov2": transformers_folder("dinov2"),
    "blip": transformers_folder("blip"),
    "grounding-dino": transformers_folder("grounding-dino"),
    "open-clip, a folder": open_clip_folder,
    "open-clip, a file": open_clip_file,
    "segment-anything": segment_anything_file,
    "groundingdino": groundingdino_file,
    "aesthetics": aesthetics_head,
    "contextgen, transformer": contextgen_part("transformer", "diffusion_pytorch_model.bin"),
    "contextgen, vae": contextgen_part("vae", "diffusion_pytorch_model.bin"),
    "contextgen, text encoder": contextgen_part("text_encoder", "pytorch_model.bin"),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_weights(
    tmp_path: Path, mark: Path, write: Writer, read: Callable[[Path, Writer, Path], Any]
) -> None:
    with pytest.raises(ImigError) as caught:
        read(tmp_path / "weights", write, mark)
    assert not mark.exists()
    assert "weights" in caught.value.message
    assert "weights_only" not in caught.value.message, "advice to load it all the same"
    assert caught.value.cure


def test_a_model_of_hanta_in_the_current_folder(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tagger's own model is a pickle in its package; a file of its name elsewhere is not it."""
    import gzip
    import pickle

    from support.pickles import Mark

    from imig.stages.word_classes import _tagger, classify

    planted = tmp_path / "morphmodel_en.pgz"
    planted.write_bytes(gzip.compress(pickle.dumps(Mark(mark))))
    monkeypatch.chdir(tmp_path)
    _tagger.cache_clear()
    assert [one.text for one in classify(["a", "red", "ball"])] == ["a", "red", "ball"]
    assert not mark.exists()
