"""Family `segment-anything`: Meta's package, its official `.pth` files, and our tiny ones."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import ValidationError

from imig.errors import UsageError
from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.device import mixed_precision
from imig.models.family import Checkpoint, Family
from imig.models.images import as_rgb
from imig.models.libraries import inference_mode, torch
from imig.models.protocols import SegmentedMasks
from imig.models.unloadable import unloadable_reason

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

_HUB: Final = "ybelkada/segment-anything/checkpoints"

# Width of the image encoder (`segment_anything.build_sam`) -> name in the package's registry.
_KINDS: Final = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}

# Boxes decoded together: masks are scaled up to the image's size in float32 before thresholding.
_BOXES_AT_ONCE: Final = 32


class SegmentAnything(Batched):
    """A `ProposingSegmenter`: what `SamPredictor.predict_torch` answers.

    One pass of the image encoder (in `dtype`, by autocast) serves all boxes of an image; prompt
    encoder and mask decoder are small and stay float32.
    """

    family: ClassVar[Family] = Family(
        name="segment-anything",
        tasks=("segment",),
        library="segment-anything",
        tiny=True,
        weight_files=("model.safetensors", "sam_vit_*.pth", "*.pth"),
        takes_file=True,
        keeps_float32=True,
        checkpoints=(
            Checkpoint(f"{_HUB}/sam_vit_h_4b8939.pth", 2560, "Apache-2.0"),
            Checkpoint(f"{_HUB}/sam_vit_l_0b3195.pth", 1250, "Apache-2.0"),
            Checkpoint(f"{_HUB}/sam_vit_b_01ec64.pth", 375, "Apache-2.0"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        from segment_anything.utils.transforms import ResizeLongestSide

        self._sam = load_sam(weights.files[0]).to(runtime.device)
        self._transform = ResizeLongestSide(self._sam.image_encoder.img_size)

    def segment(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """A mask for each box; see `imig.models.protocols.Segmenter`."""
        return self._segment(images, boxes, proposals=False)

    def segment_best(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """See `imig.models.protocols.ProposingSegmenter`."""
        return self._segment(images, boxes, proposals=True)

    def _segment(
        self,
        images: Sequence[Image],
        boxes: Sequence[NDArray[np.float32]],
        *,
        proposals: bool,
    ) -> list[SegmentedMasks]:
        if len(images) != len(boxes):
            raise ValueError(f"{len(images)} images but {len(boxes)} lists of boxes")
        results = [
            SegmentedMasks(np.zeros((0, one.height, one.width), np.bool_), np.zeros(0, np.float32))
            for one in images
        ]
        asked = [index for index, some in enumerate(boxes) if len(some)]
        # A CPU is faster with one: what the encoder's attention holds of several leaves the caches.
        batch_size = 1 if self._device.type == "cpu" else self._batch_size
        for start in range(0, len(asked), batch_size):
            batch = asked[start : start + batch_size]
            embeddings, sizes = self._embed([images[index] for index in batch])
            for index, embedding, size in zip(batch, embeddings, sizes, strict=True):
                image = images[index]
                results[index] = self._decode(
                    embedding,
                    boxes[index],
                    input_size=size,
                    size=(image.height, image.width),
                    proposals=proposals,
                )
        return results

    @inference_mode
    def _embed(self, images: Sequence[Image]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """(n, channels, grid, grid) float32, and each image's (height, width) in the network."""
        pixels, sizes = [], []
        for image in as_rgb(images):
            resized = torch.from_numpy(self._transform.apply_image(np.asarray(image)).copy())
            sizes.append((resized.shape[0], resized.shape[1]))
            pixels.append(self._sam.preprocess(resized.permute(2, 0, 1).to(self._device)))
        with mixed_precision(self._device, self._dtype):
            embeddings = self._sam.image_encoder(torch.stack(pixels))
        return embeddings.float(), sizes

    @inference_mode
    def _decode(
        self,
        embedding: torch.Tensor,
        boxes: NDArray[np.float32],
        *,
        input_size: tuple[int, int],
        size: tuple[int, int],
        proposals: bool,
    ) -> SegmentedMasks:
        """Masks of one image; `size` and `input_size` are (height, width).

        `proposals`: the best of the three answers that the network has for a doubtful prompt,
        instead of its single one.
        """
        scaled = self._transform.apply_boxes_torch(
            torch.as_tensor(np.asarray(boxes, np.float32), device=self._device), size
        )
        masks, scores = [], []
        for some in scaled.split(_BOXES_AT_ONCE):
            sparse, dense = self._sam.prompt_encoder(points=None, boxes=some, masks=None)
            logits, predicted = self._sam.mask_decoder(
                image_embeddings=embedding[None],
                image_pe=self._sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=proposals,
            )
            best = predicted.argmax(dim=1, keepdim=True)
            logits = logits.take_along_dim(best[:, :, None, None], dim=1)
            predicted = predicted.take_along_dim(best, dim=1)
            full = self._sam.postprocess_masks(logits, input_size, size)
            masks.append((full[:, 0] > self._sam.mask_threshold).cpu().numpy())
            scores.append(predicted[:, 0].clamp(0, 1).cpu().numpy())
        return SegmentedMasks(np.concatenate(masks), np.concatenate(scores))


def load_sam(file: Path) -> Sam:
    """An official `.pth`, or `model.safetensors` with `config.json` (`SamConfig`) beside it.

    Raises
    ------
    UsageError
        The file is neither, or damaged.
    """
    from safetensors.torch import load_file
    from segment_anything import sam_model_registry

    from imig.models.segment_anything_tiny import build_sam, read_sam_config

    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        config = file.parent / "config.json"
        if file.suffix == ".safetensors" and config.is_file():
            sam = build_sam(read_sam_config(config))
        else:
            sam = sam_model_registry[_official_kind(state)]()
        # fp16 checkpoints become float32 here: the network's own parameters are copied into.
        sam.load_state_dict(state)
    except (RuntimeError, KeyError, OSError, pickle.UnpicklingError, ValidationError) as error:
        raise UsageError(
            f"segment-anything: {file} does not load: {unloadable_reason(error)}",
            cure="official weights are sam_vit_h_4b8939.pth, sam_vit_l_0b3195.pth and "
            "sam_vit_b_01ec64.pth (see `imig models list`); a transformers checkpoint of SAM is "
            "another format",
        ) from error
    return sam.eval()


def _official_kind(state: dict[str, Any]) -> str:
    width = state["image_encoder.pos_embed"].shape[-1]
    if width not in _KINDS:
        raise KeyError(f"an image encoder of width {width} is none of {sorted(_KINDS)}")
    return _KINDS[width]
