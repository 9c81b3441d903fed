"""The scale of an adapter's layers, as the file's metadata say it, and PEFT's configuration for it.

A layer's output grows by alpha / rank (`use_rslora`: alpha / sqrt(rank)) times `B A x`. Rank and
alpha stand in diffusers' entry of the metadata, in PEFT's `adapter_config.json`, in entries of
their own, or in tensors `.alpha`; where nothing says alpha it is the rank, as diffusers has it.
Fields that a `LoraConfig` has beside these either change nothing once weights are loaded, or are
refused by name: an adapter that would draw other pictures than it was trained for is none.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from peft import LoraConfig
from peft.utils.other import get_pattern_key

from imig.contextgen.adapter_file import PEFT_CONFIG, AdapterFile, read_json_object
from imig.contextgen.adapter_keys import LoraLayer
from imig.errors import DataError, UsageError

PREFIX: Final = "transformer."
"""Of the keys in a diffusers LoRA file."""
DIFFUSERS_METADATA: Final = "lora_adapter_metadata"
"""Where diffusers looks for rank and alpha; without it alpha would become the rank."""

_PEFT_DEFAULT: Final = 8
"""Of `r` and of `lora_alpha`, in a `LoraConfig` that says nothing of them."""
SCALE_FIELDS: Final = {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora"}
"""Of a `LoraConfig`: those that decide the scale."""
_NO_EFFECT: Final = {
    # which layers have weights is seen in the file
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    # of the training, or of the beginning of it
    *("lora_dropout", "eva_config", "corda_config", "loftq_config", "lora_ga_config"),
    *("inference_mode", "runtime_config", "megatron_config", "megatron_core", "velora_config"),
    # about the file
    *("task_type", "auto_mapping", "base_model_name_or_path", "revision", "peft_version"),
    *("adapter_name", "ensure_weight_tying", "qalora_group_size"),
    # of layers that are transposed, which FLUX has none of: PEFT ignores it too
    "fan_in_fan_out",
}
_HARMLESS_INIT: Final = ("true", "gaussian", "eva", "orthogonal", "mica")
"""Beginnings of A and B alone; the base weights stay as they are."""
_CHANGES_BASE: Final = ("pissa", "olora", "corda", "loftq", "lora_ga")
_NEUTRAL: Final[tuple[Any, ...]] = (None, False, [], {}, "")
_MERGE: Final = "merge it into base weights and give those as --weights"


@dataclass(frozen=True)
class AdapterScale:
    """Rank and alpha of every layer: those of most layers, and the exceptions."""

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    """By layer, all of them."""
    alphas: Mapping[str, float]
    rslora: bool

    def __str__(self) -> str:
        """In words, for the record of a run."""
        words = f"rank {self.rank}, alpha {self.alpha:g}"
        if self.rslora:
            words += f" with use_rslora (scale {self.alpha / math.sqrt(self.rank):.4g})"
        others = sum(
            rank != self.rank or self.alphas[name] != self.alpha
            for name, rank in self.ranks.items()
        )
        return f"{words}; {others} of {len(self.ranks)} layers have others" if others else words

    def factor(self, layer: str) -> float:
        """What the layer's product `B A x` (and its bias) is multiplied with."""
        rank = self.ranks[layer]
        return self.alphas[layer] / (math.sqrt(rank) if self.rslora else rank)

    def to_peft(self, *, targets: str, bias: bool) -> LoraConfig:
        """PEFT's configuration of an adapter with these scales, for weights that are loaded.

        `targets` is a regular expression for all the layers' names.
        """
        # Anchored: without `^` a pattern `proj_out` is one of every block's `proj_out` too.
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            rank_pattern={f"^{name}": one for name, one in self.ranks.items() if one != self.rank},
            alpha_pattern={
                f"^{name}": one for name, one in self.alphas.items() if one != self.alpha
            },
            use_rslora=self.rslora,
            target_modules=targets,
            lora_bias=bias,
            init_lora_weights=False,
        )


