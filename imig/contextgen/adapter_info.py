"""What an adapter's file is, in figures: for `imig adapter info`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imig.contextgen.adapter import IMIG_METADATA
from imig.contextgen.adapter_config import DIFFUSERS_METADATA
from imig.contextgen.adapter_file import read_json_object
from imig.contextgen.adapter_names import block_counts
from imig.contextgen.adapter_styles import Adapter, is_idle, read_adapter
from imig.contextgen.modelspec import PREFIX


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter's file; what it does not say is None or empty."""

    path: str
    style: str
    """Whose names its keys have."""
    layers: int
    """Linear layers of the transformer that it changes."""
    blocks: tuple[int, int]
    """Double and single blocks of the model, at least."""
    ranks: dict[int, int]
    """Rank -> layers that have it."""
    alphas: dict[float, int]
    rslora: bool
    scales: dict[float, int]
    """What layers' products are multiplied with: alpha / rank, or alpha / sqrt(rank)."""
    dtypes: dict[str, int]
    """Of the weights -> layers."""
    parameters: int
    bytes: int
    has_biases: bool
    base: str | None
    """Weights that it was trained on."""
    licence: str | None
    title: str | None
    architecture: str | None
    date: str | None
    hash: str | None
    """SHA-256 of the tensors, as the file says it."""
    training: dict[str, Any]
    """Of `imig.training.summary`; or kohya's entries `ss_*`."""
    notes: tuple[str, ...]
    """What other programs would make of it, where that is not what it says."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def describe_adapter(path: Path) -> AdapterInfo:
    """All that a file says of itself, after it was read as for use.

    Raises
    ------
    UsageError
        There is no such file, or it is no adapter that imig reads.
    DataError
        It is damaged.
    """
    adapter = read_adapter(path)
    header, layers, scale = adapter.file.header, adapter.layers, adapter.scale
    where = f"{adapter.file.path}: its metadata {IMIG_METADATA!r}"
    settings = read_json_object(header.get(IMIG_METADATA, "{}"), where=where)
    tensors = adapter.file.tensors
    return AdapterInfo(
        path=str(adapter.file.path),
        style=adapter.origin,
        layers=len(layers),
        blocks=block_counts(layers),
        ranks=dict(sorted(Counter(scale.ranks.values()).items())),
        alphas=dict(sorted(Counter(scale.alphas.values()).items())),
        rslora=scale.rslora,
        scales=dict(sorted(Counter(scale.factor(name) for name in layers).items())),
        dtypes=dict(
            Counter(
                str(one.a.dtype).removeprefix("torch.") for one in layers.values()
            ).most_common()
        ),
        parameters=sum(one.numel() for key, one in tensors.items() if not key.endswith(".alpha")),
        bytes=adapter.file.size,
        has_biases=any(one.bias is not None for one in layers.values()),
        base=_text(settings.get("weights")) or _text(header.get("ss_sd_model_name")),
        licence=header.get(f"{PREFIX}license"),
        title=header.get(f"{PREFIX}title"),
        architecture=header.get(f"{PREFIX}architecture"),
        date=header.get(f"{PREFIX}date"),
        hash=header.get(f"{PREFIX}hash_sha256"),
        training=_training(settings, header),
        notes=tuple(_notes(adapter)),
    )


def _training(settings: dict[str, Any], header: Mapping[str, str]) -> dict[str, Any]:
    said = settings.get("training")
    if isinstance(said, dict):
        recipe = settings.get("recipe")
        return ({} if recipe is None else {"recipe": recipe}) | said
    names = ("ss_steps", "ss_num_train_images", "ss_optimizer", "ss_learning_rate", "ss_seed")
    return {name.removeprefix("ss_"): header[name] for name in names if name in header}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value != "None" else None


def _notes(adapter: Adapter) -> list[str]:
    """How loaders that look elsewhere for the scale would draw."""
    scale, notes = adapter.scale, []
    alphas = any(one.alpha is not None for one in adapter.layers.values())
    factors = {scale.factor(name) for name in adapter.layers}
    if not alphas and factors != {1.0}:
        shown = ", ".join(f"{one:.4g}" for one in sorted(factors)[:3])
        notes.append(
            f"ComfyUI reads no metadata: it would draw at scale 1, and not at {shown}; "
            "`imig adapter convert --to comfyui` writes a file that it draws rightly"
        )
    if alphas and DIFFUSERS_METADATA in adapter.file.header:
        notes.append(
            "diffusers refuses alphas beside its metadata; `imig adapter convert --to diffusers` "
            "writes a file that it loads"
        )
    if dead := sum(alpha == 0 for alpha in scale.alphas.values()):
        notes.append(f"alpha is 0 for {dead} of {len(adapter.layers)} layers: they change nothing")
    if still := sum(is_idle(one) for one in adapter.layers.values()):
        notes.append(f"B is zero in {still} of {len(adapter.layers)} layers: they change nothing")
    return notes
