"""Pictures become latents: in the right order, with the right tokens valid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.contextgen_folder import TEXT_WIDTH, write_contextgen_folder

from imig.contextgen.components import LatentCodec, TextEncoders
from imig.contextgen.encode import encode_pictures, valid_tokens
from imig.contextgen.sample import EncodedSample, PictureSample, ReferencePicture
from imig.errors import DataError

Parts = tuple[TextEncoders, LatentCodec]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder: Path = write_contextgen_folder(tmp_path_factory.mktemp("encode") / "flux")
    return (
        TextEncoders.load(folder, torch.float32, "cpu"),
        LatentCodec.load(folder, torch.float32, "cpu"),
    )


def noise(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(generator: np.random.Generator, height: int, width: int) -> ReferencePicture:
    mask = np.zeros((height, width), dtype=bool)
    mask[:17, 2] = True
    box = (3.0, 4.0, 30.0, 40.0)
    return ReferencePicture(noise(generator, height, width), mask, box, name="a red ball")


def picture_sample(seed: int, *, target: bool) -> PictureSample:
    """Layout 64 x 48, references of which one is as large as the layout."""
    generator = np.random.default_rng(seed)
    return PictureSample(
        id=f"sample-{seed}",
        caption=("a red ball", "two blue cups and a ball", "")[seed],
        layout=noise(generator, 48, 64),
        references=(reference(generator, 32, 48), reference(generator, 48, 64)),
        target=noise(generator, 48, 64) if target else None,
    )


def test_each_picture_has_its_own_latents(parts: Parts) -> None:
    text, codec = parts
    samples = [picture_sample(seed, target=seed != 1) for seed in range(3)]
    encoded = encode_pictures(samples, text=text, codec=codec)
    assert [one.id for one in encoded] == ["sample-0", "sample-1", "sample-2"]
    for sample, one in zip(samples, encoded, strict=True):
        assert one.grid == (3, 4)
        pairs = [(sample.layout, one.layout)]
        if sample.target is None:
            assert one.target is None
        else:
            assert one.target is not None
            pairs.append((sample.target, one.target))
        pairs += [
            (before.image, after.latents)
            for before, after in zip(sample.references, one.references, strict=True)
        ]
        for image, latents in pairs:
            assert latents.dtype == torch.float32
            # Alone, the picture has the same latents: no mix-up, no influence of batch mates.
            [alone] = codec.encode(torch.from_numpy(image[None]))
            torch.testing.assert_close(latents, alone, atol=1e-5, rtol=1e-5)
        [caption] = text.encode([sample.caption])
        torch.testing.assert_close(one.text.tokens, caption.tokens)
        torch.testing.assert_close(one.text.pooled, caption.pooled)
        assert one.text.tokens.shape[1] == TEXT_WIDTH
        assert [tuple(reference.valid.shape) for reference in one.references] == [(2, 3), (3, 4)]
        assert one.references[0].box == (3.0, 4.0, 30.0, 40.0)


def test_a_token_is_valid_with_any_pixel_of_the_subject() -> None:
    mask = np.zeros((32, 48), dtype=bool)
    mask[15, 16] = mask[31, 47] = True
    expected = [[False, True, False], [False, False, True]]
    np.testing.assert_array_equal(valid_tokens(mask, side=16), expected)


def test_valid_tokens_follow_the_mask(parts: Parts) -> None:
    encoded = encode_one(picture_sample(0, target=False), parts)
    # The mask is the third column down to row 16: the first column of two rows of tokens.
    assert encoded.references[1].valid.tolist() == [
        [True, False, False, False],
        [True, False, False, False],
        [False, False, False, False],
    ]


def test_an_empty_mask_is_named(parts: Parts) -> None:
    sample = picture_sample(0, target=False)
    first, second = sample.references
    empty = replace(second, mask=np.zeros_like(second.mask))
    with pytest.raises(DataError, match=r"sample-0: the mask of reference 1 \(a red ball\)"):
        encode_one(replace(sample, references=(first, empty)), parts)


def test_sizes_that_do_not_fit_are_named(parts: Parts) -> None:
    sample = picture_sample(0, target=True)
    assert sample.target is not None
    first, second = sample.references
    for wrong, message in (
        (replace(sample, target=sample.target[:32]), "its target is 64 x 32, its layout 64 x 48"),
        (
            replace(sample, references=(first, replace(second, mask=second.mask[:32]))),
            r"reference 1 \(a red ball\) is 64 x 48, its mask 64 x 32",
        ),
        (
            replace(sample, layout=sample.layout[:40], target=None),
            "layout is 64 x 40, and the sides must be multiples of 16",
        ),
    ):
        with pytest.raises(DataError, match=message):
            encode_one(wrong, parts)


def encode_one(sample: PictureSample, parts: Parts) -> EncodedSample:
    text, codec = parts
    [encoded] = encode_pictures([sample], text=text, codec=codec)
    return encoded
