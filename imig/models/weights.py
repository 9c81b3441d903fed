"""From `weights: tiny | local path | hub id` to files on this disk.

A build never downloads: what is not on the disk is an error that says where it was looked for and
how to get it. Only `pull` (`imig models pull`) goes to the hub.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import imig
from imig.errors import UsageError
from imig.models.batched import ResolvedWeights as ResolvedWeights
from imig.models.families import FAMILIES
from imig.models.family import Family
from imig.models.hub import find_in_hub_cache, hub_cache, parse_hub_id
from imig.models.outside import is_outside, outside_code, outside_family
from imig.models.packages import require_packages, shipped_folder
from imig.models.pipeline_folder import pipeline_files, pipeline_revision
from imig.paths import expand_home, input_path
from imig.recipe.parts import ModelConfig

TINY = "tiny"


def resolve_weights(config: ModelConfig) -> ResolvedWeights:
    """Find a model's weights without loading them and without the network.

    Raises
    ------
    UsageError
        The family is unknown, does not offload, lacks its Python package, or the weights are not
        on this disk: says where it looked, and how to get them.
    """
    found = find_weights(config)
    family = find_family(config.family)
    if not family.head:
        return found
    head = _head(family, config)
    return replace(
        found,
        files=(*found.files, head),
        revision=f"{found.revision}+{sha256_prefix((head,))}",
    )


def find_weights(config: ModelConfig) -> ResolvedWeights:
    """As `resolve_weights`, without the second weight file of families that take one (`head`)."""
    family = find_family(config.family)
    if config.offload != "none" and not family.takes_offload:
        able = sorted(one.name for one in FAMILIES.values() if one.takes_offload)
        raise UsageError(
            f"{family.name} does not offload, so `offload: {config.offload}` means nothing to it",
            cure=f"leave `offload` away; families that do: {', '.join(able)}",
        )
    require_packages(family)
    if family.ships_in and config.weights in (TINY, _package_name(family)):
        return _shipped(family, config)
    if config.weights == TINY:
        return _tiny(family, config)
    if family.layout == "program":
        raise UsageError(
            f"{family.name}: weights {config.weights!r}: this family is a program and has no "
            "weights but `tiny`",
            cure="set `weights: tiny`, or take a family with the same task: " + _alike(family),
        )
    local = input_path(config.weights)
    if local.exists():
        files = weight_files(family, local)
        if family.layout == "pipeline":
            revision = pipeline_revision(local, files)
        else:
            revision = sha256_prefix(files)
        return _resolved(config, path=local, files=files, revision=revision)
    looked_for = [f"path {local.absolute()}"]
    if family.home:
        folder = expand_home(family.home) / config.weights
        if folder.is_dir():
            files = weight_files(family, folder)
            return _resolved(config, path=folder, files=files, revision=sha256_prefix(files))
        looked_for.append(f"folder {folder}")
    hub = parse_hub_id(config.weights)
    if hub is not None:
        cached = find_in_hub_cache(hub)
        if cached is not None:
            path, commit = cached
            return _resolved(
                config, path=path, files=weight_files(family, path), revision=commit[:12]
            )
        looked_for.append(f"hub cache {hub_cache()} (repository {hub.repo})")
    raise UsageError(
        f"{family.name}: weights {config.weights!r} not found; looked for: "
        + "; ".join(looked_for),
        cure=how_to_get(family, config.weights),
    )


def find_family(name: str) -> Family:
    """The family of that name; UsageError with all names when there is none."""
    if is_outside(name):
        return outside_family(name)
    family = FAMILIES.get(name)
    if family is None:
        raise UsageError(
            f"unknown model family {name!r}",
            cure=f"one of: {', '.join(sorted(FAMILIES))}; or a class, `package.module:Class`",
        )
    return family


def tiny_folder(family: Family) -> Path:
    """Where the package keeps the family's tiny checkpoint, or its code, for a program."""
    package = Path(imig.__file__).parent
    return (package if family.layout == "program" else package / "weights") / family.name


def weight_files(family: Family, path: Path) -> tuple[Path, ...]:
    """The weight files that the family would load from a file or a folder.

    Raises
    ------
    UsageError
        When a folder lacks a file, or holds several weight files to choose from.
    """
    if family.layout == "pipeline":
        return pipeline_files(family, path)
    if path.is_file():
        if not family.takes_file:
            raise UsageError(
                f"{family.name}: {path} is a file; this family loads a folder",
                cure=f"give the folder that holds {family.needs[0]} and {family.weight_files[0]}",
            )
        return (path,)
    if family.layout == "program":
        return tuple(sorted(one for pattern in family.weight_files for one in path.glob(pattern)))
    if family.layout == "folder":
        return _all_files(family, path)
    for pattern in family.weight_files:
        found = sorted(path.glob(pattern))
        if not found:
            continue
        if len(found) > 1:
            raise UsageError(
                f"{family.name}: {path} holds several weight files: "
                + ", ".join(one.name for one in found),
                cure="give the path of one of them",
            )
        _require_companions(family, path)
        if pattern.endswith(".index.json"):
            kind = ".safetensors" if "safetensors" in pattern else ".bin"
            return tuple(sorted(found[0].parent.glob(f"*-of-*{kind}")))
        return (found[0],)
    raise UsageError(
        f"{family.name}: no weights in {path}; looked for {', '.join(family.weight_files)}",
        cure=how_to_get(family),
    )


