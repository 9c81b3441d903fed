"""The LoRA adapter on FLUX: where it sits, and its file in diffusers' format.

ContextGen has no new parameters; it trains a LoRA of rank 512 on the layers below (REFERENCE 3,
3.5). The file is a diffusers LoRA: `FluxTransformer2DModel.load_lora_adapter` and
`FluxPipeline.load_lora_weights` read it, and files of the released trainer load here.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig, set_peft_model_state_dict
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from imig.contextgen.safetensors_file import save_tensors
from imig.errors import DataError, UsageError

TARGETS = (
    r"x_embedder"
    r"|transformer_blocks\.\d+\.(norm1\.linear|attn\.to_[qkv]|attn\.to_out\.0|ff\.net\.2)"
    r"|single_transformer_blocks\.\d+\.(norm\.linear|proj_mlp|proj_out|attn\.to_[qkv])"
)
"""The layers with LoRA, 343 in FLUX (released trainer)."""
PREFIX = "transformer."
"""Of the keys in a diffusers LoRA file."""
DIFFUSERS_METADATA = "lora_adapter_metadata"
"""Where diffusers looks for rank and alpha; without it alpha would become the rank."""
IMIG_METADATA = "imig"
"""Our own entry in the file's metadata: JSON with the settings of the training."""
DEFAULT = "default"
_PARTS = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[\w-]+)?\.weight$")


def add_adapter(
    transformer: FluxTransformer2DModel,
    *,
    rank: int,
    alpha: float,
    seed: int,
    name: str = DEFAULT,
) -> None:
    """Freezes the transformer and adds a trainable adapter in float32.

    A is drawn from a normal distribution (peft's "gaussian"), B is zero: at first the adapter
    changes nothing. `seed` decides the draw and leaves PyTorch's generator as it was.
    """
    transformer.requires_grad_(False)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=TARGETS
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=name)
    for parameter in adapter_parameters(transformer, name).values():
        parameter.data = parameter.data.float()


def adapter_parameters(transformer: nn.Module, name: str = DEFAULT) -> dict[str, nn.Parameter]:
    """The adapter's parameters by their names in the transformer, in order."""
    part = re.compile(rf"\.lora_[AB]\.{re.escape(name)}\.")
    return {key: one for key, one in transformer.named_parameters() if part.search(key)}


@contextmanager
def adapter_off(transformer: FluxTransformer2DModel) -> Iterator[None]:
    """The base model alone, for as long as the context lasts."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()


@contextmanager
def adapter_used(
    transformer: FluxTransformer2DModel, name: str, *, instead_of: str = DEFAULT
) -> Iterator[None]:
    """Another, frozen adapter in the place of the one in training."""
    _activate(transformer, name)
    try:
        yield
    finally:
        _activate(transformer, instead_of)


def _activate(transformer: nn.Module, name: str) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            # peft's set_adapter would also decide which adapter is trained
            module._active_adapter = name


def adapter_state(transformer: FluxTransformer2DModel, name: str = DEFAULT) -> dict[str, Tensor]:
    """The adapter's tensors under diffusers' names, without the prefix."""
    state: dict[str, Tensor] = get_peft_model_state_dict(transformer, adapter_name=name)
    return state


def save_adapter(
    transformer: FluxTransformer2DModel,
    path: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    name: str = DEFAULT,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes the adapter as a diffusers LoRA file, aside first and then renamed.

    Equal adapters give equal bytes.

    Parameters
    ----------
    settings:
        JSON values that `read_settings` gives back (which attention the adapter was trained with).
    state:
        In the place of the transformer's own tensors, e.g. gathered from several processes, or a
        moving average; named as `adapter_state` names them.
    dtype:
        Of the file; None: as trained, float32.
    """
    tensors = adapter_state(transformer, name) if state is None else state
    kept = {PREFIX + key: value.detach().to("cpu", dtype) for key, value in tensors.items()}
    config: LoraConfig = transformer.peft_config[name]
    described = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in config.to_dict().items()
    }
    metadata = {
        "format": "pt",
        DIFFUSERS_METADATA: json.dumps(
            {PREFIX + key: value for key, value in described.items()}, sort_keys=True
        ),
        IMIG_METADATA: json.dumps(dict(settings or {}), sort_keys=True),
    }
    save_tensors(kept, path, metadata=metadata)


def read_settings(path: Path) -> dict[str, Any]:
    """What `save_adapter` was given as `settings`; empty for files of other tools.

    Raises UsageError when there is no such file, DataError when it is damaged.
    """
    with _open(path) as file:
        return _json_object(file.metadata() or {}, IMIG_METADATA, path)


