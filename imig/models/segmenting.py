"""What SAM 2 and the tracker of SAM 3 share: masks for boxes, as transformers has such models."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.models.batched import Batched
from imig.models.device import mixed_precision
from imig.models.family import Family
from imig.models.images import as_rgb
from imig.models.libraries import inference_mode, torch
from imig.models.protocols import SegmentedMasks

# Boxes decoded together: masks are scaled up to the image's size in float32 before thresholding.
_BOXES_AT_ONCE: Final = 32


class BoxSegmenter(Batched):
    """A `Segmenter` on a model that the family loads; one image embedding serves all boxes."""

    family: ClassVar[Family]
    _mask_model: Any
    """`Sam2Model`, or another with its methods."""
    _mask_processor: Any
    """The one that belongs to it."""

    def segment(
        self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]
    ) -> list[SegmentedMasks]:
        """A mask for each box; see `imig.models.protocols.Segmenter`."""
        if len(images) != len(boxes):
            raise ValueError(f"{len(images)} images but {len(boxes)} lists of boxes")
        results = [
            SegmentedMasks(np.zeros((0, one.height, one.width), np.bool_), np.zeros(0, np.float32))
            for one in images
        ]
        asked = [index for index, some in enumerate(boxes) if len(some)]
        for start in range(0, len(asked), self._batch_size):
            batch = asked[start : start + self._batch_size]
            embeddings = self._embed([images[index] for index in batch])
            for place, index in enumerate(batch):
                results[index] = self._decode(
                    [level[place : place + 1] for level in embeddings], images[index], boxes[index]
                )
        return results

    @inference_mode
    def _embed(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """The feature pyramid: one (n, channels, height, width) a level."""
        pixels = self._mask_processor(images=as_rgb(images), return_tensors="pt")["pixel_values"]
        with self._precision():
            levels: list[torch.Tensor] = self._mask_model.get_image_embeddings(
                pixels.to(self._device, self._mask_model.dtype)
            )
        return levels

    @inference_mode
    def _decode(
        self, embeddings: list[torch.Tensor], image: Image, boxes: NDArray[np.float32]
    ) -> SegmentedMasks:
        size = (image.height, image.width)
        # In float32 whatever the weights are: bfloat16 has no pixel between 512 and 516.
        # transformers (5.23) itself converts what it made of them, shares of the image.
        scaled = self._mask_processor(
            input_boxes=[np.asarray(boxes, np.float32).tolist()],
            original_sizes=[list(size)],
            return_tensors="pt",
        )["input_boxes"].to(self._device, torch.float32)
        masks, scores = [], []
        for some in scaled.split(_BOXES_AT_ONCE, dim=1):
            with self._precision():
                outputs = self._mask_model(
                    image_embeddings=embeddings, input_boxes=some, multimask_output=False
                )
            full = self._mask_processor.post_process_masks(
                outputs.pred_masks.float().cpu(), [list(size)], binarize=True
            )[0]
            masks.append(full[:, 0].numpy())
            scores.append(outputs.iou_scores[0, :, 0].float().clamp(0, 1).cpu().numpy())
        return SegmentedMasks(np.concatenate(masks), np.concatenate(scores))

    def _precision(self) -> AbstractContextManager[object]:
        """Autocast to the wanted number format, for a family that keeps float32 weights."""
        return mixed_precision(
            self._device, self._dtype if self.family.keeps_float32 else torch.float32
        )
