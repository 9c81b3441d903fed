"""Family `groundingdino`: the groundingdino-py package with its official config files and `.pth`.

`groundingdino.util.inference` is never imported: it wants supervision and draws pictures. The
network itself is built in `imig.models.groundingdino_model`.
"""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from PIL.Image import Image

from imig.errors import UsageError
from imig.models.batched import ResolvedWeights, Runtime
from imig.models.device import mixed_precision
from imig.models.family import Checkpoint, Family
from imig.models.grounding import Detector, DetectorGrounder
from imig.models.hub import HubId, find_in_hub_cache
from imig.models.libraries import inference_mode, torch
from imig.models.unloadable import unloadable_reason
from imig.paths import input_path

# The transform of `groundingdino.util.inference.load_image`.
_SHORT_SIDE: Final = 800
_LONG_SIDE: Final = 1333
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)

# What the official checkpoints hold and inference does not use: the label book of the denoising
# training, a buffer that transformers no longer saves, and BERT's unused pooler.
_UNUSED_KEYS: Final = ("label_enc.", "bert.embeddings.position_ids", "bert.pooler.")


class GroundingDinoPackage(DetectorGrounder):
    """A `Grounder`. Weights stay float32; a lower dtype is used by autocast.

    The recipe's `config` names the package's config file; without it the file name of the weights
    tells Swin-T from Swin-B. BERT's tokenizer and configuration come from the config's
    `text_encoder_type`: a folder, a folder of that name beside the weights, or the hub cache.
    """

    family: ClassVar[Family] = Family(
        name="groundingdino",
        tasks=("ground",),
        library="groundingdino-py",
        weight_files=("groundingdino*.pth", "*.pth"),
        takes_file=True,
        keeps_float32=True,
        checkpoints=(
            Checkpoint(
                "ShilongLiu/GroundingDINO/groundingdino_swint_ogc.pth",
                695,
                "Apache-2.0",
                companions=("google-bert/bert-base-uncased",),
            ),
            Checkpoint(
                "ShilongLiu/GroundingDINO/groundingdino_swinb_cogcoor.pth",
                940,
                "Apache-2.0",
                companions=("google-bert/bert-base-uncased",),
            ),
        ),
    )

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
        from imig.models.groundingdino_model import build_model

        super().__init__(weights, runtime)
        file = weights.files[0]
        config = read_config(_config_file(weights))
        text_encoder = find_text_encoder(config.text_encoder_type, beside=file.parent)
        self._model = build_model(config, text_encoder)
        _load_state(self._model, file)
        self._model.to(runtime.device).eval()
        self._detector = Detector(
            tokenizer=self._model.tokenizer,
            max_tokens=config.max_text_len,
            preprocess=preprocess,
            forward=self._forward,
        )

    @inference_mode
    def _forward(
        self, pixels: torch.Tensor, captions: list[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with mixed_precision(self._device, self._dtype):
            outputs = self._model(pixels.to(self._device), captions=captions)
        return outputs["pred_logits"], outputs["pred_boxes"]


def read_config(path: Path) -> SimpleNamespace:
    """The settings of one of the package's config files.

    They are Python files of plain assignments; they are parsed, never executed. Activation
    checkpointing is switched off: it serves training only.

    Raises
    ------
    UsageError
        The file assigns something other than literals.
    """
    settings: dict[str, Any] = {}
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                raise ValueError(f"line {node.lineno} is no assignment")
            settings[node.targets[0].id] = ast.literal_eval(node.value)
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"{path} is not a config file of groundingdino: {error}",
            cure=f"the official ones are in {_config_folder()}",
        ) from error
    return SimpleNamespace(**settings | {"use_checkpoint": False, "use_transformer_ckpt": False})


def preprocess(image: Image) -> torch.Tensor:
    """Short side 800 pixels, long side at most 1333, normalised, as the package does it."""
    from torchvision.transforms import functional

    short, long = sorted(image.size)
    side = _SHORT_SIDE
    if long / short * side > _LONG_SIDE:
        side = round(_LONG_SIDE * short / long)
    width, height = image.size
    # The package rounds down, and leaves an image alone whose short side fits already.
    size = (side, side * height // width) if width < height else (side * width // height, side)
    resized = image if short == side else functional.resize(image, [size[1], size[0]])
    pixels: torch.Tensor = functional.normalize(
        functional.to_tensor(resized), list(_MEAN), list(_STD)
    )
    return pixels


def find_text_encoder(text_encoder_type: str, *, beside: Path) -> Path:
    """The folder with BERT's `config.json` and tokenizer.

    Raises
    ------
    UsageError
        It is neither a folder, nor beside the weights, nor in the hub cache.
    """
    folders = [input_path(text_encoder_type), beside / Path(text_encoder_type).name]
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    owner = "google-bert/" if "/" not in text_encoder_type else ""
    cached = find_in_hub_cache(HubId(owner + text_encoder_type, None, None))
    if cached is not None:
        return cached[0]
    raise UsageError(
        f"groundingdino: no tokenizer of {text_encoder_type}; looked for "
        f"{folders[0].absolute()}, {folders[1]} and {owner}{text_encoder_type} in the hub cache",
        cure="`imig models pull groundingdino` fetches it too; or put its config.json, vocab.txt "
        "and tokenizer files into a folder of that name beside the weights",
    )


def _config_folder() -> Path:
    import groundingdino

    return Path(groundingdino.__file__).parent / "config"


def _config_file(weights: ResolvedWeights) -> Path:
    if weights.config is not None:
        for path in (input_path(weights.config), _config_folder() / weights.config):
            if path.is_file():
                return path
        raise UsageError(
            f"groundingdino: config file {weights.config} not found",
            cure=f"a path, or the name of a file in {_config_folder()}",
        )
    name = weights.files[0].name.lower()
    for mark, file in (
        ("swint", "GroundingDINO_SwinT_OGC.py"),
        ("swinb", "GroundingDINO_SwinB_cfg.py"),
    ):
        if mark in name:
            return _config_folder() / file
    raise UsageError(
        f"groundingdino: {weights.files[0].name} does not say which config file it needs",
        cure="set the model's `config` to GroundingDINO_SwinT_OGC.py, GroundingDINO_SwinB_cfg.py "
        "or a path",
    )


def _load_state(model: torch.nn.Module, file: Path) -> None:
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        state = checkpoint.get("model", checkpoint)
        state = {key.removeprefix("module."): value for key, value in state.items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
    except (RuntimeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise UsageError(
            f"groundingdino: {file} does not load: {unloadable_reason(error)}",
            cure="is it the official checkpoint, whole, and does `config` fit it?",
        ) from error
    foreign = [key for key in unexpected if not key.startswith(_UNUSED_KEYS)]
    if missing or foreign:
        raise UsageError(
            f"groundingdino: {file} does not fit its config: {len(missing)} weights missing, "
            f"{len(foreign)} unknown, for example {[*missing, *foreign][0]}",
            cure="set the model's `config` to the config file of this checkpoint",
        )
