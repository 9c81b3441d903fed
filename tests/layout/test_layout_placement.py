import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support.golden import golden_file
from torch.nn import functional

from imig.layout.masks import mask_to_box
from imig.layout.placement import (
    Anchor,
    Fit,
    PlacedReference,
    Placement,
    Rectangle,
    aligned_face_box,
    face_anchor,
    place,
    plan_placement,
    resample,
    subject_cut,
)

MARGIN = 100
"""Room around the golden canvases for what does not land on them."""
FITS: tuple[Fit, ...] = ("instance-fit", "instance-fit-distort", "image-fit")
FLOAT16 = 127.5 * 2**-12 + 1e-3
"""Grey values that float16 loses of one in [-1, 1]."""
BYTES = 1.6
"""Grey values that bytes lose: half of one in the picture, and in each pass of the resize."""


def canvas_mask(placed: PlacedReference, *, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of what is placed, on a whole canvas of `size` (width, height)."""
    canvas = np.zeros((size[1], size[0]), dtype=bool)
    patch = np.asarray(placed.mask)
    height, width = patch.shape
    canvas[placed.top : placed.top + height, placed.left : placed.left + width] = patch
    return canvas


def golden_cases(fit: Fit | None = None) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """All cases, or those of a fit; skips the test when there is none."""
    arrays = np.load(golden_file("placement.npz"))
    found: list[tuple[dict[str, Any], dict[str, np.ndarray]]] = [
        (case, {}) for case in json.loads(golden_file("placement.json").read_text())
    ]
    for key in arrays.files:
        number, _, name = key.partition(".")
        found[int(number)][1][name] = arrays[key]
    chosen = [one for one in found if fit in (None, one[0]["fit"])]
    if not chosen:
        pytest.skip(f"there is no golden case of {fit}")
    return chosen


def released_cut(case: dict[str, Any], mask: np.ndarray) -> Rectangle:
    """The cut-out as the released code makes it: without the mask's last row and column.

    Subjects of the golden cases are 10 to 50 pixels large, so that one row alone is 3 to 10 % of
    the mask; with 512 px references it is nothing.
    """
    x1, y1, x2, y2 = mask_to_box(mask) or (0, 0, 0, 0)
    cut: Rectangle = (x1, y1, x2 - 1, y2 - 1)
    if case["valid_bbox_normalised"]:
        height, width = mask.shape
        size = (width, height, width, height)
        subject = [int(v * s) for v, s in zip(case["valid_bbox_normalised"], size, strict=True)]
        cut = (
            min(cut[0], subject[0]),
            min(cut[1], subject[1]),
            max(cut[2], subject[2]),
            max(cut[3], subject[3]),
        )
    return cut


def golden_placement(
    case: dict[str, Any], mask: np.ndarray, *, grown: float = 0.0
) -> tuple[Rectangle, Placement]:
    """The cut-out and our plan for it; `grown` moves the edges of the box, in pixels."""
    cut = released_cut(case, mask)
    anchor = case["anchor_yx"] and Anchor(*(tuple(point) for point in case["anchor_yx"]))
    x1, y1, x2, y2 = case["bbox_px"]
    return cut, plan_placement(
        cut,
        image_size=(mask.shape[1], mask.shape[0]),
        box=(x1 - grown, y1 - grown, x2 + grown, y2 + grown),
        canvas_size=tuple(case["canvas"]),
        fit=case["fit"],
        anchor=anchor,
    )


def released_placing(
    arrays: dict[str, np.ndarray], cut: Rectangle, plan: Placement, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """What the released code makes of a plan: bilinear, without antialiasing; the mask is > 0.

    Grey values (h, w, 3) float32 on a canvas of mid grey, and the mask.
    """
    placed = sampled(arrays, cut, plan, antialias=False)
    mask = np.where(placed[3:] > 0, 1.0, -1.0)  # a grey value would round the smallest shares off
    return on_canvas(placed[:3], plan, size), on_canvas(mask, plan, size)[..., 0] > 200


def on_canvas(values: np.ndarray, plan: Placement, size: tuple[int, int]) -> np.ndarray:
    """Values (c, h, w) in [-1, 1] where a plan has them, as grey values (h, w, c) of a canvas."""
    margin = MARGIN + max(plan.width, plan.height)
    canvas = np.zeros((size[1] + 2 * margin, size[0] + 2 * margin, len(values)), np.float32)
    top, left = max(plan.top, -plan.height) + margin, max(plan.left, -plan.width) + margin
    top, left = min(top, size[1] + margin), min(left, size[0] + margin)
    canvas[top : top + plan.height, left : left + plan.width] = values.transpose(1, 2, 0)
    inside = canvas[margin : margin + size[1], margin : margin + size[0]]
    return np.asarray((inside + 1) * 127.5)


def a_pixel_apart(plan: Placement) -> Iterator[Placement]:
    """The plan itself first, then all whose sides and edges differ from it by one at most."""
    steps = sorted(product((0, 1, -1), repeat=4), key=lambda one: sum(map(abs, one)))
    for left, top, width, height in steps:
        if plan.width + width > 0 and plan.height + height > 0:
            yield Placement(
                plan.left + left, plan.top + top, plan.width + width, plan.height + height
            )


def differs(
    arrays: dict[str, np.ndarray], cut: Rectangle, plan: Placement, size: tuple[int, int]
) -> bool:
    """Whether the released code would have made something else of this plan."""
    pixels, mask = released_placing(arrays, cut, plan, size)
    expected = (np.float32(arrays["placed_image"].transpose(1, 2, 0)) + 1) * 127.5
    apart = np.abs(pixels - expected).max()
    return bool((mask != arrays["placed_mask"]).any() or apart > FLOAT16)


def is_ours(case: dict[str, Any]) -> bool:
    """Whether we do something else on purpose.

    A box that reaches beyond the canvas has the released code shrink an `image-fit` until it stays
    on it, to nothing where the box's centre comes near the edge; ours is cut off at the edge.
    """
    (width, height), (x1, y1, x2, y2) = case["canvas"], case["bbox_px"]
    beyond = min(x1, y1, width - x2, height - y2) < 0
    return bool(beyond and case["fit"] == "image-fit" and not case["anchor_yx"])


def released_plan(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> Placement | None:
    """The plan of which the released code made a case: ours, or one that is a pixel apart.

    The last bit of a scale decides there whether 22 pixels are 22 or 21, and it computes in float32
    or in float64, as it is called; so boxes count that are larger or smaller by next to nothing.
    """
    size = tuple(case["canvas"])
    for grown in (0.0, -1e-4, 1e-4):
        cut, plan = golden_placement(case, arrays["mask"], grown=grown)
        for one in a_pixel_apart(plan):
            if not differs(arrays, cut, one, size):
                return one
    return None


@pytest.mark.parametrize("fit", FITS)
def test_placements_agree_with_the_released_trainer(fit: Fit) -> None:
    for case, arrays in golden_cases(fit):
        assert is_ours(case) or released_plan(case, arrays), (
            case,
            golden_placement(case, arrays["mask"]),
        )


@pytest.mark.parametrize("fit", FITS)
def test_pixels_differ_from_the_released_ones_by_antialiasing_only(fit: Fit) -> None:
    """Each pixel by as much as antialiasing changes it, computed in floats, and by bytes."""
    for case, arrays in golden_cases(fit):
        if is_ours(case):
            continue
        cut, ours = golden_placement(case, arrays["mask"])
        plan = released_plan(case, arrays) or ours
        size = tuple(case["canvas"])
        image = Image.fromarray(np.uint8(np.rint((arrays["image"].transpose(1, 2, 0) + 1) * 127.5)))
        placed = resample(image, arrays["mask"], cut, plan, canvas_size=size, mask_threshold=0.0)
        touched, released = canvas_mask(placed, size=size), arrays["placed_mask"]
        covered = canvas_mask(
            resample(image, arrays["mask"], cut, plan, canvas_size=size), size=size
        )
        plain = on_canvas(sampled(arrays, cut, plan, antialias=False), plan, size)
        smooth = on_canvas(sampled(arrays, cut, plan, antialias=True), plan, size)
        share = smooth[..., 3] / 127.5 - 1
        edge = near_the_edge(cut, plan, size)
        # Less than half a grey value is lost in bytes, in each pass; at a corner of the cut, beyond
        # which the resize of the mask goes on in the picture, a quarter of the share is left.
        assert (share[released & ~touched] < 4 / 255).all(), case
        # Only a mask of which every other pixel is sampled can miss what covers a pixel by half.
        # From a step of 4 on Pillow averages blocks first, and half is not quite half.
        missed = covered & ~released & ~edge
        step = max((cut[2] - cut[0]) / plan.width, (cut[3] - cut[1]) / plan.height)
        assert step > 1 or not missed.any(), case
        assert (share[missed] > (0.5 - 2 / 255 if step < 4 else 0.3)).all(), case
        canvas = Image.new("RGB", size)
        canvas.paste(placed.image, (placed.left, placed.top))
        expected = (np.float32(arrays["placed_image"].transpose(1, 2, 0)) + 1) * 127.5
        apart = np.abs(np.asarray(canvas) - expected)
        by_antialiasing = np.abs(smooth - plain)[..., :3]
        assert (apart - by_antialiasing)[covered & ~edge].max(initial=0) <= BYTES + FLOAT16, case


def sampled(
    arrays: dict[str, np.ndarray], cut: Rectangle, plan: Placement, *, antialias: bool
) -> np.ndarray:
    """(4, h, w) float32: colours in [-1, 1] and the mask's share, resized as planned."""
    x1, y1, x2, y2 = map(int, cut)
    parts = np.concatenate((arrays["image"], arrays["mask"][None]))[None, :, y1:y2, x1:x2]
    return functional.interpolate(
        torch.tensor(parts, dtype=torch.float32),
        (plan.height, plan.width),
        mode="bilinear",
        antialias=antialias,
    )[0].numpy()


def near_the_edge(cut: Rectangle, plan: Placement, size: tuple[int, int]) -> np.ndarray:
    """Where what is resized may come from beyond the cut: there a picture of which only a part is
    on the canvas goes on, by Pillow, and the released code repeats the last row.
    """
    near = np.zeros((plan.height, plan.width), dtype=bool)
    for axis, length in enumerate((plan.height, plan.width)):
        step = (cut[3 - axis] - cut[1 - axis]) / length
        middle = (np.arange(length) + 0.5) * step
        reach = max(step, 1.0)
        outside = (middle < reach) | (middle > step * length - reach)
        near |= outside[:, None] if axis == 0 else outside[None, :]
    return on_canvas(near[None] * 2.0 - 1, plan, size)[..., 0] > 200


def ellipse(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2 < 0.2
    return np.asarray(inside)


def test_instance_fit_has_the_boxs_area_and_the_subjects_aspect() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        width, height, box_width, box_height = rng.integers(40, 300, 4)
        cut = (3, 5, 3 + int(width), 5 + int(height))
        box = (200, 200, 200 + int(box_width), 200 + int(box_height))
        plan = plan_placement(
            cut, image_size=(400, 400), box=box, canvas_size=(800, 800), fit="instance-fit"
        )
        assert plan.width * plan.height == pytest.approx(box_width * box_height, rel=0.05)
        assert plan.width / plan.height == pytest.approx(width / height, rel=0.05)
        assert plan.left + plan.width / 2 == pytest.approx((box[0] + box[2]) / 2, abs=1)
        assert plan.top + plan.height / 2 == pytest.approx((box[1] + box[3]) / 2, abs=1)


def test_distort_fills_the_box() -> None:
    plan = plan_placement(
        (10, 10, 31, 90),
        image_size=(100, 100),
        box=(5, 6, 105, 46),
        canvas_size=(200, 100),
        fit="instance-fit-distort",
    )
    assert plan == Placement(left=5, top=6, width=100, height=40)


def test_image_fit_keeps_the_whole_image_inside_the_box() -> None:
    # A 100 x 50 image in a 40 x 40 box: scale 0.4, so it covers x 30..70 and y 40..60.
    plan = plan_placement(
        (50, 0, 100, 50), image_size=(100, 50), box=(30, 30, 70, 70), canvas_size=(99, 99),
        fit="image-fit",
    )  # fmt: skip
    assert plan == Placement(left=50, top=40, width=20, height=20)


def test_an_anchored_image_fit_is_as_small_as_its_box_at_the_edge_wants_it() -> None:
    # A 100 x 100 image in a box as large, whose centre is 20 pixels below the canvas's edge: the
    # subject, 40 pixels high to either side of the image's centre, is halved; then it is moved.
    places = [
        plan_placement(
            (20, 10, 80, 90),
            image_size=(100, 100),
            box=(0, -30, 100, 70),
            canvas_size=(100, 100),
            fit="image-fit",
            anchor=anchor,
        )
        for anchor in (Anchor(subject=(0.5, 0.5), canvas=(0.6, 0.5)), None)
    ]
    assert places == [
        Placement(left=35, top=40, width=30, height=40),
        Placement(left=20, top=-20, width=60, height=80),
    ]


def test_an_anchor_moves_an_image_fit_and_leaves_its_size() -> None:
    plan = plan_placement(
        (0, 0, 100, 100),
        image_size=(100, 100),
        box=(0, 0, 100, 100),
        canvas_size=(100, 100),
        fit="image-fit",
        anchor=Anchor(subject=(0.5, 0.5), canvas=(0.5, 0.2)),
    )
    assert plan == Placement(left=-30, top=0, width=100, height=100)


def test_face_anchor_puts_the_face_on_the_face() -> None:
    cut, face, target_face = (20.0, 10.0, 80.0, 90.0), (40, 20, 60, 40), (70, 30, 90, 50)
    anchor = face_anchor(face, cut=cut, target_face=target_face, canvas_size=(200, 100))
    plan = plan_placement(
        cut,
        image_size=(100, 100),
        box=(50, 20, 110, 90),
        canvas_size=(200, 100),
        fit="image-fit",
        anchor=anchor,
    )
    scale = plan.width / 60
    assert plan.left + (50 - 20) * scale == pytest.approx(80, abs=1)
    assert plan.top + (30 - 10) * scale == pytest.approx(40, abs=1)


def test_what_leaves_the_canvas_equals_a_crop_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    mask = ellipse(80, 60)
    for fit in FITS:
        small = place(image, mask, box=(-20, 30, 60, 130), canvas_size=(100, 100), fit=fit)
        large = place(image, mask, box=(180, 230, 260, 330), canvas_size=(500, 500), fit=fit)
        np.testing.assert_array_equal(
            canvas_mask(small, size=(100, 100)),
            canvas_mask(large, size=(500, 500))[200:300, 200:300],
        )
        left, top = small.left + 200 - large.left, small.top + 200 - large.top
        right, bottom = left + small.image.width, top + small.image.height
        whole = np.asarray(large.image.crop((left, top, right, bottom)), dtype=int)
        assert np.abs(whole - np.asarray(small.image, dtype=int)).max() <= 1


def test_nothing_to_place_and_nowhere_to_place_it() -> None:
    image = Image.new("RGB", (20, 20))
    empty = np.zeros((20, 20), dtype=bool)
    for mask, box in ((empty, (0, 0, 10, 10)), (~empty, (200, 200, 220, 220))):
        placed = place(image, mask, box=box, canvas_size=(50, 50), fit="instance-fit")
        assert placed.mask.size == (0, 0)
        assert not canvas_mask(placed, size=(50, 50)).any()
    with pytest.raises(ValueError, match="mask"):
        place(image, empty[:9], box=(0, 0, 9, 9), canvas_size=(50, 50), fit="image-fit")


def test_the_subject_box_joins_the_mask() -> None:
    mask = np.zeros((50, 50), dtype=bool)
    assert subject_cut(mask) is None
    assert subject_cut(mask, (1, 2, 3, 4)) == (1, 2, 3, 4)
    mask[10:20, 30:40] = True
    assert subject_cut(mask) == (30, 10, 40, 20)
    assert subject_cut(mask, (5, 12, 35, 45)) == (5, 10, 40, 45)


def test_the_box_of_an_aligned_face_grows_so_that_the_faces_are_equally_large() -> None:
    box = aligned_face_box(
        (100, 100, 140, 160), aligned_size=(512, 512), aligned_face=(128, 128, 384, 384)
    )
    assert box == (80, 70, 160, 190)  # half of each side is face: twice as large, same centre
