"""Whatever stands in a layout file: a layout, or an error that names it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from imig.contextgen.layout_file import load_layout
from imig.errors import UsageError

numbers = st.one_of(
    st.integers(),
    st.integers(-10, 600),
    st.floats(),
    st.floats(-0.5, 1.5),
    st.booleans(),
    st.none(),
    st.sampled_from(["1", "x", "nan", "inf", " 2 ", "1e3", ""]),
)
boxes = st.one_of(
    st.lists(numbers, max_size=6),
    st.lists(st.integers(-10, 600), min_size=4, max_size=4),
    st.lists(st.floats(-0.2, 1.2), min_size=4, max_size=4),
    st.lists(st.lists(numbers, max_size=2), max_size=4),
    st.text(max_size=9),
    st.dictionaries(st.sampled_from(["x1", "y1", "x", "w"]), numbers, max_size=4),
)
anything = st.recursive(
    st.one_of(numbers, st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
references = st.fixed_dictionaries(
    {"image": st.one_of(st.just("a.png"), st.text(max_size=5), numbers), "box": boxes},
    optional={"mask": anything, "subject_box": boxes, "name": anything, "fit": anything},
)
layouts = st.fixed_dictionaries(
    {
        "width": st.one_of(st.just(512), st.just(512), numbers),
        "height": st.one_of(st.just(384), st.just(384), numbers),
        "references": st.one_of(st.lists(references, min_size=1, max_size=3), anything),
    },
    optional={
        "units": st.sampled_from(["pixels", "relative", "relative", "percent", True]),
        "order": st.one_of(st.just([0]), anything),
        "seed": numbers,
        "caption": anything,
        "layout": anything,
        "unknown": anything,
    },
)


def load(text: str, name: str = "l.json") -> Any:
    """The layout, or None where it is refused."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return load_layout(path).layout
        except UsageError as error:
            message = error.message
    assert "l." in message
    return None


@given(st.one_of(layouts, anything))
@example({"width": 512, "height": 384, "references": [{"image": "a\0", "box": [0, 0, 9, 9]}]})
@example({"width": 512, "height": 384, "references": [{"image": "a", "box": [math.nan] * 4}]})
@example({"width": 512, "height": 384, "references": [{"image": "a", "box": [0, 0, True, True]}]})
@example({"width": 512, "height": 384, "references": [{"image": "a", "box": [0, -0.1, 1, 1]}]})
@example({"x" * 2000: 1})
@example([[[[]]]])
def test_json_gives_a_layout_or_an_error_of_ours(value: object) -> None:
    layout = load(json.dumps(value))
    for one in [] if layout is None else layout.references:
        x1, y1, x2, y2 = one.box
        assert all(map(math.isfinite, one.box))
        assert x1 < x2
        assert y1 < y2
        # No shares are taken for pixels, and no pixels for shares.
        assert (max(one.box) <= 3) if layout.units == "relative" else max(map(abs, one.box)) > 1


@given(st.text(st.sampled_from(list('{}[],:"0123456789.eE+-ntf\\u \t\n\0é')), max_size=60))
def test_text_that_is_hardly_json(text: str) -> None:
    load(text)
    load(text, "l.yaml")


@given(st.lists(st.integers(0, 64), min_size=4, max_size=4))
def test_relative_boxes_are_the_same_as_pixels(corners: list[int]) -> None:
    box = [corners[0], corners[1], corners[0] + corners[2] + 2, corners[1] + corners[3] + 2]
    pixels = {"width": 256, "height": 128, "references": [{"image": "a", "box": box}]}
    shares = [box[0] / 256, box[1] / 128, box[2] / 256, box[3] / 128]
    relative = {
        **pixels, "units": "relative", "references": [{"image": "a", "box": shares}],
    }  # fmt: skip
    assert load(json.dumps(pixels)) is not None
    assert load(json.dumps(relative)) is not None
