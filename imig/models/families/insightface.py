"""Family `insightface`: faces by insightface's model packs, from a local folder, never downloaded.

The published packs (buffalo_l, antelopev2, ...) are for non-commercial research only; a recipe
must say that its user has accepted that (`faces.accept_licence`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import ResolvedWeights, Runtime
from imig.models.family import Checkpoint, Family
from imig.models.images import as_rgb
from imig.models.protocols import DetectedFace
from imig.schema import Box

DETECTION_SIZE: Final = (640, 640)
"""(width, height) to which pictures are brought for the detector: insightface's own default."""
MIN_DETECTION_SCORE: Final = 0.5
"""insightface's own default."""


class InsightFace:
    """A `FaceAnalyser`: detector with 5 landmarks and recognition network of one pack."""

    family: ClassVar[Family] = Family(
        name="insightface",
        tasks=("find faces",),
        library="insightface",
        layout="folder",
        weight_files=("*.onnx",),
        keeps_float32=True,
        packages=("insightface", "onnxruntime"),
        extra="faces-insightface",
        home="~/.insightface/models",
        terms="insightface's published model packs are for non-commercial research purposes only",
        get="download a model pack (https://github.com/deepinsight/insightface#license, "
        "non-commercial research only), for example buffalo_l.zip, unpack it into "
        "~/.insightface/models/buffalo_l",
        checkpoints=(
            Checkpoint("buffalo_l", 326, "non-commercial research"),
            Checkpoint("buffalo_s", 159, "non-commercial research"),
            Checkpoint("antelopev2", 407, "non-commercial research"),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        # The pack's networks are stored in one number format and run a picture at a time: only the
        # device is a choice.
        self.name = weights.name
        self._analysis = _load(weights, _provider(runtime))

    def find_faces(self, images: Sequence[Image]) -> list[list[DetectedFace]]:
        """The faces of each image, largest first."""
        return [self._find(image) for image in as_rgb(images)]

    def _find(self, image: Image) -> list[DetectedFace]:
        pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])  # BGR, as OpenCV has it
        faces = [
            DetectedFace(
                box=box,
                score=round(min(max(float(face.det_score), 0.0), 1.0), 4),
                embedding=_normalised(face.embedding),
                landmarks=np.asarray(face.kps, np.float32),
            )
            for face in self._analysis.get(pixels)
            if (box := _clipped(face.bbox, size=image.size)) is not None
        ]
        return sorted(faces, key=lambda face: (-_area(face.box), face.box))


def _provider(runtime: Runtime) -> str | tuple[str, dict[str, int]]:
    """What onnxruntime runs the networks with, and on which GPU.

    Its package of that name has no CUDA, and is what the extra installs (onnxruntime-gpu, which has
    it, is not for every machine): where the recipe leaves the choice, the CPU it is.
    """
    import onnxruntime

    device, there = runtime.device, onnxruntime.get_available_providers()
    if device.type == "cuda" and "CUDAExecutionProvider" in there:
        return ("CUDAExecutionProvider", {"device_id": device.index or 0})
    if device.type == "cuda" and not runtime.automatic:
        raise UsageError(
            f"insightface: this machine's onnxruntime cannot run on {device}",
            cure="set `device: auto` or `cpu` for this model, or pip install onnxruntime-gpu",
        )
    return "CPUExecutionProvider"


def _load(weights: ResolvedWeights, provider: str | tuple[str, dict[str, int]]) -> Any:
    import onnxruntime
    from insightface.app import FaceAnalysis

    options = onnxruntime.SessionOptions()
    # Ray sets this for every worker; onnxruntime itself would take all cores.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    try:
        # An existing folder is taken as it is; only a bare name would be downloaded.
        analysis = FaceAnalysis(
            name=str(weights.path.resolve()),
            allowed_modules=["detection", "recognition"],
            providers=[provider],
            sess_options=options,
        )
    # onnxruntime raises classes of its own below Exception; insightface asserts.
    except Exception as error:
        raise _unfit(weights, str(error) or "no detector in it") from error
    detector, recognition = (analysis.models.get(key) for key in ("detection", "recognition"))
    if recognition is None or not getattr(detector, "use_kps", False):
        raise _unfit(weights, "a detector with landmarks and a recognition network are needed")
    analysis.prepare(ctx_id=0, det_size=DETECTION_SIZE, det_thresh=MIN_DETECTION_SCORE)
    return analysis


def _unfit(weights: ResolvedWeights, reason: str) -> UsageError:
    return UsageError(
        f"insightface: the model pack {weights.path} does not load: {reason}",
        cure="unpack the pack's zip file anew, for example buffalo_l.zip",
    )


def _normalised(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(embedding / max(float(np.linalg.norm(embedding)), 1e-12), np.float32)


def _clipped(bounds: NDArray[np.float32], *, size: tuple[int, int]) -> Box | None:
    """Rounded outwards and clipped to the image; None where nothing is left."""
    x1, y1 = max(math.floor(bounds[0]), 0), max(math.floor(bounds[1]), 0)
    x2, y2 = min(math.ceil(bounds[2]), size[0]), min(math.ceil(bounds[3]), size[1])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