def sha256_prefix(files: tuple[Path, ...]) -> str:
    """The first 12 hexadecimal digits of the sha256 of the files' bytes, in their order."""
    stats = [one.stat() for one in files]
    return _sha256_prefix(files, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


def how_to_get(family: Family, weights: str = "") -> str:
    """The cure for missing weights."""
    if family.get:
        return family.get
    if not family.checkpoints:
        return "put the path of its weights into `weights`"
    sizes = {one.weights: one.megabytes for one in family.checkpoints}
    # Of what is no hub id nothing can be pulled: offer the default.
    wanted = weights if parse_hub_id(weights) else family.checkpoints[0].weights
    size = f" (about {sizes[wanted]} MB)" if wanted in sizes else ""
    return (
        f"on a machine with network: imig models pull {family.name} {wanted}{size}; "
        "or put a local path into `weights`; `imig models list` shows what there is"
    )


def _all_files(family: Family, folder: Path) -> tuple[Path, ...]:
    found = {pattern: sorted(folder.glob(pattern)) for pattern in family.weight_files}
    missing = [pattern for pattern, files in found.items() if not files]
    if missing:
        raise UsageError(
            f"{family.name}: no {', '.join(missing)} in {folder}",
            cure=how_to_get(family),
        )
    return tuple(one for files in found.values() for one in files)


def _package_name(family: Family) -> str:
    return family.ships_in.split("/")[0]


def _shipped(family: Family, config: ModelConfig) -> ResolvedWeights:
    """Weights that an installed package has; recorded under the package's name."""
    folder = shipped_folder(family)
    files = weight_files(family, folder)
    recorded = config.model_copy(update={"weights": _package_name(family)})
    return _resolved(recorded, path=folder, files=files, revision=sha256_prefix(files))


def _tiny(family: Family, config: ModelConfig) -> ResolvedWeights:
    if family.layout == "program" and is_outside(family.name):
        code = outside_code(family.name)
        return _resolved(config, path=code, files=(code,), revision=sha256_prefix((code,)))
    if not family.tiny:
        able = _alike(family, tiny=True)
        have = f"families {able} have; or " if "," in able else f"family {able} has; or "
        raise UsageError(
            f"{family.name} has no tiny weights",
            cure=(have if able else "") + how_to_get(family),
        )
    folder = tiny_folder(family)
    if not folder.is_dir():
        raise UsageError(
            f"{family.name}: the tiny weights are missing; looked for {folder}",
            cure="train them with `make weights`, or install the package anew",
        )
    files = weight_files(family, folder)
    revision = family.revision or sha256_prefix(files)
    return _resolved(config, path=folder, files=files, revision=revision)


def _resolved(
    config: ModelConfig, *, path: Path, files: tuple[Path, ...], revision: str
) -> ResolvedWeights:
    return ResolvedWeights(
        family=config.family,
        weights=config.weights,
        path=path,
        files=files,
        revision=revision,
        config=config.config,
    )


def _head(family: Family, config: ModelConfig) -> Path:
    """The second weight file, which the recipe's `config` names."""
    path = None if config.config is None else input_path(config.config)
    if path is None or not path.is_file():
        what = "no `config`" if path is None else f"`config` names no file: {path}"
        raise UsageError(f"{family.name}: {what}", cure=f"let `config` name {family.head}")
    return path


def _alike(family: Family, *, tiny: bool = False) -> str:
    """Families that share a task with this one; with `tiny` only those that ship weights."""
    tasks = set(family.tasks)
    return ", ".join(
        one.name
        for one in FAMILIES.values()
        if one is not family and tasks & set(one.tasks) and (one.tiny or not tiny)
    )


def _require_companions(family: Family, folder: Path) -> None:
    for names in family.needs:
        if not any((folder / name).is_file() for name in names.split("|")):
            raise UsageError(
                f"{family.name}: {folder} holds weights but no {names.replace('|', ' or ')}",
                cure="copy the whole folder of the checkpoint, not only its weights",
            )


@lru_cache(maxsize=64)
def _sha256_prefix(files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    # `stamps` (size and time of change) only makes the cache notice that a file was replaced.
    assert len(files) == len(stamps)
    digest = hashlib.sha256()
    for one in files:
        with one.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()[:12]
