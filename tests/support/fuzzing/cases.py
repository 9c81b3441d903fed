"""A mutant of a number: the same for ever, where the good files are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from imig.shards.encoded import ENCODED_MEMBER
from imig.shards.features import FEATURES_MEMBER
from support.fuzzing.damage import damage_bytes, splice
from support.fuzzing.formats import FORMATS
from support.fuzzing.seeds import ENCODED, PLAIN, SHARDS, Seeds, good_seeds


@dataclass(frozen=True)
class Case:
    """A damaged file."""

    kind: str
    """Who reads it: a name of `readers.READERS`."""
    data: bytes
    context: str = ""
    """What it stands among: a scene's number, or a dataset's name and file."""
    thorough: bool = False
    """Whether it is shown also to readers that take long, which see a part of the mutants."""


@dataclass(frozen=True)
class Kind:
    """A kind of cases."""

    weight: int
    """Of 1,000 cases so many; those that take long are fewer."""
    format: str
    """Of `formats.FORMATS`."""
    seed: Callable[[Seeds, Random], tuple[str, bytes]]
    """The context and the good bytes."""


def _scene(seeds: Seeds, random: Random) -> tuple[str, bytes]:
    number = random.randrange(len(seeds.scenes))
    return str(number), seeds.json(number)


def _member(*names: str) -> Callable[[Seeds, Random], tuple[str, bytes]]:
    """A member of the encoded sample."""

    def choose(seeds: Seeds, random: Random) -> tuple[str, bytes]:
        name = random.choice(names)
        return name, seeds.files[1][name]

    return choose


def _runs(seeds: Seeds, random: Random) -> tuple[str, bytes]:
    return "", random.choice(seeds.runs)


def _file(name: str | None) -> Callable[[Seeds, Random], tuple[str, bytes]]:
    """A file of one of the datasets; None: its shard."""

    def choose(seeds: Seeds, random: Random) -> tuple[str, bytes]:
        dataset = random.choice((PLAIN, ENCODED))
        return dataset, seeds.folders[dataset][name or SHARDS[dataset]]

    return choose


KINDS: dict[str, Kind] = {
    "scene": Kind(250, "json", _scene),
    "jpeg": Kind(90, "jpeg", _member("target.jpg", "ref00.jpg", "ref10.jpg")),
    "png": Kind(110, "png", _member("ref00.mask.png", "ref10.mask.png", "face00.png")),
    "features": Kind(60, "npy", _member(FEATURES_MEMBER)),
    "encoding": Kind(120, "safetensors", _member(ENCODED_MEMBER)),
    "runs": Kind(150, "runs", _runs),
    "shard": Kind(90, "tar", _file(None)),
    "manifest": Kind(60, "json", _file("dataset.json")),
    "index": Kind(25, "parquet", _file("index.parquet")),
    "report": Kind(20, "json", _file("report.json")),
    "rejects": Kind(10, "parquet", _file("rejects.parquet")),
    "quarantine": Kind(10, "parquet", _file("quarantine.parquet")),
    "folder": Kind(5, "", _file(None)),
}


def make_case(number: int, *, seed: int = 0) -> Case:
    """The mutant of a number."""
    random = Random(f"{seed} {number}")
    [name] = random.choices(list(KINDS), [one.weight for one in KINDS.values()])
    if name == "folder":
        return _case_of_folder(random)
    seeds = good_seeds()
    context, good = KINDS[name].seed(seeds, random)
    return Case(name, _damage(good, name, random), context)


def _damage(good: bytes, name: str, random: Random) -> bytes:
    if random.random() < 0.03:
        other = random.choice([one for one in KINDS if one != "folder"])
        return splice(good, KINDS[other].seed(good_seeds(), random)[1], random)
    if random.random() < 0.15:
        return damage_bytes(good, random)
    return FORMATS[KINDS[name].format](good, random)


def _case_of_folder(random: Random) -> Case:
    """Any file of a dataset, read by everything that reads datasets."""
    dataset = random.choice((PLAIN, ENCODED))
    files = {
        SHARDS[dataset]: "tar", "dataset.json": "json", "index.parquet": "parquet",
        "report.json": "json", "rejects.parquet": "parquet", "quarantine.parquet": "parquet",
    }  # fmt: skip
    name = random.choice(list(files))
    good = good_seeds().folders[dataset][name]
    return Case("folder", FORMATS[files[name]](good, random), f"{dataset}/{name}")
