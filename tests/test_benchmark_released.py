"""The released trainer's way, which ours is measured beside: it does what the released code does.

Against outputs of the released code (../shared/golden) where they are, and against ours everywhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from support.golden import golden_file, golden_names

from benchmarks.released_layout import ReleasedReference, compose, place
from benchmarks.step_parts.released import dense_masks, image_positions
from benchmarks.suite.parts.layout_composition import BOXES, CANVAS, references, released
from imig.contextgen.tokens import ReferenceTokens, SampleTokens
from imig.layout.composition import MID_GREY, compose_layout
from imig.layout.placement import Fit


def test_placements_are_those_of_the_released_code() -> None:
    arrays = np.load(golden_file("placement.npz"))
    cases = json.loads(golden_file("placement.json").read_text())
    agree = []
    for number, case in enumerate(cases):
        anchor = case["anchor_yx"]
        reference = ReleasedReference(
            torch.tensor(arrays[f"{number:02d}.image"]),
            torch.tensor(arrays[f"{number:02d}.mask"]),
            fit=case["fit"],
            subject_box=case["valid_bbox_normalised"],
            anchor=None if anchor is None else (tuple(anchor[0]), tuple(anchor[1])),
        )
        expected = arrays[f"{number:02d}.placed_image"].astype(np.float32)
        image, mask = place(reference, box=case["bbox_px"], size=tuple(case["canvas"]))
        same = np.array_equal(mask.numpy(), arrays[f"{number:02d}.placed_mask"])
        # of float16 in the file
        agree.append(same and np.abs(image.numpy() - expected).max() < 5e-4)
    # To the bit but where the last bit of a scale or a box, which float32 has otherwise than
    # float64, decides about a pixel.
    assert np.mean(agree) >= 0.9, agree


def test_both_ways_compose_the_same_layout() -> None:
    # colours that change slowly: only ours antialiases
    y, x = np.mgrid[:512, :512] // 2
    smooth = Image.fromarray(np.uint8(np.stack((x, y, 255 - x), axis=-1)))
    for fit in get_args(Fit):
        given = [replace(one, image=smooth) for one in references(fit)]
        ours = compose_layout(given, BOXES, range(4), size=CANVAS)
        theirs = compose(released(given), BOXES, range(4), size=CANVAS)
        ours_there = (ours != MID_GREY).any(axis=2)
        there = (theirs != 0).any(dim=0).numpy()
        # the released mask is wider: any share of a pixel counts
        assert np.mean(there != ours_there) < 0.01, fit
        error = np.abs((theirs.permute(1, 2, 0).numpy() + 1) * 127.5 - ours)
        assert np.median(error[there & ours_there]) <= 2, fit


@pytest.mark.parametrize("name", golden_names("attention"))
def test_masks_and_positions_are_those_of_the_released_code(name: str) -> None:
    case = json.loads(golden_file(f"{name}.json").read_text())
    golden = np.load(golden_file(f"{name}.npz"))
    text, grid = case["text_tokens"], (case["height_tokens"], case["width_tokens"])
    for index, given in enumerate(case["samples"]):
        sample = SampleTokens(
            text,
            grid,
            tuple(
                ReferenceTokens(torch.tensor(one["mask"]).bool(), tuple(one["bbox_px"]))
                for one in given
            ),
        )
        masks = dense_masks(sample, text=text, device=torch.device("cpu"))
        length = len(masks[0])
        for kind, mask in zip(("cla", "ica"), masks, strict=True):
            expected = np.unpackbits(golden[kind][index], axis=-1)[:length, :length].astype(bool)
            assert np.array_equal(mask.numpy(), expected), kind
        positions = image_positions(sample).numpy()
        assert np.array_equal(positions, golden["position_ids"][index, : length - text])