def load_adapter(
    transformer: FluxTransformer2DModel,
    path: Path,
    *,
    name: str = DEFAULT,
    trainable: bool,
) -> None:
    """Adds the adapter of a file: ours, diffusers', peft's, or the released trainer's.

    Keys may or may not have the prefixes `transformer.` or `base_model.model.` and an adapter's
    name; ranks may differ between layers. Rank and alpha come from the file's metadata, else alpha
    is the rank, as diffusers has it. float32, whatever the file has. A second adapter changes
    neither which one is used nor which is trained (see `adapter_used`).

    Raises
    ------
    UsageError
        There is no such file, or its layers are not those of this transformer.
    DataError
        The file is damaged.
    """
    with _open(path) as file:
        metadata = file.metadata() or {}
        state = {_plain_key(key, path): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    _check_pairs(state, path)
    _check_layers(transformer, state, path)
    ranks = {
        key.removesuffix(".lora_A.weight"): len(value)
        for key, value in state.items()
        if key.endswith(".lora_A.weight")
    }
    rank = max(ranks.values())
    described = _json_object(metadata, DIFFUSERS_METADATA, path)
    alpha = described.get(PREFIX + "lora_alpha", described.get("lora_alpha", rank))
    if not isinstance(alpha, int | float):
        raise DataError(f"{path}: its metadata has lora_alpha {alpha!r}, which is no number")
    pattern = {module: one for module, one in ranks.items() if one != rank}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        rank_pattern=pattern,
        # alpha / rank is a layer's scale; without a word of the file every layer has scale 1
        alpha_pattern={} if described else pattern,
        target_modules=sorted(ranks),
        init_lora_weights=False,
    )
    others = dict.fromkeys(getattr(transformer, "peft_config", {}))
    trained = {
        key
        for other in others
        for key, one in adapter_parameters(transformer, other).items()
        if one.requires_grad
    }
    with warnings.catch_warnings():
        # of having a second adapter, which is what we want
        warnings.simplefilter("ignore", UserWarning)
        transformer.add_adapter(config, adapter_name=name)
    for parameter in adapter_parameters(transformer, name).values():
        parameter.data = parameter.data.float()
    set_peft_model_state_dict(transformer, state, adapter_name=name)
    if trainable:
        trained |= set(adapter_parameters(transformer, name))
    # peft makes the newest adapter the one that is used and trained
    for key, parameter in transformer.named_parameters():
        parameter.requires_grad_(key in trained)
    if others:
        _activate(transformer, next(iter(others)))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise UsageError(
            f"there is no adapter file {path}",
            cure="`imig train` writes adapter.safetensors into its run folder",
        )
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise DataError(
            f"{path} is not a whole safetensors file: {error}",
            cure="copy it again, or export it again from a checkpoint of its run",
        ) from error


def _json_object(metadata: Mapping[str, str], name: str, path: Path) -> dict[str, Any]:
    """An entry of the file's metadata; empty where there is none."""
    text = metadata.get(name, "{}")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise DataError(
            f"{path}: its metadata {name!r} is no JSON object: {text[:80]!r}",
            cure="export the adapter again from a checkpoint of its run",
        )
    return value


def _plain_key(key: str, path: Path) -> str:
    """`module.lora_A.weight`, whatever stands around it in the file."""
    plain = key.removeprefix("base_model.model.").removeprefix(PREFIX)
    match = _PARTS.match(plain)
    if match is None:
        raise UsageError(
            f"{path}: {key!r} is no LoRA weight of a FLUX transformer",
            cure="imig reads diffusers' and peft's LoRA files (`..lora_A.weight`)",
        )
    return f"{match['module']}.lora_{match['side']}.weight"


def _check_pairs(state: Mapping[str, Tensor], path: Path) -> None:
    """Every layer has its A and its B, and they fit each other."""
    if not state:
        raise DataError(f"{path} has no weights in it", cure="export it again from its run")
    for layer in {key.rsplit(".lora_", 1)[0] for key in state}:
        a, b = (state.get(f"{layer}.lora_{side}.weight") for side in "AB")
        if a is None or b is None:
            raise DataError(
                f"{path}: layer {layer!r} has lora_A or lora_B, and needs both",
                cure="export it again from its run",
            )
        if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
            raise DataError(
                f"{path}: layer {layer!r} has lora_A {tuple(a.shape)} and lora_B "
                f"{tuple(b.shape)}; expected (rank, inputs) and (outputs, rank)",
                cure="export it again from its run",
            )


def _check_layers(transformer: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    modules = dict(transformer.named_modules())
    for key, value in state.items():
        name, side = key.removesuffix(".weight").rsplit(".lora_", 1)
        layer = modules.get(name)
        base = getattr(layer, "base_layer", layer)
        if not isinstance(base, nn.Linear):
            raise UsageError(
                f"{path}: this transformer has no linear layer {name!r}",
                cure="the adapter belongs to a model with other blocks: give its own --weights",
            )
        wanted = base.in_features if side == "A" else base.out_features
        if value.shape[1 if side == "A" else 0] != wanted:
            raise UsageError(
                f"{path}: {key} is {tuple(value.shape)}, the layer's width is {wanted}",
                cure="the adapter belongs to a model of another size: give its own --weights",
            )
