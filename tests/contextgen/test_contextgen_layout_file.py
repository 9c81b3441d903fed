"""The layout file: what it means, and where an error says that it is."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image
from support.picture_files import chunk, segment
from support.tabletop_samples import tabletop_sample
from support.tiny_dataset import make_sample

from imig.contextgen.layout_file import load_layout
from imig.contextgen.layout_pictures import layout_to_pictures
from imig.contextgen.sample import PictureSample
from imig.contextgen.scene_layout import scene_to_layout_file
from imig.errors import DataError, UsageError
from imig.sample import Sample
from imig.schema_export import schema_text
from imig.shards.views import SceneView
from imig.training.choices import caption_text
from imig.training.prepare import scene_to_pictures
from imig.training.recipe import DataConfig

RED, BLUE = (220, 30, 30), (30, 40, 200)
INSTRUCTION = "Paint {caption}."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two references: an RGBA square, and a picture with a mask beside it."""
    ball = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    ball.paste((*RED, 255), (10, 5, 30, 15))
    ball.save(tmp_path / "ball.png")
    Image.new("RGB", (64, 64), BLUE).save(tmp_path / "cup.jpg")
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[16:48, 8:56] = 255
    Image.fromarray(mask).save(tmp_path / "cup-mask.png")
    return tmp_path


def layout_dict(**changes: Any) -> dict[str, Any]:
    return {
        "caption": "a  red ball\nand a blue cup",
        "width": 96,
        "height": 64,
        "references": [
            {"image": "ball.png", "box": [8, 8, 40, 24], "name": "ball"},
            {
                "image": "cup.jpg",
                "mask": "cup-mask.png",
                "box": [32, 16, 80, 48],
                "fit": "instance-fit-distort",
            },
        ],
        **changes,
    }


def write(folder: Path, layout: object, name: str = "scene.json") -> Path:
    path = folder / name
    text = layout if isinstance(layout, str) else json.dumps(layout, indent=1)
    path.write_text(text)
    return path


def pictures_of(path: Path, *, width: int | None = None) -> PictureSample:
    return layout_to_pictures(
        load_layout(path), reference_side=32, instruction=INSTRUCTION, target_width=width
    )


def error_of(folder: Path, layout: object, name: str = "scene.json") -> tuple[str, str]:
    """(message without the folder, cure)."""
    path = write(folder, layout, name)
    with pytest.raises(UsageError) as caught:
        pictures_of(path)
    return caught.value.message.replace(f"{folder}/", ""), caught.value.cure


def test_a_layout_becomes_pictures(folder: Path) -> None:
    pictures = pictures_of(write(folder, layout_dict()))
    assert pictures.id == "scene"
    assert pictures.caption == "Paint a red ball and a blue cup."
    assert pictures.target is None
    assert pictures.layout.shape == (64, 96, 3)
    # The ball is 20 x 10 and its box 32 x 16: it fills it; so does the stretched cup.
    owner_red = (pictures.layout == RED).all(axis=2)
    owner_blue = (pictures.layout == BLUE).all(axis=2)
    assert owner_red[10:15, 10:30].all()
    assert owner_blue[26:46, 34:78].all()
    assert (pictures.layout[50:, :] == 128).all()
    first, second = pictures.references
    assert (first.box, first.name) == ((8.0, 8.0, 40.0, 24.0), "ball")
    assert first.image.shape == (*first.mask.shape, 3) == (16, 48, 3)
    assert second.mask.shape == (32, 32)
    assert (first.image[~first.mask] == 128).all()
    assert first.mask.mean() == pytest.approx(0.25, abs=0.06)
    assert second.mask[8:24, 4:28].all()
    assert second.mask.sum() == 16 * 24


def test_the_order_decides_what_is_in_front(folder: Path) -> None:
    place = (20, 36)  # in both boxes
    for order, colour in (([0, 1], BLUE), ([1, 0], RED), (None, RED)):
        # Without an order the larger is drawn first.
        pictures = pictures_of(write(folder, layout_dict(order=order)))
        np.testing.assert_allclose(pictures.layout[place], colour, atol=3)