def find_scale(file: AdapterFile, layers: Mapping[str, LoraLayer]) -> AdapterScale:
    """The scale of each of the file's layers.

    Raises
    ------
    UsageError
        The metadata say something that imig does not apply; names it.
    DataError
        They contradict the weights, or each other, or are not what they should be.
    """
    said = _described(file)
    _refuse_what_is_not_applied(said, file)
    if said.get("lora_bias") is False and any(one.bias is not None for one in layers.values()):
        raise DataError(
            f"{file.path} has biases, and its metadata say lora_bias false",
            cure="export it again from its run",
        )
    ranks = {name: one.rank for name, one in layers.items()}
    _check_ranks(said, layers, file)
    alphas = _alphas(said, layers, file)
    usual = Counter(ranks.values())
    rank = said.get("r") or max(usual, key=lambda one: (usual[one], one))
    alpha = said.get("lora_alpha")
    if alpha is None:
        often = Counter(alphas.values())
        alpha = max(often, key=lambda one: (often[one], one))
    return AdapterScale(
        rank=rank,
        alpha=alpha,
        ranks=ranks,
        alphas=alphas,
        rslora=bool(said.get("use_rslora", False)),
    )


def _described(file: AdapterFile) -> dict[str, Any]:
    """The fields of a `LoraConfig` that the file says, from wherever it says them."""
    places: list[tuple[str, dict[str, Any]]] = []
    if DIFFUSERS_METADATA in file.header:
        where = f"its metadata {DIFFUSERS_METADATA!r}"
        text = file.header[DIFFUSERS_METADATA]
        entry = read_json_object(text, where=f"{file.path}: {where}")
        places.append((where, _of_transformer(entry)))
    if file.peft is not None:
        places.append((PEFT_CONFIG, dict(file.peft)))
    places.append(("its metadata", _bare_entries(file.header)))
    said: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, fields in places:
        for name, value in fields.items():
            if name in SCALE_FIELDS:
                value = _checked(name, value, file)
            if name in said and said[name] != value and name in SCALE_FIELDS:
                raise DataError(
                    f"{file.path}: {name} is {said[name]!r} in {origin[name]}, and {value!r} in "
                    f"{where}",
                    cure="export it again from its run",
                )
            said.setdefault(name, value)
            origin.setdefault(name, where)
    return {name: value for name, value in said.items() if value is not None}


