"""Family `dinov2`: image features that tell identities apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imig.models.batched import Batched, ResolvedWeights, Runtime
from imig.models.family import TRANSFORMERS_WEIGHTS, Checkpoint, Family
from imig.models.images import as_rgb, equal_batches
from imig.models.libraries import inference_mode, torch, transformers
from imig.models.pretrained import load_pretrained, load_processor, preprocess_images

# Share of a patch's cell that a mask must cover for the patch to count.
_COVERED: Final = 0.5


class DinoV2(Batched):
    """An `ImageEmbedder`."""

    family: ClassVar[Family] = Family(
        name="dinov2",
        tasks=("embed images",),
        library="transformers",
        tiny=True,
        weight_files=TRANSFORMERS_WEIGHTS,
        needs=("config.json", "preprocessor_config.json|processor_config.json"),
        checkpoints=(
            Checkpoint("facebook/dinov2-base", 346, "Apache-2.0"),
            Checkpoint("facebook/dinov2-small", 88, "Apache-2.0"),
            Checkpoint("facebook/dinov2-large", 1220, "Apache-2.0"),
            Checkpoint("facebook/dinov2-giant", 4546, "Apache-2.0"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        super().__init__(weights, runtime)
        self._model = load_pretrained(
            transformers.AutoModel,
            weights,
            model_types=("dinov2", "dinov2_with_registers"),
            device=runtime.device,
            dtype=runtime.dtype,
        )
        self._processor = load_processor(transformers.AutoImageProcessor, weights)

    def embed(
        self,
        images: Sequence[Image.Image],
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> NDArray[np.float32]:
        """(n, dimensions) float32, L2-normalised; see `imig.models.protocols.ImageEmbedder`.

        Without a mask: the class token after the final layer norm. With one: the mean of the patch
        tokens whose cell the mask covers by half or more; of a mask too thin for that, the patch it
        covers most, and of one that the processor's centre crop cut off, the patch nearest to it.
        """
        masks = [None] * len(images) if masks is None else masks
        if len(images) != len(masks):
            raise ValueError(f"{len(images)} images but {len(masks)} masks")
        for image, mask in zip(images, masks, strict=True):
            if mask is not None and mask.shape != (image.height, image.width):
                raise ValueError(
                    f"mask of {mask.shape} (height, width) for an image of {image.size} "
                    "(width, height)"
                )
        pixels = preprocess_images(self._processor, as_rgb(images))
        chosen = self._chosen_patches(masks)
        features = np.zeros((len(images), self._model.config.hidden_size), np.float32)
        for batch in equal_batches(
            [tuple(one.shape) for one in pixels], batch_size=self._batch_size
        ):
            tokens = self._tokens(torch.stack([pixels[index] for index in batch]))
            for index, some in zip(batch, tokens, strict=True):
                features[index] = self._pool(some, chosen.get(index))
        return features

    @inference_mode
    def _tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) -> (n, 1 + registers + patches, dimensions) float32 on the CPU."""
        outputs = self._model(pixel_values=pixels.to(self._device, self._dtype))
        hidden: torch.Tensor = outputs.last_hidden_state.float().cpu()
        return hidden

    def _pool(self, tokens: torch.Tensor, chosen: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        if chosen is None:
            feature = tokens[0]
        else:
            patches = tokens[1 + getattr(self._model.config, "num_register_tokens", 0) :]
            feature = patches[torch.from_numpy(chosen.reshape(-1))].mean(dim=0)
        normalised: NDArray[np.float32] = torch.nn.functional.normalize(feature, dim=0).numpy()
        return normalised

    def _chosen_patches(
        self, masks: Sequence[NDArray[np.bool_] | None]
    ) -> dict[int, NDArray[np.bool_]]:
        """For the number of each mask the patches that stand for it, (rows, columns)."""
        given = {index: mask for index, mask in enumerate(masks) if mask is not None}
        # a mask goes the image's way, as a picture of one channel
        pictures = [Image.fromarray(one.astype(np.uint8) * 255) for one in given.values()]
        geometry = preprocess_images(
            self._processor, pictures, do_normalize=False, do_rescale=False, do_convert_rgb=False
        )
        return {
            index: covered_patches(self._coverage(seen), mask)
            for (index, mask), seen in zip(given.items(), geometry, strict=True)
        }

    def _coverage(self, seen: torch.Tensor) -> NDArray[np.float32]:
        """The share of each patch's cell under a mask of (1, height, width) bytes."""
        patch = self._model.config.patch_size
        rows, columns = seen.shape[1] // patch, seen.shape[2] // patch
        seen = seen[None, :, : rows * patch, : columns * patch].float() / 255
        shares: NDArray[np.float32] = torch.nn.functional.avg_pool2d(seen, patch)[0, 0].numpy()
        return shares


def covered_patches(coverage: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which cells of `coverage` (rows, columns; shares in [0, 1]) stand for the mask.

    Never empty: without a cell covered by half it is the one covered most, or, when the mask lies
    outside of what the network saw, the one nearest to the mask's centre. A mask without a pixel
    stands for every cell.
    """
    if not mask.any():
        return np.ones(coverage.shape, np.bool_)
    chosen: NDArray[np.bool_] = coverage >= _COVERED
    if chosen.any():
        return chosen
    if coverage.max() > 0:
        chosen[np.unravel_index(int(coverage.argmax()), coverage.shape)] = True
    else:
        rows, columns = np.nonzero(mask)
        row = int(rows.mean() / mask.shape[0] * coverage.shape[0])
        column = int(columns.mean() / mask.shape[1] * coverage.shape[1])
        chosen[row, column] = True
    return chosen