def test_sizes_are_rounded_and_boxes_go_with_them(folder: Path) -> None:
    pictures = pictures_of(write(folder, layout_dict(width=100, height=70)))
    assert pictures.layout.shape == (64, 96, 3)
    assert pictures.references[0].box == pytest.approx((7.68, 7.314, 38.4, 21.943), abs=0.001)
    doubled = pictures_of(write(folder, layout_dict()), width=192)
    assert doubled.layout.shape == (128, 192, 3)
    assert doubled.references[0].box == (16.0, 16.0, 80.0, 48.0)


def test_a_box_may_reach_beyond_the_edge(folder: Path) -> None:
    layout = layout_dict()
    layout["references"][0]["box"] = [-16, 8, 16, 24]
    pictures = pictures_of(write(folder, layout))
    assert pictures.references[0].box == (0.0, 8.0, 16.0, 24.0)
    # Half of the ball is outside; what is seen has the size of the whole box's ball.
    red = (pictures.layout == RED).all(axis=2)
    assert red[10:22, :14].all()
    assert not red[:, 17:].any()


def test_a_layout_image_of_ones_own(folder: Path) -> None:
    Image.new("RGB", (192, 130), (1, 200, 3)).save(folder / "own.png")
    pictures = pictures_of(write(folder, layout_dict(layout="own.png")))
    assert pictures.layout.shape == (64, 96, 3)
    assert (pictures.layout == (1, 200, 3)).all()
    Image.new("RGB", (192, 192)).save(folder / "own.png")
    message, cure = error_of(folder, layout_dict(layout="own.png"))
    assert message.endswith(": layout: own.png is 192 x 192, the picture 96 x 64")
    assert "shape" in cure


def test_an_empty_caption_is_not_wrapped(folder: Path) -> None:
    assert pictures_of(write(folder, layout_dict(caption=" "))).caption == ""
    braces = pictures_of(write(folder, layout_dict(caption="a {red} ball")))
    assert braces.caption == "Paint a {red} ball."


def test_yaml_tabs_and_escapes(folder: Path) -> None:
    text = json.dumps(layout_dict(seed=5), indent="\t").replace("96", "9.6e1")
    assert load_layout(write(folder, text)).layout.width == 96
    # JSON's texts may have characters that YAML's may not.
    strange = json.dumps(layout_dict(caption="\x7f \ufffe 😀"), ensure_ascii=False)
    assert load_layout(write(folder, strange)).layout.caption == "\x7f \ufffe 😀"
    assert "not YAML" in error_of(folder, "caption: \x7f\n", "scene.yaml")[0]
    yaml = "width: 96\nheight: 64\nreferences:\n- image: ball.png\n  box: [0, 0, 9, 9]\n"
    assert pictures_of(write(folder, yaml, "scene.yaml")).layout.shape == (64, 96, 3)


def test_sixteen_bit_masks_and_palettes(folder: Path) -> None:
    mask = np.zeros((64, 64), dtype=np.uint16)
    mask[16:48, 8:56] = 60_000
    mask[:8] = 300  # dark, though more than 255
    Image.fromarray(mask).save(folder / "cup-mask.png")
    assert pictures_of(write(folder, layout_dict())).references[1].mask.sum() == 16 * 24
    ball = Image.open(folder / "ball.png").convert("RGBA")
    ball.quantize(4).save(folder / "ball.png")
    assert Image.open(folder / "ball.png").mode == "P"
    assert pictures_of(write(folder, layout_dict())).references[0].mask.any()