def _of_transformer(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the transformer's configuration, among those of text encoders.

    With the prefix as the pipelines of diffusers write them, bare as its models do.
    """
    prefixed = {key: value for key, value in entry.items() if key.startswith(PREFIX)}
    if prefixed:
        bare = {key: value for key, value in entry.items() if key in SCALE_FIELDS}
        return bare | {key.removeprefix(PREFIX): value for key, value in prefixed.items()}
    return {key: value for key, value in entry.items() if not key.startswith("text_encoder")}


def _bare_entries(header: Mapping[str, str]) -> dict[str, Any]:
    """`lora_alpha` and the like as entries of their own, whose values are texts."""
    found = {}
    for key, text in header.items():
        name = key.removeprefix(PREFIX)
        if name in SCALE_FIELDS:
            try:
                found[name] = json.loads(text)
            except (ValueError, RecursionError):
                found[name] = {"True": True, "False": False, "None": None}.get(text, text)
    # Ranks alone say nothing that the weights do not.
    return found if {"lora_alpha", "alpha_pattern", "use_rslora"} & set(found) else {}


def _checked(name: str, value: Any, file: AdapterFile) -> Any:
    """A field that decides the scale, of the right kind."""
    if value is None:
        return None
    if name == "use_rslora":
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false", file)
    elif name in ("r", "lora_alpha"):
        _check_number(name, value, file, whole=name == "r")
    else:
        if not isinstance(value, dict):
            raise _wrong(name, value, "a mapping of layers to numbers", file)
        for key, one in value.items():
            _check_number(f"{name}[{key!r}]", one, file, whole=name == "rank_pattern")
            try:
                re.compile(rf"(.*\.)?({key})$")
            except (re.error, OverflowError, RecursionError) as error:
                raise _wrong(name, key, "names of layers or regular expressions", file) from error
    return value


def _check_number(name: str, value: Any, file: AdapterFile, *, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise _wrong(name, value, "no whole number" if whole else "no number", file)
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite or (whole and value < 1):
        raise _wrong(name, value, "no rank" if whole else "no finite number", file)


def _wrong(name: str, value: Any, expected: str, file: AdapterFile) -> DataError:
    what = f"which is {expected}" if expected.startswith("no ") else f"and not {expected}"
    return DataError(
        f"{file.path}: its metadata has {name} {_short(value)}, {what}",
        cure="export the adapter again from a checkpoint of its run",
    )


def _refuse_what_is_not_applied(said: Mapping[str, Any], file: AdapterFile) -> None:
    for name, value in said.items():
        cause, cure = _fault(name, value)
        if cause:
            raise UsageError(
                f"{file.path}: its metadata say {name}: {_short(value)}; {cause}", cure=cure
            )


def _fault(name: str, value: Any) -> tuple[str, str]:
    """Why a field of the configuration cannot be honoured, and what to do; empty where it can."""
    if name in SCALE_FIELDS or name in _NO_EFFECT:
        return "", ""
    if name == "lora_bias":
        return ("", "") if isinstance(value, bool) else ("it is true or false", "export it again")
    if name == "peft_type":
        if str(value).rpartition(".")[2].upper() == "LORA":
            return "", ""
        return "imig reads LoRA, no other kind of adapter", _MERGE
    if name == "init_lora_weights":
        return _fault_of_init(value)
    if value == "none" and name == "bias":
        return "", ""
    if any(value is one or (value == one and type(value) is type(one)) for one in _NEUTRAL):
        return "", ""
    causes = {
        "use_dora": ("it is a DoRA, whose magnitudes imig does not apply", _MERGE),
        "bias": ("biases of the base model were trained too, which imig does not apply", _MERGE),
        "modules_to_save": ("whole layers were trained too, which imig does not apply", _MERGE),
        "layer_replication": ("its model has layers twice, and this transformer not", _MERGE),
        "target_parameters": ("imig applies LoRA to linear layers alone", _MERGE),
    }
    return causes.get(name, ("imig does not know how to apply that", _MERGE))


def _fault_of_init(value: Any) -> tuple[str, str]:
    if isinstance(value, bool) or str(value).lower() in _HARMLESS_INIT:
        return "", ""
    if str(value).lower().startswith(_CHANGES_BASE):
        return (
            "this beginning changes the base model's weights, and the adapter fits the changed ones"
            " only",
            "save it as a plain LoRA: PEFT's save_pretrained with "
            "path_initial_model_for_weight_conversion (LoftQ: merge it into its base model)",
        )
    return "imig does not know this beginning, nor whether it changes the base weights", _MERGE


def _check_ranks(
    said: Mapping[str, Any], layers: Mapping[str, LoraLayer], file: AdapterFile
) -> None:
    """The ranks that the metadata say are those of the weights."""
    pattern = said.get("rank_pattern", {})
    for name, layer in layers.items():
        expected = pattern.get(get_pattern_key(list(pattern), layer.source), said.get("r"))
        if expected is not None and expected != layer.rank:
            raise DataError(
                f"{file.path}: the rank of layer {name!r} is {layer.rank}, and {expected} by its "
                "metadata",
                cure="weights and metadata are of different adapters: export it again from its run",
            )


def _alphas(
    said: Mapping[str, Any], layers: Mapping[str, LoraLayer], file: AdapterFile
) -> dict[str, float]:
    """Each layer's alpha; where nothing says it, the rank."""
    pattern = said.get("alpha_pattern", {})
    usual = said.get("lora_alpha")
    if usual is None and SCALE_FIELDS & set(said):
        # A `LoraConfig` that says the rank alone has PEFT's alpha, in diffusers too.
        if "r" not in said and any(one.rank != _PEFT_DEFAULT for one in layers.values()):
            fields = ", ".join(sorted(SCALE_FIELDS & set(said)))
            raise DataError(
                f"{file.path}: its metadata say {fields} and no lora_alpha: its scale is unclear",
                cure="export it again from its run",
            )
        usual = _PEFT_DEFAULT
    alphas = {}
    for name, layer in layers.items():
        by_metadata = pattern.get(get_pattern_key(list(pattern), layer.source), usual)
        if None not in (layer.alpha, by_metadata) and layer.alpha != by_metadata:
            raise DataError(
                f"{file.path}: the alpha of layer {name!r} is {layer.alpha:g} by its tensor, and "
                f"{by_metadata:g} by the metadata",
                cure="export it again from its run",
            )
        own = layer.alpha if layer.alpha is not None else by_metadata
        alphas[name] = float(layer.rank if own is None else own)
    return alphas


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
