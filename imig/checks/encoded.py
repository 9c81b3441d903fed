"""Check the latents and text embeddings of one sample against its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imig.checks.pictures import Findings
from imig.errors import DataError
from imig.layout.reference_size import TOKEN, picture_size, reference_size
from imig.schema import Scene
from imig.shards.encoded import (
    ENCODED_MEMBER,
    TARGET,
    TEXTS,
    VARIANTS,
    EncodedHeader,
    encoded_from_bytes,
    layout_name,
    reference_names,
    text_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    Tensors = Mapping[str, Tensor]

KIND = "bad-encoding"
_FLOATS = ("torch.float32", "torch.bfloat16")
_BOX_TOLERANCE = 1e-6  # pixels; boxes are scaled and clipped in float64


def can_be_encoded(scene: Scene) -> bool:
    """Whether a trainer certainly has a use for the scene: it has a reference that is no face.

    A face counts only together with a face in the target; the trainer decides that.
    """
    return any(_has_plain_reference(scene, instance) for instance in range(len(scene.instances)))


def check_encoded(findings: Findings, scene: Scene, data: bytes) -> None:
    """Collect what is wrong with the member: what it lacks, shapes, types, values.

    Which picture the latents show cannot be seen without the networks; `header.id` tells a member
    that has come under another sample.
    """
    try:
        header, tensors = encoded_from_bytes(data, place=findings.sample)
    except DataError as error:
        findings.add(KIND, error.message.removeprefix(f"{findings.sample}: "))
        return
    findings.encoding = header.encoding
    for problem in member_problems(header, tensors, sample=findings.sample):
        findings.add(KIND, f"{ENCODED_MEMBER}: {problem}")
    if tensors[TARGET].ndim != 3:
        return
    for problem in (
        *_variant_problems(scene, header),
        *_target_problems(scene, header, tensors),
        *_grid_problems(scene, header, tensors),
    ):
        findings.add(KIND, f"{ENCODED_MEMBER}: {problem}")


def member_problems(header: EncodedHeader, tensors: Tensors, *, sample: str) -> Iterator[str]:
    """What a trainer must not take, as far as the member tells without its scene."""
    if header.id != sample:
        yield f"it is the encoding of sample {header.id}"
    if tensors[TARGET].ndim != 3:
        yield f"the target is {_shape(tensors[TARGET])}, not rows, columns, channels"
        return
    yield from _shown_problems(header)
    yield from _text_problems(header, tensors)
    yield from _layout_problems(header, tensors)
    yield from _reference_problems(header, tensors)
    yield from _value_problems(tensors)


def _shown_problems(header: EncodedHeader) -> Iterator[str]:
    """Every variant shows references, and only such as are there."""
    if not header.variants:
        yield "it has no layout"
    for variant, names in header.variants.items():
        if variant not in VARIANTS:
            yield f"variant {variant} is none of {', '.join(VARIANTS)}"
        if not names:
            yield f"variant {variant} shows no reference"
        for name in names:
            if name not in header.boxes:
                yield f"variant {variant} shows {name}, which is not encoded"


def _variant_problems(scene: Scene, header: EncodedHeader) -> Iterator[str]:
    """Every variant shows one reference of each instance that the others show."""
    owners = {
        reference.name: instance.index
        for instance in scene.instances
        for reference in instance.references
    }
    instances: set[tuple[int, ...]] = set()
    for variant, names in header.variants.items():
        if unknown := [name for name in names if name not in owners]:
            yield f"variant {variant} shows {', '.join(unknown)}, which the sample does not have"
            continue
        shown = tuple(owners[name] for name in names)
        if list(shown) != sorted(set(shown)):
            yield f"variant {variant} shows instances {list(shown)}, not each one once in order"
        instances.add(shown)
    if len(instances) > 1:
        yield f"its variants show different instances: {sorted(map(list, instances))}"
    idle = sorted(header.boxes.keys() - {name for one in header.variants.values() for name in one})
    if idle:
        yield f"no variant shows {', '.join(idle)}"
    for shown in instances:
        yield from _count_problems(scene, shown, most=header.encoding.max_references)


def _count_problems(scene: Scene, shown: Sequence[int], *, most: int) -> Iterator[str]:
    if len(shown) > most:
        yield f"{len(shown)} references, of at most {most}"
    elif len(shown) < most:
        left_out = [
            instance
            for instance in range(len(scene.instances))
            if instance not in shown and _has_plain_reference(scene, instance)
        ]
        if left_out:
            yield f"instances {left_out} have references, and none is encoded"


def _text_problems(header: EncodedHeader, tensors: Tensors) -> Iterator[str]:
    widths = set()
    for text in TEXTS:
        tokens, pooled = (tensors[name] for name in text_names(text))
        if tokens.ndim != 2 or pooled.ndim != 1 or not len(tokens):
            yield f"the embedding of the {text} text is {_shape(tokens)} and {_shape(pooled)}"
        else:
            widths.add((tokens.shape[1], pooled.shape[0]))
            length = header.encoding.text_length
            if length != "caption" and len(tokens) != length:
                yield f"the {text} text has {len(tokens)} tokens, not {length}"
        yield from _type_problems(f"{text}.tokens", tokens, header.encoding.dtype)
        yield from _type_problems(f"{text}.pooled", pooled, header.encoding.dtype)
    if len(widths) > 1:
        yield f"its two text embeddings differ in width: {sorted(widths)}"


def _target_problems(scene: Scene, header: EncodedHeader, tensors: Tensors) -> Iterator[str]:
    target = tensors[TARGET]
    pixels = picture_size(scene.width, scene.height, target_width=header.encoding.target_width)
    grid = (pixels[1] // TOKEN, pixels[0] // TOKEN)
    if target.shape[:2] != grid:
        yield (
            f"the target is {_shape(target)}: a scene of {scene.width}x{scene.height} has "
            f"{grid[0]} by {grid[1]} tokens at {pixels[0]} pixels"
        )


def _layout_problems(header: EncodedHeader, tensors: Tensors) -> Iterator[str]:
    target = tensors[TARGET]
    for name in (TARGET, *map(layout_name, header.variants)):
        if tensors[name].shape != target.shape:
            yield f"{name} is {_shape(tensors[name])}, the target {_shape(target)}"
        yield from _type_problems(name, tensors[name], "float32")


def _reference_problems(header: EncodedHeader, tensors: Tensors) -> Iterator[str]:
    size = (header.encoding.target_width, tensors[TARGET].shape[0] * TOKEN)
    for name, (x1, y1, x2, y2) in header.boxes.items():
        latents, valid = (tensors[one] for one in reference_names(name))
        if latents.ndim != 3 or valid.shape != latents.shape[:2]:
            yield f"{name} is {_shape(latents)}, its valid tokens {_shape(valid)}"
        elif latents.shape[2:] != tensors[TARGET].shape[2:]:
            yield f"{name} has latents of {latents.shape[2]}, the target of another size"
        yield from _type_problems(name, latents, header.encoding.dtype)
        yield from _type_problems(f"{name} valid", valid, "bool")
        if not valid.any():
            yield f"{name} has no token with anything of the subject"
        low, high = -_BOX_TOLERANCE, _BOX_TOLERANCE
        if not (low <= x1 < x2 <= size[0] + high and low <= y1 < y2 <= size[1] + high):
            yield f"{name} belongs to {[x1, y1, x2, y2]} in a target of {size[0]}x{size[1]}"


def _grid_problems(scene: Scene, header: EncodedHeader, tensors: Tensors) -> Iterator[str]:
    """References have as many tokens as their pictures give."""
    side = header.encoding.reference_side
    for record in (one for instance in scene.instances for one in instance.references):
        if record.name not in header.boxes:
            continue
        latents = tensors[reference_names(record.name)[0]]
        width, height = reference_size(record.width, record.height, side=side)
        grid = (height // TOKEN, width // TOKEN)
        if latents.ndim == 3 and latents.shape[:2] != grid:
            yield (
                f"{record.name} is {_shape(latents)}: a picture of {record.width}x{record.height} "
                f"has {grid[0]} by {grid[1]} tokens"
            )


def _type_problems(name: str, tensor: Tensor, dtype: str) -> Iterator[str]:
    found = str(tensor.dtype).removeprefix("torch.")
    if found != dtype:
        yield f"{name} is {found}, not {dtype}"


def _value_problems(tensors: Tensors) -> Iterator[str]:
    for name, tensor in sorted(tensors.items()):
        # other types are a fault already, and not all of them can be asked
        if str(tensor.dtype) in _FLOATS and not tensor.isfinite().all():
            yield f"{name} has values that are no finite numbers"


def _has_plain_reference(scene: Scene, instance: int) -> bool:
    return any(one.kind != "face" for one in scene.instances[instance].references)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