@pytest.mark.parametrize("name", ["ball.png", "cup.jpg", "cup-mask.png", "own.png"])
def test_damaged_metadata_are_warned_of(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (96, 64), BLUE).save(folder / "own.png")
    path = write(folder, layout_dict(layout="own.png"))
    expected = pictures_of(path)
    assert capsys.readouterr().err == ""
    data = (folder / name).read_bytes()
    broken = segment(0xEE, b"Adobe") if name == "cup.jpg" else chunk(b"gAMA", b"\0")
    place = 2 if name == "cup.jpg" else 33
    (folder / name).write_bytes(data[:place] + broken + data[place:])
    found = pictures_of(path)
    assert f"{folder / name}: damaged metadata left out" in capsys.readouterr().err
    assert np.array_equal(found.layout, expected.layout)
    for one, other in zip(found.references, expected.references, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask, other.mask)


@pytest.mark.parametrize("white", [1, 255, 65_535])
def test_masks_of_32_bits(folder: Path, white: int) -> None:
    expected = pictures_of(write(folder, layout_dict())).references[1].mask
    mask = np.asarray(Image.open(folder / "cup-mask.png"), dtype=np.int32) // 255 * white
    Image.fromarray(mask).save(folder / "cup-mask.png", format="TIFF")
    found = pictures_of(write(folder, layout_dict())).references[1].mask
    assert np.array_equal(found, expected)


