"""A sample's JSON: what parsers differ in, and values that make a reader allocate or overflow."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from support.hostile.planted import (
    MASKS,
    ONLY_VALIDATE,
    RECORD,
    Group,
    Part,
)
from support.hostile.victim import OTHER, SAMPLE, SHARD, Json, Victim

SCENES = Group(
    "A sample's JSON",
    "Everything in it has a largest size (`imig/schema/`), checked before anything is allocated.",
)


def _bytes(victim: Victim, change: Callable[[bytes], bytes]) -> None:
    victim.put("json", change(victim.get("json")))


def _again(data: bytes, encoding: str) -> bytes:
    return data.decode().encode(encoding)


TEXTS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "json-cut-off": ("half of the JSON", lambda data: data[: len(data) // 2]),
    "json-empty": ("an empty file", lambda data: b""),
    "json-no-json": ("{not json", lambda data: b"{not json"),
    "json-list": ("a list", lambda data: b"[]"),
    "json-null": ("null", lambda data: b"null"),
    "json-two": ("two documents, one after the other", lambda data: data + data),
    "json-deep": ("100,000 objects within each other",
                  lambda data: b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "json-deep-lists": ("a million brackets", lambda data: b"[" * 1_000_000),
    "json-utf-16": ("UTF-16", partial(_again, encoding="utf-16")),
    "json-utf-32": ("UTF-32", partial(_again, encoding="utf-32")),
    "json-latin-1": ("an é as Latin-1 has it", lambda data: data.replace(b"Balls", b"Ball\xe9s")),
    "json-bom": ("a byte order mark before it", lambda data: b"\xef\xbb\xbf" + data),
    "json-nul": ("a NUL in a text", lambda data: data.replace(b"Balls", b"Ball\0s")),
    "json-half-a-letter": ("half of a surrogate pair in a text",
                           lambda data: data.replace(b"Balls", b"Ball\\ud800s")),
    "json-surrogate-bytes": ("a surrogate as UTF-8 bytes",
                             lambda data: data.replace(b"Balls", b"Ball\xed\xa0\x80s")),
    "json-comments": ("a comment", lambda data: b"// hello\n" + data),
    "json-single-quotes": ("quotes of Python", lambda data: data.replace(b'"', b"'")),
    "json-trailing-comma": ("a comma behind the last value",
                            lambda data: data.rstrip()[:-1] + b",}"),
    "json-nan": ("NaN, which Python writes and JSON does not have",
                 lambda data: data.replace(b'"caption_similarity": 0.31',
                                           b'"caption_similarity": NaN')),
    "json-infinity": ("Infinity", lambda data: data.replace(b'"caption_similarity": 0.31',
                                                            b'"caption_similarity": -Infinity')),
    "json-number-endless": ("an integer of a million digits",
                            lambda data: data.replace(b'"width": 96', b'"width": ' + b"9" * 10**6)),
    "json-exponent": ("1e999999999 in place of a score",
                      lambda data: data.replace(b'"caption_similarity": 0.31',
                                                b'"caption_similarity": 1e999999999')),
}  # fmt: skip
for _kind, (_what, _change) in TEXTS.items():
    SCENES.add(_kind, _what, RECORD, partial(_bytes, change=_change))


@SCENES.fault(ONLY_VALIDATE.naming(SHARD, SAMPLE, "width"))
def json_key_twice(victim: Victim) -> None:
    """a key twice: parsers differ in which value they take (imig takes the last)"""
    victim.put("json", victim.get("json").replace(b'"width"', b'"width": 5,\n "width"', 1))


def _edit(victim: Victim, edit: Callable[[Json], object]) -> None:
    victim.edit_scene(edit)


def _instance(scene: Json, **new: object) -> None:
    scene["instances"][0] |= new


def _reference(scene: Json, **new: object) -> None:
    scene["instances"][0]["references"][0] |= new


def _scores(scene: Json, value: object) -> None:
    scene["instances"][0]["scores"]["phrase_margin"] = value
    scene["instances"][0]["references"][0]["similarity"]["dino"] = value


def _more_references(scene: Json) -> None:
    one = scene["instances"][0]["references"][0]
    scene["instances"][0]["references"] += [copy.deepcopy(one)] * 5_000


VALUES: dict[str, tuple[str, Callable[[Json], object]]] = {
    "score-nan-text": ('"NaN" in place of a score, as pydantic reads it',
                       lambda scene: _scores(scene, "NaN")),
    "score-infinity-text": ('"-Infinity" in place of a score',
                            lambda scene: _scores(scene, "-Infinity")),
    "score-text": ("a text in place of a score", lambda scene: _scores(scene, "very")),
    "score-huge": ("a score of 10^308, ten times over", lambda scene: _scores(scene, 10**309)),
    "box-nan": ("a box of NaN", lambda scene: _instance(scene, box=["NaN"] * 4)),
    "box-of-fractions": ("a box of fractions", lambda scene: _instance(scene, box=[0.5] * 4)),
    "box-huge": ("a box of 100,000 pixels",
                 lambda scene: _instance(scene, box=[0, 0, 10**5, 10**5])),
    "box-400-digits": ("a box of 400 digits",
                       lambda scene: _instance(scene, box=[0, 0, 10**400, 9])),
    "box-turned": ("a box whose corners are swapped",
                   lambda scene: _instance(scene, box=[30, 30, 5, 5])),
    "box-negative": ("a box that begins before the picture",
                     lambda scene: _instance(scene, box=[-5, -5, 30, 30])),
    "box-of-three": ("a box of three numbers", lambda scene: _instance(scene, box=[0, 0, 9])),
    "crop-box-huge": ("a crop box of 100,000 pixels",
                      lambda scene: _reference(scene, crop_box=[0, 0, 10**5, 10**5])),
    "subject-box-huge": ("a subject box of 10^9 pixels",
                         lambda scene: _reference(scene, subject_box=[0, 0, 10**9, 10**9])),
    "scene-10-to-the-9": ("a scene of 10^9 pixels a side",
                          lambda scene: scene.update(width=10**9, height=10**9)),
    "scene-one-pixel-high": ("a scene of 200,000 x 1 pixels",
                             lambda scene: scene.update(width=200_000, height=1)),
    "scene-of-nothing": ("a scene of 0 x 0 pixels", lambda scene: scene.update(width=0, height=0)),
    "scene-size-texts": ('a width of "ninety"', lambda scene: scene.update(width="ninety")),
    "reference-10-to-the-9": ("a reference of 10^9 pixels a side",
                              lambda scene: _reference(scene, width=10**9, height=10**9)),
    "instances-20-000": ("20,000 instances",
                         lambda scene: scene.update(instances=[
                             scene["instances"][0] | {"references": []}] * 20_000)),
    "references-5-000": ("5,000 references of an instance", _more_references),
    "caption-1-mb": ("a caption of 1 MB", lambda scene: scene.update(caption="x" * 10**6)),
    "caption-number": ("a number in place of the caption", lambda scene: scene.update(caption=7)),
    "phrase-1-mb": ("a phrase of 1 MB", lambda scene: _instance(scene, phrase="x" * 10**6)),
    "phrase-empty": ("an empty phrase", lambda scene: _instance(scene, phrase="")),
    "seed-70-bits": ("a seed of 70 bits", lambda scene: scene.update(seed=2**70)),
    "seed-negative": ("a negative seed", lambda scene: scene.update(seed=-1)),
    "area-zero": ("an area of 0 pixels", lambda scene: _instance(scene, area=0)),
    "version-99": ("version 99 of the schema", lambda scene: scene.update(schema_version=99)),
    "version-text": ("a version that is a text", lambda scene: scene.update(schema_version="2")),
    "unknown-key": ("a key that the schema does not have",
                    lambda scene: scene.update({"__class__": "os.system"})),
    "id-of-another": ("the id of another sample", lambda scene: scene.update(id=OTHER)),
    "id-path": ("an id that leads out of the folder", lambda scene: scene.update(id="../../pwned")),
    "id-with-newline": ("an id that ends in a line break",
                        lambda scene: scene.update(id=f"{SAMPLE}\n")),
    "member-path": ("a target that leads out of the folder",
                    lambda scene: scene.update(target="../canary.txt")),
    "member-absolute": ("a reference at an absolute path",
                        lambda scene: _reference(scene, image="/etc/passwd")),
    "subset-unknown": ("a subset that leads out of the folder",
                       lambda scene: scene.update(subset="../basic")),
    "parent-itself": ("an instance that is its own parent",
                      lambda scene: _instance(scene, parent=0)),
    "parent-missing": ("a parent that is not there", lambda scene: _instance(scene, parent=10**6)),
    "index-negative": ("an instance of number -1", lambda scene: _instance(scene, index=-1)),
    "layer-order-twice": ("an instance twice in the order of layers",
                          lambda scene: scene.update(layer_order=[0, 0, 1])),
    "relation-missing": ("a relation with an instance that is not there",
                         lambda scene: scene.update(relations=[
                             {"kind": "contains", "subject": 0, "object": 10**9, "iou": 0.5}])),
    "relation-itself": ("a relation of an instance with itself",
                        lambda scene: scene.update(relations=[
                            {"kind": "contains", "subject": 0, "object": 0, "iou": 1.0}])),
    "reference-names-twice": ("two references of one name",
                              lambda scene: scene["instances"][1]["references"][0].update(
                                  name="ref00")),
    "text-escapes": ("a phrase and a key that paint on the terminal, and a box outside",
                     lambda scene: _instance(scene, phrase="\x1b]0;owned\x07\x1b[2J\0\u202e",
                                             box=[0, 0, 10**6, 9])),
    "text-markup": ("a phrase of markup, and a box outside",
                    lambda scene: _instance(scene, phrase="[red]x[/blue] <img src=x onerror=y>",
                                            box=[0, 0, 10**6, 9])),
    "key-escapes": ("a key that paints on the terminal",
                    lambda scene: scene.update({"\x1b[2J\x07[/red]": 1})),
}  # fmt: skip
for _kind, (_what, _edit_scene) in VALUES.items():
    SCENES.add(_kind, _what, RECORD, partial(_edit, edit=_edit_scene))

JUST_WRONG: dict[str, tuple[str, Callable[[Json], object]]] = {
    "layers-contradict": ("layers that contradict their order",
                          lambda scene: scene.update(
                              layer_order=scene["layer_order"][::-1])),
    "relation-iou": ("a relation with a wrong IoU",
                     lambda scene: scene["relations"][0].update(iou=0.9)),
    "identity-empty": ("an instance without identity",
                       lambda scene: _instance(scene, identity_id=" ")),
    "area-wrong": ("an area that is not the mask's", lambda scene: _instance(scene, area=7)),
    "score-above-one": ("a cosine of 3", lambda scene: _scores(scene, 3.0)),
}  # fmt: skip
for _kind, (_what, _edit_scene) in JUST_WRONG.items():
    SCENES.add(_kind, _what, ONLY_VALIDATE.naming(SHARD, SAMPLE), partial(_edit, edit=_edit_scene))

_DRAWN = Part(
    frozenset({"validate", "preview", "split", "merge", "encode", "train"}), (SHARD, SAMPLE)
)


@SCENES.fault(_DRAWN)
def box_outside(victim: Victim) -> None:
    """a box that ends one pixel outside of the target: found by whoever cuts or draws with it"""
    _edit(victim, edit=lambda scene: _instance(scene, box=[2, 2, 97, 60]))


RUN_LENGTHS = Group(
    "Masks as run lengths",
    "COCO's compressed run lengths, which pycocotools decodes without looking at the end of its "
    "buffer: they are counted first. No layout is made of the target's masks, so `encode` and "
    "`train` do not read them.",
)
_MASK = MASKS.without("stats").naming(SHARD, SAMPLE, "instance 0")


def run_to_text(value: int, *, characters: int = 0) -> str:
    """One run in COCO's spelling; `characters` asks for a longer one of the same value."""
    text = ""
    while True:
        bits, value = value & 0x1F, value >> 5
        more = value != (-1 if bits & 0x10 else 0) or len(text) + 1 < characters
        text += chr(48 + (bits | (0x20 if more else 0)))
        if not more:
            return text


