"""Family `groundingdino`: the groundingdino-py package with its official config files and `.pth`.

`groundingdino.util.inference` is never imported: it wants supervision and draws pictures. Version
0.4.0 of the package reaches for methods of BERT that transformers 5 removed; `_TextEncoder` takes
the place of its wrapper.
"""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import groundingdino
import torch
from groundingdino.models.GroundingDINO import groundingdino as package_model
from groundingdino.util import get_tokenlizer
from PIL.Image import Image
from torch import nn
from torchvision.transforms import functional
from transformers import AutoConfig, AutoTokenizer, BertModel

from imig.errors import UsageError
from imig.models.batched import Runtime
from imig.models.device import mixed_precision
from imig.models.grounding import Detector, DetectorGrounder
from imig.models.unloadable import unloadable_reason
from imig.models.weights import HubId, ResolvedWeights, find_in_hub_cache
from imig.paths import input_path

# The transform of `groundingdino.util.inference.load_image`.
_SHORT_SIDE: Final = 800
_LONG_SIDE: Final = 1333
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)

# What the official checkpoints hold and inference does not use: the label book of the denoising
# training, a buffer that transformers no longer saves, and BERT's unused pooler.
_UNUSED_KEYS: Final = ("label_enc.", "bert.embeddings.position_ids", "bert.pooler.")

_CONFIG_FOLDER: Final = Path(groundingdino.__file__).parent / "config"


class GroundingDinoPackage(DetectorGrounder):
    """A `Grounder`. Weights stay float32; a lower dtype is used by autocast.

    The recipe's `config` names the package's config file; without it the file name of the weights
    tells Swin-T from Swin-B. BERT's tokenizer and configuration come from the config's
    `text_encoder_type`: a folder, a folder of that name beside the weights, or the hub cache.
    """

    def __init__(self, weights: ResolvedWeights, runtime: Runtime) -> None:
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

    @torch.inference_mode()
    def _forward(
        self, pixels: torch.Tensor, captions: list[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with mixed_precision(self._device, self._dtype):
            outputs = self._model(pixels.to(self._device), captions=captions)
        return outputs["pred_logits"], outputs["pred_boxes"]


class _TextEncoder(nn.Module):
    """BERT with a mask of its own for each pair of tokens; parameters as in the checkpoints."""

    def __init__(self, bert_model: BertModel) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Tokens (batch, tokens) and visibility (batch, tokens, tokens) -> last hidden state."""
        hidden = self.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )
        hidden_keys = ~attention_mask.bool()[:, None]
        bias = torch.zeros(hidden_keys.shape, dtype=hidden.dtype, device=hidden.device)
        bias.masked_fill_(hidden_keys, torch.finfo(hidden.dtype).min)
        return {"last_hidden_state": self.encoder(hidden, attention_mask=bias).last_hidden_state}


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
            cure=f"the official ones are in {_CONFIG_FOLDER}",
        ) from error
    return SimpleNamespace(**settings | {"use_checkpoint": False, "use_transformer_ckpt": False})


def build_model(config: SimpleNamespace, text_encoder: Path) -> nn.Module:
    """The package's model with random weights; `text_encoder` holds BERT's tokenizer and config."""

    def load_tokenizer(_: str) -> Any:
        return AutoTokenizer.from_pretrained(
            text_encoder, local_files_only=True, trust_remote_code=False
        )

    def build_bert(_: str) -> BertModel:
        # Random: the checkpoint holds the text encoder too. Eager attention takes our mask as is.
        settings = AutoConfig.from_pretrained(
            text_encoder, local_files_only=True, trust_remote_code=False
        )
        settings._attn_implementation = "eager"
        return BertModel(settings)

    with (
        _replaced(package_model, BertModelWarper=_TextEncoder),
        _replaced(
            get_tokenlizer,
            get_tokenlizer=load_tokenizer,
            get_pretrained_language_model=build_bert,
        ),
    ):
        model: nn.Module = package_model.build_groundingdino(config)
    return model.eval()


def preprocess(image: Image) -> torch.Tensor:
    """Short side 800 pixels, long side at most 1333, normalised, as the package does it."""
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


def _config_file(weights: ResolvedWeights) -> Path:
    if weights.config is not None:
        for path in (input_path(weights.config), _CONFIG_FOLDER / weights.config):
            if path.is_file():
                return path
        raise UsageError(
            f"groundingdino: config file {weights.config} not found",
            cure=f"a path, or the name of a file in {_CONFIG_FOLDER}",
        )
    name = weights.files[0].name.lower()
    for mark, file in (
        ("swint", "GroundingDINO_SwinT_OGC.py"),
        ("swinb", "GroundingDINO_SwinB_cfg.py"),
    ):
        if mark in name:
            return _CONFIG_FOLDER / file
    raise UsageError(
        f"groundingdino: {weights.files[0].name} does not say which config file it needs",
        cure="set the model's `config` to GroundingDINO_SwinT_OGC.py, GroundingDINO_SwinB_cfg.py "
        "or a path",
    )


def _load_state(model: nn.Module, file: Path) -> None:
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


@contextmanager
def _replaced(module: ModuleType, **attributes: object) -> Iterator[None]:
    before = {name: getattr(module, name) for name in attributes}
    for name, value in attributes.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)