def test_pictures_as_people_have_them(folder: Path) -> None:
    """Turned by EXIF, white masks on nothing, floating point, transparent layouts."""
    turned = Image.Exif()
    turned[0x112] = 6  # a quarter clockwise, to be upright
    cup = Image.new("RGB", (64, 48), BLUE)
    cup.paste(RED, (0, 0, 64, 10))
    cup.save(folder / "cup.jpg", exif=turned, quality=95)
    # Upright, the red strip is at the right. The mask is white all over; its alpha cuts out.
    mask = Image.new("RGBA", (48, 64), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 48, 64 // 2))
    mask.save(folder / "cup-mask.png")
    second = pictures_of(write(folder, layout_dict())).references[1]
    assert second.mask[: second.mask.shape[0] // 2].all()
    assert not second.mask[second.mask.shape[0] // 2 + 1 :].any()
    np.testing.assert_allclose(second.image[2, -3], RED, atol=8)
    np.testing.assert_allclose(second.image[2, 3], BLUE, atol=8)
    Image.fromarray(np.ones((64, 64), dtype=np.float32)).save(folder / "f.tif")
    broken = layout_dict()
    broken["references"][1] |= {"image": "f.tif", "mask": None}
    assert "f.tif has floating-point pixels" in error_of(folder, broken)[0]
    own = Image.new("RGBA", (96, 64))
    own.paste((*RED, 255), (0, 0, 48, 64))
    own.save(folder / "own.png")
    layout = pictures_of(write(folder, layout_dict(layout="own.png"))).layout
    assert (layout[:, :40] == RED).all()
    assert (layout[:, 56:] == 128).all()


def test_the_shape_of_a_layout_image_is_that_of_the_file_not_of_its_tokens(folder: Path) -> None:
    # 104 becomes 96: 8 % less, and no fault of the picture.
    Image.new("RGB", (2000, 104), RED).save(folder / "own.png")
    layout = layout_dict(width=2000, height=104, layout="own.png")
    assert pictures_of(write(folder, layout)).layout.shape == (96, 2000, 3)


def test_a_layout_is_not_scaled_beyond_all_memory(folder: Path) -> None:
    path = write(folder, layout_dict())
    with pytest.raises(UsageError, match="would become 1000000 x 666672 pixels; 8192 is the most"):
        pictures_of(path, width=1_000_000)


@pytest.mark.parametrize(
    ("change", "message", "cure"),
    [
        ({"captoin": "x"}, "scene.json:28: unknown key 'captoin'", "did you mean 'caption'?"),
        ({"width": None}, "scene.json:3: width: expected a valid integer, got None", ""),
        ({"width": 8}, "scene.json:3: width: ", ""),
        ({"references": []}, "scene.json:5: references: list should have at least 1 item", ""),
        ({"order": [0, 0]}, "scene.json:28: order: expected every reference, 0 to 1, once", ""),
        ({"seed": -1}, "scene.json:28: seed: ", ""),
        (
            {"references": ["ball.png"]},
            "scene.json:5: references.0: expected a mapping of keys, got 'ball.png'",
            "",
        ),
    ],
)
def test_errors_of_the_file(folder: Path, change: dict[str, Any], message: str, cure: str) -> None:
    found, advice = error_of(folder, layout_dict(**change))
    assert found.startswith(message)
    assert cure in advice


@pytest.mark.parametrize(
    ("change", "message", "cure"),
    [
        ({"bxo": [0, 0, 1, 1]}, ": references.0: unknown key 'bxo'", "did you mean 'box'?"),
        ({"box": [40, 8, 8, 24]}, ": references.0: box: a box is [x1, y1, x2, y2] with x1 < ", ""),
        ({"box": [8, 8, 8]}, ": references.0: box: a box is [x1, y1, x2, y2], got [8, 8, 8]", ""),
        ({"box": [8, 8, 8, "x"]}, ": references.0: box.3: expected a valid number", ""),
        ({"box": [8, 8, 1e300, 9]}, ": references.0: box.2: expected less than or equal to", ""),
        ({"box": [96, 8, 100, 24]}, "[96, 8, 100, 24] lies outside the picture, which is 96", ""),
        ({"fit": "instnce-fit"}, ": references.0: fit: ", "did you mean 'instance-fit'?"),
        ({"image": "bal.png"}, "references.0.image: there is no picture bal.png", "relative"),
        ({"image": "pipe.png"}, "pipe.png cannot be read: it is no regular file", "give a picture"),
        ({"image": "scene.json"}, "references.0.image: scene.json is no readable picture", ""),
        ({"image": "cup.jpg"}, "cup.jpg has no transparency", "give a mask"),
        ({"image": "opaque.png"}, "opaque.png is opaque everywhere", "white everywhere"),
        ({"image": "clear.png"}, "clear.png is transparent everywhere", "give a mask"),
        ({"mask": "cup-mask.png"}, "cup-mask.png is 64 x 64, its image 40 x 20", "as large"),
        ({"mask": "dark.png"}, "dark.png is empty: no pixel is brighter than half, the", "white"),
        ({"subject_box": [0, 0, 41, 20]}, "subject_box: reaches beyond ball.png", "pixels of"),
    ],
)
def test_errors_of_a_reference(
    folder: Path, change: dict[str, Any], message: str, cure: str
) -> None:
    Image.new("RGBA", (40, 20), (*RED, 255)).save(folder / "opaque.png")
    Image.new("RGBA", (40, 20), (*RED, 0)).save(folder / "clear.png")
    Image.new("L", (40, 20), 1).save(folder / "dark.png")
    os.mkfifo(folder / "pipe.png")
    layout = layout_dict()
    layout["references"][0] |= change
    found, advice = error_of(folder, layout)
    assert message in found
    line = found.removeprefix("scene.json:").partition(":")[0]
    assert int(line) in range(6, 18), found
    assert cure in advice


@pytest.mark.parametrize(
    ("box", "message", "cure"),
    [
        # in shares of the picture, which is 96 x 64
        ([0.125, 0.25, 0.5, 0.75], "[0.125, 0.25, 0.5, 0.75] is not larger than a pixel; it seems "
         "to be in shares of the picture", "`units: relative` into the layout file, or give it in "
         "pixels: [12, 16, 48, 48]"),
        ([0, 0, 1, 1], "is not larger than a pixel", "pixels: [0, 0, 96, 64]"),
        (["0", "0", "0.5", "1"], "is not larger than a pixel", "units: relative"),
        # [x, y, width, height]
        ([40, 30, 20, 20], "x1 < x2 and y1 < y2, got [40, 30, 20, 20]; of [x, y, width, height] "
         "make [40, 30, 60, 50]", ""),
        ([40, 30, 0, 0], "x2, y2] with x1 < x2 and y1 < y2, got [40, 30, 0, 0]", ""),
        ([8, 8, 8, 24], "with x1 < x2", ""),
        # counted to 1000
        ([500, 500, 900, 900], "lies outside the picture, which is 96 x 64", "counts to 1000"),
        ([-30, -30, -8, -8], "lies outside the picture", "in pixels of the picture"),
        ([math.nan, 0, 9, 9], "box.0: expected a finite number, got nan", ""),
        ([0, 0, math.inf, 9], "box.2: expected a finite number, got inf", ""),
        ([0, 0, 9, "nan"], "box.3: expected a finite number, got 'nan'", ""),
        ([0, 0, 9, "9px"], "box.3: expected a valid number", ""),
        ([0, 0, 9, None], "box.3: expected a valid number", ""),
        ([False, False, 40, True], "a box is [x1, y1, x2, y2], got [False, False, 40, True]", ""),
        ([[8, 8], [40, 24]], "a box is [x1, y1, x2, y2], got [[8, 8], [40, 24]]", ""),
        ([[8, 8, 40, 24]], "a box is [x1, y1, x2, y2], got [[8, 8, 40, 24]]", ""),
        ([8, 8, 40, [24]], "box.3: expected a valid number", ""),
        ([], "a box is [x1, y1, x2, y2], got []", ""),
        ([8] * 500, "a box is [x1, y1, x2, y2], got [8, 8, ", ""),
        ("8,8,40,24", "a box is [x1, y1, x2, y2], got '8,8,40,24'", ""),
        ({"x": 8, "y": 8, "w": 32, "h": 16}, "a box is [x1, y1, x2, y2], got {'x': 8", ""),
        (None, "a box is [x1, y1, x2, y2], got None", ""),
    ],
)  # fmt: skip
def test_boxes_that_are_wrong(folder: Path, box: Any, message: str, cure: str) -> None:
    layout = layout_dict()
    layout["references"][0]["box"] = box
    found, advice = error_of(folder, layout)
    assert "references.0" in found
    assert message in found
    assert cure in advice
    assert len(found) < 250


@pytest.mark.parametrize("box", [[8, 8, 40, 24], [8.0, 8.0, 4e1, 24.0], ["8", " 8 ", "40", "24"]])
def test_numbers_of_a_box_as_they_are_written(folder: Path, box: list[object]) -> None:
    layout = layout_dict()
    layout["references"][0]["box"] = box
    assert load_layout(write(folder, layout)).layout.references[0].box == (8, 8, 40, 24)


def test_boxes_in_shares(folder: Path) -> None:
    pixels, shares = layout_dict(), layout_dict(units="relative")
    pixels["references"][0]["subject_box"] = [5, 5, 30, 20]
    shares["references"][0] |= {
        "box": [8 / 96, 8 / 64, 40 / 96, 24 / 64],
        "subject_box": [5 / 40, 5 / 20, 30 / 40, 20 / 20],  # of the reference image
    }
    shares["references"][1]["box"] = [32 / 96, 16 / 64, 80 / 96, 48 / 64]
    for width in (None, 192):
        one = pictures_of(write(folder, pixels), width=width)
        other = pictures_of(write(folder, shares), width=width)
        np.testing.assert_array_equal(one.layout, other.layout)
        for first, second in zip(one.references, other.references, strict=True):
            assert first.box == pytest.approx(second.box)
    shares["references"][1]["box"] = [-0.5, 0.5, 1.5, 2]
    assert pictures_of(write(folder, shares)).references[1].box == (0.0, 32.0, 96.0, 64.0)


@pytest.mark.parametrize(
    ("change", "box", "message", "cure"),
    [
        ({}, [8, 8, 40, 24], "[8, 8, 40, 24] is in pixels, but the file says units: rel", "divide"),
        ({}, [1, 0, 1.5, 0.5], "lies outside the picture, which is 1 x 1 (uni", "in shares of"),
        ({}, [-0.5, 0, 0, 0.5], "lies outside the picture, which is 1 x 1", "in shares of"),
        ({"units": "percent"}, [0, 0, 9, 9], "units: expected 'pixels' or 'relative'", ""),
        ({"units": "relativ"}, [0, 0, 9, 9], "units: expected", "did you mean 'relative'?"),
        ({"unit": "relative"}, [0, 0, 1, 1], "unknown key 'unit'", "did you mean 'units'?"),
    ],
)  # fmt: skip
def test_units_that_are_wrong(
    folder: Path, change: dict[str, Any], box: list[float], message: str, cure: str
) -> None:
    layout = layout_dict(units="relative") | change
    layout["references"] = [layout["references"][0] | {"box": box}]
    found, advice = error_of(folder, layout)
    assert message in found
    assert cure in advice


def test_a_subject_box_in_shares_needs_units_too(folder: Path) -> None:
    layout = layout_dict()
    layout["references"][0]["subject_box"] = [0.1, 0.1, 0.9, 0.9]
    found, advice = error_of(folder, layout)
    assert "references.0.subject_box: [0.1, 0.1, 0.9, 0.9] is not larger than a pixel" in found
    assert "units: relative" in advice


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_texts_and_encodings(folder: Path, encoding: str) -> None:
    yaml = (
        "caption: no\r\nwidth: 96\r\nheight: 64\r\n"
        "references:\r\n- {image: 007.png, name: 2024-05-01, box: [0, 0, 9, 9]}\r\n"
    )
    (folder / "scene.yml").write_bytes(yaml.encode(encoding))
    layout = load_layout(folder / "scene.yml").layout
    assert (layout.caption, layout.references[0].image) == ("no", "007.png")
    assert layout.references[0].name == "2024-05-01"
    (folder / "scene.json").write_bytes(json.dumps(layout_dict()).encode(encoding))
    assert load_layout(folder / "scene.json").layout.width == 96


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "scene.json:1: not JSON"),
        ('{"width": ' + "9" * 5000 + "}", "scene.json: not JSON that can be read: "),
        ('{"' + "x" * 2000 + '": 1}', "unknown key 'xxx"),
        ('{"width"\n: 96, "width": 97}', "scene.json: the key 'width' stands there twice"),
        ('{"width": 96, "height": 1e999}', "height: expected a finite number"),
        ("[" * 500 + "]" * 500, "scene.json:1: brackets are nested too deeply"),
    ],
)
def test_json_as_people_break_it(folder: Path, text: str, message: str) -> None:
    assert message in error_of(folder, text)[0]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("~nobody-here/x.png", "no user 'nobody-here'"),
        ("a\0b", "no file has a zero byte in its name"),
        ("x" * 5000, "File name too long"),
        ("", "references.0: image: string should have at least 1 character"),
        (7, "references.0: image: expected a valid string, got 7"),
    ],
)
def test_names_that_no_picture_has(folder: Path, image: object, message: str) -> None:
    layout = layout_dict()
    layout["references"][0]["image"] = image
    assert message in error_of(folder, layout)[0]