def _set_mask(victim: Victim, **new: object) -> None:
    victim.edit_scene(lambda scene: scene["instances"][0]["mask"].update(new))


_PIXELS = 96 * 64
COUNTS = {
    "runs-garbage": ("letters that are no run lengths", "\u00e9\n\0zzzz" * 9),
    "runs-empty": ("no run at all", ""),
    "runs-unfinished": ("a run that says that more follows", "0o"),
    "runs-short": ("runs that end one pixel early", run_to_text(_PIXELS - 1)),
    "runs-long": ("runs that go on behind the mask", run_to_text(_PIXELS + 1)),
    "runs-of-2-to-the-32": (
        "runs that come to the right sum in 32 bits",
        run_to_text((1 << 32) + _PIXELS),
    ),
    "runs-negative": ("a negative run", run_to_text(-5) + run_to_text(_PIXELS + 5)),
    "runs-shifted": (
        "a run of 16 characters, where C shifts modulo 64",
        run_to_text(1000) * 3 + run_to_text(-64, characters=16) + run_to_text(_PIXELS - 4936),
    ),
    "runs-spaces": ("spaces between the runs", f"{run_to_text(100)} {run_to_text(6044)}"),
}
for _kind, (_what, _counts) in COUNTS.items():
    RUN_LENGTHS.add(_kind, _what, _MASK, partial(_set_mask, counts=_counts))

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "mask-60-000": ("a mask of 60,000 x 60,000 pixels in 7 characters",
                    {"size": [60_000, 60_000], "counts": "0" + run_to_text(60_000**2)}),
    "mask-negative": ("a mask of -64 x -96 pixels", {"size": [-64, -96]}),
    "mask-of-nothing": ("a mask of 0 x 0 pixels", {"size": [0, 0], "counts": ""}),
    "mask-counts-list": ("runs as a list of numbers, as COCO has them too",
                         {"counts": [0, _PIXELS]}),
    "mask-counts-null": ("runs that are null", {"counts": None}),
    "mask-counts-20-mb": ("runs of 20 million characters", {"counts": "1" * 20_000_000}),
    "mask-three-sides": ("a mask of three dimensions", {"size": [64, 96, 3]}),
}  # fmt: skip
for _kind, (_what, _new) in REFUSED.items():
    RUN_LENGTHS.add(_kind, _what, RECORD, partial(_set_mask, **_new))


@RUN_LENGTHS.fault(_MASK)
def mask_of_another_size(victim: Victim) -> None:
    """a mask of 10 x 10 pixels in a target of 96 x 64"""
    _set_mask(victim, size=[10, 10], counts=run_to_text(100))


@RUN_LENGTHS.fault(_MASK)
def mask_turned(victim: Victim) -> None:
    """a mask whose width and height are swapped"""
    size = json.loads(victim.get("json"))["instances"][0]["mask"]["size"]
    _set_mask(victim, size=size[::-1])


@RUN_LENGTHS.fault(ONLY_VALIDATE.naming(SHARD, SAMPLE, "instance 0"))
def mask_empty(victim: Victim) -> None:
    """a mask without a pixel"""
    _set_mask(victim, counts=run_to_text(_PIXELS))
