"""Mutants that are kept, packed by zlib, in ``tests/data/mutants``.

They failed once (``found-``), or are read in a way of their own.

``cd tests && python -m support.fuzzing.corpus FOLDER --seed N`` takes new ones from a run of
`support.fuzzing.run`: the smallest mutant of each behaviour that is not kept yet.
"""

from __future__ import annotations

import argparse
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from support.fuzzing.cases import Case, make_case
from support.fuzzing.readers import Bench, read_case

FOLDER = Path(__file__).parents[2] / "data" / "mutants"
TABLE = FOLDER / "table.json"
LARGEST = 12_000
"""Bytes of a mutant that is kept; shards are the largest."""


@dataclass(frozen=True)
class Kept:
    """A row of the table."""

    file: str
    kind: str
    context: str
    said: str
    """What the first of its readers says: kinds of faults, or the class of an error. Nothing of
    pictures, where versions of Pillow differ."""

    def case(self) -> Case:
        data = zlib.decompress((FOLDER / self.file).read_bytes())
        return Case(self.kind, data, self.context, thorough=self.file.startswith("found-"))

    def __str__(self) -> str:
        return self.file


def kept_cases() -> list[Kept]:
    """The table, in its order."""
    return [Kept(**row) for row in json.loads(TABLE.read_text(encoding="utf-8"))]


def first_words(case: Case, bench: Bench) -> str:
    """Reads a mutant, and gives what is kept of what was said."""
    said = read_case(case, bench).split(" | ")[0]
    if case.kind in ("jpeg", "png"):
        return ""
    return said if said.startswith("faults: ") else said.split(":")[0]


def keep(cases: dict[str, Case]) -> None:
    """Add mutants to the table under these names."""
    rows = {one.file: one for one in kept_cases()} if TABLE.exists() else {}
    with TemporaryDirectory() as place:
        bench = Bench(Path(place))
        for name, case in cases.items():
            FOLDER.mkdir(parents=True, exist_ok=True)
            (FOLDER / name).write_bytes(zlib.compress(case.data, 9))
            rows[name] = Kept(name, case.kind, case.context, first_words(case, bench))
    table = [asdict(rows[name]) for name in sorted(rows)]
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def smallest(numbers: dict[str, int], *, seed: int, most: dict[str, int]) -> dict[str, Case]:
    """Of each kind so many behaviours, spread evenly over all."""
    chosen: dict[tuple[str, str], Case] = {}
    for said, number in numbers.items():
        case = make_case(number, seed=seed)
        key = (case.kind, said)
        if len(case.data) <= LARGEST and (
            key not in chosen or len(case.data) < len(chosen[key].data)
        ):
            chosen[key] = case
    cases: dict[str, Case] = {}
    for kind, count in most.items():
        some = [(said, case) for (its, said), case in sorted(chosen.items()) if its == kind]
        step = max(len(some) // count, 1)
        for place, (_, case) in enumerate(some[::step][:count]):
            cases[f"{kind}-{place:02d}"] = case
    return cases


MOST = {
    "scene": 22, "jpeg": 8, "png": 14, "features": 10, "encoding": 20, "runs": 6, "manifest": 14,
    "index": 12, "report": 6, "rejects": 4, "quarantine": 2, "shard": 10,
}  # fmt: skip
"""How many of each kind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    numbers = json.loads((given.place / "behaviours.json").read_text())
    keep(smallest(numbers, seed=given.seed, most=MOST))


if __name__ == "__main__":
    main()