def test_a_missing_box_and_a_broken_file(folder: Path) -> None:
    layout = layout_dict()
    del layout["references"][1]["box"]
    message, cure = error_of(folder, layout)
    assert "references.1: the key 'box' is missing" in message
    assert "--set" not in cure
    assert error_of(folder, '{"width": 96,\n "height": 64,\n}')[0].startswith(
        "scene.json:3: not JSON"
    )
    assert error_of(folder, "[]")[0].startswith("scene.json:1: a layout is a mapping")
    assert "brackets are nested too deeply" in error_of(folder, "[" * 100_000)[0]
    many = error_of(folder, layout_dict(references=layout_dict()["references"] * 31))[0]
    assert "references: list should have at most 60 items" in many
    assert len(many) < 250
    assert "stands in line 1 already" in error_of(folder, '{"width": 96, "width": 97}')[0]
    with pytest.raises(UsageError, match="there is no layout file"):
        load_layout(folder / "none.json")


def view(sample: Sample) -> SceneView:
    return SceneView(sample.scene, sample.files, place="a test")


def test_a_scene_becomes_a_layout_file_like_its_target(tmp_path: Path) -> None:
    scene = view(tabletop_sample(11, instances=(3, 3)))
    path = scene_to_layout_file(scene, tmp_path)
    jsonschema.validate(json.loads(path.read_text()), json.loads(schema_text("layout")))
    pictures = pictures_of(path)
    assert pictures.caption == INSTRUCTION.replace("{caption}", scene.record.caption)
    assert len(pictures.references) == 3
    target = np.asarray(scene.target).astype(int)
    drawn = (pictures.layout != 128).any(axis=2)
    masks = [one.mask for one in scene.instances if one.mask is not None]
    visible = np.stack(masks).any(axis=0)
    # Crops return to where they were cut out, to the pixel but for JPEG and edges.
    assert (drawn & visible).sum() / (drawn | visible).sum() > 0.97
    assert np.abs(pictures.layout.astype(int) - target)[drawn & visible].mean() < 6
    for one, reference in zip(scene.record.instances, pictures.references, strict=True):
        assert list(reference.box) == list(one.box)
        assert reference.name == one.phrase


def test_faces_are_not_placed_and_a_scene_without_references_is_refused(tmp_path: Path) -> None:
    sample = make_sample(0)
    layout = load_layout(scene_to_layout_file(view(sample), tmp_path)).layout
    assert len(layout.references) == len(sample.scene.instances)
    for one in sample.scene.instances:
        one.references = [view for view in one.references if view.kind == "face"]
    with pytest.raises(DataError, match="no reference with a mask"):
        scene_to_layout_file(view(sample), tmp_path)


def test_a_scene_enters_the_model_as_in_training(tmp_path: Path) -> None:
    sample = tabletop_sample(12, instances=(4, 4), width=200, height=136)
    for instance in sample.scene.instances:
        # A detector's box is not its mask's: here it lies between that and the crop.
        crop_box = instance.references[0].crop_box
        assert crop_box is not None
        x1, y1, x2, y2 = instance.box
        instance.box = (
            max(x1 - 2, crop_box[0]),
            y1,
            min(x2 + 1, crop_box[2]),
            min(y2 + 3, crop_box[3]),
        )
    scene = view(sample)
    config = DataConfig(target_width=144, reference_side=64, instruction=INSTRUCTION)
    trained = scene_to_pictures(
        scene,
        variant="crop",
        caption=caption_text(scene.record.caption, drop=False, instruction=INSTRUCTION),
        config=config,
    )
    drawn = layout_to_pictures(
        load_layout(scene_to_layout_file(scene, tmp_path)),
        reference_side=64,
        instruction=INSTRUCTION,
        target_width=144,
    )
    assert drawn.caption == trained.caption
    np.testing.assert_array_equal(drawn.layout, trained.layout)
    for one, other in zip(drawn.references, trained.references, strict=True):
        assert one.box == other.box
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_a_layout_that_was_edited_is_not_replaced(tmp_path: Path) -> None:
    scene = view(tabletop_sample(13, instances=(2, 2)))
    path = scene_to_layout_file(scene, tmp_path)
    text = path.read_text()
    assert scene_to_layout_file(scene, tmp_path) == path
    path.write_text(text.replace('"caption": "', '"caption": "my '))
    with pytest.raises(UsageError, match=r"is there, and not as --from-shards would write it"):
        scene_to_layout_file(scene, tmp_path)
    assert "my " in path.read_text()
