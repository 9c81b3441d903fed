"""The ledger of a dataset's licences, through all that is made of it, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from support.derived_datasets import make_scene, write_dataset

from imig import Dataset
from imig.checks.dataset import validate_dataset
from imig.cli import main
from imig.derived.merge import merge_datasets
from imig.derived.refilter import refilter_dataset
from imig.derived.remove import remove_samples
from imig.derived.selection import select_source
from imig.derived.split import split_dataset
from imig.errors import UsageError
from imig.licences.ledger import model_licence
from imig.licences.refusals import check_publishable
from imig.schema import Edit, Licences, Manifest, ModelRecord, scene_to_json

KONTEXT = ModelRecord(
    family="flux-kontext", weights="black-forest-labs/FLUX.1-Kontext-dev", revision="abc"
)
BLIP = ModelRecord(
    family="blip", weights="Salesforce/blip-image-captioning-base", revision="1"
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes longer than all else."""
    monkeypatch.setattr("imig.output.seal.MAX_PICTURES", 0)


def dataset(
    folder: Path,
    licences: Sequence[str | None],
    *,
    models: Sequence[ModelRecord] = (),
    edited: int = 0,
    first: int = 0,
) -> Path:
    """A scene for each licence; Kontext has made the references of the first `edited`."""
    samples = [make_scene(first + n) for n in range(len(licences))]
    for number, (sample, licence) in enumerate(zip(samples, licences, strict=True)):
        sample.scene.source.licence = licence
        if number < edited:
            view = sample.scene.instances[0].references[0]
            model = f"{KONTEXT.family}:{KONTEXT.weights}@{KONTEXT.revision}"
            view.edit = Edit(instruction="turn it", model=model, seed=1)
    return write_dataset(folder, samples, models=list(models), name=folder.name)


def ledger(folder: Path) -> Licences:
    found = Dataset(folder).manifest.licences
    assert found is not None
    return found


def sources(folder: Path) -> dict[str | None, int]:
    return {one.licence: one.scenes for one in ledger(folder).sources}


def front_matter(folder: Path) -> dict[str, object]:
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    loaded: dict[str, object] = yaml.safe_load(front)
    return {name: one for name, one in loaded.items() if name.startswith("license")}


def test_sources_and_models_are_counted(tmp_path: Path) -> None:
    folder = dataset(
        tmp_path / "a", ["CC-BY-4.0", "CC-BY-4.0", None], models=[BLIP, KONTEXT], edited=2
    )
    assert sources(folder) == {"CC-BY-4.0": 2, None: 1}
    models = {one.family: one for one in ledger(folder).models}
    assert (models["blip"].licence, models["blip"].makes, models["blip"].scenes) == (
        "BSD-3-Clause", False, 0,
    )  # fmt: skip
    kontext = models["flux-kontext"]
    assert (kontext.terms, kontext.makes, kontext.scenes) == (
        "flux-1-dev-non-commercial-license", True, 2,
    )  # fmt: skip
    assert front_matter(folder) == {
        "license": "other", "license_name": "mixed", "license_link": "dataset.json",
    }  # fmt: skip
    assert "| picture files | CC-BY-4.0 | 2 |" in (folder / "README.md").read_text()


def test_a_model_that_forbids_gives_the_card_its_licence(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "a", ["CC0-1.0"] * 2, models=[KONTEXT], edited=1)
    assert front_matter(folder)["license_name"] == "flux-1-dev-non-commercial-license"
    # One that took part and left nothing in the scenes gives it nothing.
    assert front_matter(dataset(tmp_path / "b", ["CC0-1.0"], models=[KONTEXT])) == {
        "license": "cc0-1.0"
    }


def test_what_states_nothing_keeps_its_bytes() -> None:
    scene = make_scene(0).scene
    assert b"licence" not in scene_to_json(scene)
    scene.source.licence = "CC0-1.0"
    assert b'"licence": "CC0-1.0"' in scene_to_json(scene)


def test_whatever_is_made_of_it_counts_its_own_scenes(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", ["CC-BY-4.0"] * 3 + [None], models=[KONTEXT], edited=2)
    b = dataset(tmp_path / "b", ["CC-BY-SA-4.0"] * 4, models=[BLIP], first=10)
    whole = tmp_path / "whole"
    merge_datasets([a, b], output=whole)
    assert sources(whole) == {"CC-BY-4.0": 3, "CC-BY-SA-4.0": 4, None: 1}
    assert {one.family: one.scenes for one in ledger(whole).models} == {
        "flux-kontext": 2, "blip": 0, "oracle": 8,  # which the scenes name, and no manifest
    }  # fmt: skip
    split_dataset(whole, validation=0.25, output=tmp_path / "split")
    sides = [sources(tmp_path / "split" / side) for side in ("train", "validation")]
    assert {one: sum(side.get(one, 0) for side in sides) for one in sources(whole)} == sources(
        whole
    )
    refilter_dataset(whole, overrides=["filter.dino=0.1"], output=tmp_path / "filtered")
    assert sources(tmp_path / "filtered") == sources(whole)
    remove_samples(whole, select_source("basic/1?.jpg"))
    assert sources(whole) == {"CC-BY-4.0": 3, None: 1}
    assert validate_dataset(whole).faults == []


@pytest.mark.parametrize(
    ("licence", "declared", "reason"),
    [
        ("CC-BY-NC-4.0", "CC-BY-4.0", "keeps commercial use out"),
        ("CC-BY-SA-4.0", "CC-BY-4.0", "asks for the same licence"),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", ""),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", "asks for the same licence"),
        ("CC-BY-4.0", "CC0-1.0", "passes none on"),
        ("CC-BY-4.0", "CC-BY-NC-4.0", ""),
        ("CC-BY-4.0", "our own terms", ""),
        ("CC-BY-ND-4.0", "our own terms", "does not let what is made of a picture be shared"),
        ("All rights reserved", "CC-BY-4.0", "lets nobody share"),
        ("our own terms", "CC-BY-4.0", ""),
        (None, "CC-BY-4.0", ""),
    ],
)
def test_a_merge_under_a_licence_that_the_scenes_contradict(
    tmp_path: Path, licence: str | None, declared: str, reason: str
) -> None:
    a = dataset(tmp_path / "a", ["CC0-1.0"])
    b = dataset(tmp_path / "b", [licence], first=10)
    output = tmp_path / "whole"
    if reason:
        with pytest.raises(UsageError, match=reason) as caught:
            merge_datasets([a, b], output=output, licence=declared)
        assert "--despite-licences" in caught.value.cure
        assert not output.exists()
    merge_datasets([a, b], output=output, licence=declared, despite_licences=bool(reason))
    assert ledger(output).declared == declared
    settings = Dataset(output).manifest.derived[-1].settings
    assert settings.get("despite_licences", False) == bool(reason)


def test_a_model_that_keeps_commercial_use_out(tmp_path: Path) -> None:
    a = dataset(tmp_path / "a", ["CC0-1.0"], models=[KONTEXT], edited=1)
    b = dataset(tmp_path / "b", ["CC0-1.0"], first=10)
    with pytest.raises(UsageError, match="keeps commercial use of the model out"):
        merge_datasets([a, b], output=tmp_path / "whole", licence="apache-2.0")


def test_what_a_parent_declares_holds_for_what_is_merged_into_it(tmp_path: Path) -> None:
    parts = [dataset(tmp_path / f"p{n}", ["CC0-1.0"], first=n) for n in (0, 10)]
    free = tmp_path / "free"
    merge_datasets(parts, output=free, licence="CC-BY-4.0")
    assert front_matter(free) == {"license": "cc-by-4.0"}
    restricted = dataset(tmp_path / "nc", ["CC-BY-NC-4.0"] * 2, first=20)
    with pytest.raises(UsageError, match=r"free declares CC-BY-4.0.*2 scenes are under"):
        merge_datasets([free, restricted], output=tmp_path / "whole")
    merge_datasets([free, restricted], output=tmp_path / "whole", licence="CC-BY-NC-4.0")
    assert front_matter(tmp_path / "whole") == {"license": "cc-by-nc-4.0"}


def test_what_a_parent_declares_is_never_lost_in_a_merge(tmp_path: Path) -> None:
    """Its scenes say nothing themselves."""
    parts = [dataset(tmp_path / f"p{n}", [None], first=n) for n in (0, 10, 20)]
    owned = tmp_path / "owned"
    merge_datasets(parts[:2], output=owned, licence="CC-BY-NC-4.0")
    whole = tmp_path / "whole"
    with pytest.raises(UsageError, match=r"2 scenes are under CC-BY-NC-4\.0, which keeps commer"):
        merge_datasets([owned, parts[2]], output=whole, licence="MIT")
    with pytest.raises(UsageError, match=r"owned declares CC-BY-NC-4\.0, and not all the others"):
        merge_datasets([owned, parts[2]], output=whole)
    assert not whole.exists()
    merge_datasets([owned, parts[2]], output=whole, licence="CC-BY-NC-4.0")
    assert sources(whole) == {None: 3}
    assert front_matter(whole) == {"license": "cc-by-nc-4.0"}


def write_by_hand(folder: Path, licence: str) -> None:
    """The owner states another licence than the one that the card has."""
    card = folder / "README.md"
    lines = card.read_text().splitlines(keepends=True)
    kept = [one for one in lines if not one.startswith("license")]
    card.write_text("".join([kept[0], licence, *kept[1:]]))


NC = "license: cc-by-nc-4.0\n"
HOUSE = "license: other\nlicense_name: house-rules\nlicense_link: https://a.org/rules\n"


@pytest.mark.parametrize("licence", [NC, HOUSE])
def test_what_the_owner_has_written_goes_on_to_what_is_made_of_it(
    tmp_path: Path, licence: str
) -> None:
    a = dataset(tmp_path / "a", [None] * 4)
    write_by_hand(a, licence)
    stated = yaml.safe_load(licence)
    refilter_dataset(a, overrides=["filter.dino=0.1"], output=tmp_path / "filtered")
    assert front_matter(tmp_path / "filtered") == stated
    split_dataset(tmp_path / "filtered", validation=0.25, output=tmp_path / "split")
    for card in ("split", "split/train", "split/validation"):
        assert front_matter(tmp_path / card) == stated
    b = dataset(tmp_path / "b", [None], first=10)
    write_by_hand(b, licence)
    merge_datasets([tmp_path / "split" / "train", b], output=tmp_path / "whole")
    assert front_matter(tmp_path / "whole") == stated
    # A card that follows from the ledger is no word of an owner's.
    c = dataset(tmp_path / "c", ["CC-BY-4.0", "CC-BY-SA-4.0"])
    refilter_dataset(c, overrides=["filter.min_instances=3"], output=tmp_path / "d")
    assert front_matter(tmp_path / "d") == front_matter(c)


@pytest.mark.parametrize(
    ("cards", "licence", "reason"),
    [
        ([NC, None], "MIT", r"1 scene is under cc-by-nc-4\.0, which keeps commercial use out"),
        ([NC, None], None, r"a declares cc-by-nc-4\.0, and not all the others do"),
        ([HOUSE, NC], None, r"a declares house-rules https://a.org/rules, and not all the others"),
        ([NC, None], "CC-BY-NC-4.0", ""),
        ([NC, NC], None, ""),
        ([NC, "license: CC BY-NC 4.0\n"], None, ""),
        ([HOUSE, None], "MIT", ""),
        (
            ["license: other\nlicense_link: https://creativecommons.org/licenses/by-nc/4.0\n", NC],
            "MIT",
            "keeps commercial use out",
        ),
    ],
)
def test_a_merge_of_what_cards_say_by_hand(
    tmp_path: Path, cards: list[str | None], licence: str | None, reason: str
) -> None:
    parents = [dataset(tmp_path / "ab"[n], [None], first=10 * n) for n in range(2)]
    for parent, card in zip(parents, cards, strict=True):
        if card is not None:
            write_by_hand(parent, card)
    output = tmp_path / "whole"
    if not reason:
        merge_datasets(parents, output=output, licence=licence)
        assert ledger(output).declared == licence or licence is None
        assert front_matter(output)["license"] == (licence or "cc-by-nc-4.0").lower()
        return
    with pytest.raises(UsageError, match=reason):
        merge_datasets(parents, output=output, licence=licence)
    assert not output.exists()


def test_publishing_what_is_declared_to_be_for_nobody(tmp_path: Path) -> None:
    parts = [dataset(tmp_path / f"p{n}", [None], first=n) for n in (0, 10)]
    merge_datasets(parts, output=tmp_path / "whole", licence="All rights reserved")
    manifest = Dataset(tmp_path / "whole").manifest
    with pytest.raises(UsageError, match="declared under All rights reserved, which lets nobody"):
        check_publishable(manifest)
    check_publishable(manifest, despite=True)


def test_publishing(tmp_path: Path) -> None:
    fine = Dataset(dataset(tmp_path / "a", ["CC-BY-NC-4.0", None])).manifest
    check_publishable(fine)
    with pytest.raises(UsageError, match="keeps commercial use out"):
        check_publishable(fine, declared="apache-2.0")
    bad = Dataset(dataset(tmp_path / "b", ["CC-BY-ND-4.0", "CC-BY-4.0"])).manifest
    with pytest.raises(UsageError, match=r"1 scene is under CC-BY-ND-4.0") as caught:
        check_publishable(bad)
    assert "--despite-licences" in caught.value.cure
    check_publishable(bad, despite=True)
    older = Manifest.model_validate(bad.model_dump(exclude={"licences"}))
    check_publishable(older)


def test_a_push_asks_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dataset(tmp_path / "a", ["CC-BY-ND-4.0"])
    call = ["push", str(folder), "me/mine", "--dry-run"]
    assert main(call) == 2
    assert "does not let what is made of a picture be shared" in capsys.readouterr().err
    assert main([*call, "--despite-licences"]) == 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = dataset(tmp_path / "a", ["CC-BY-NC-4.0"])
    b = dataset(tmp_path / "b", ["CC0-1.0"], first=10)
    call = ["merge", str(a), str(b), "--output", str(tmp_path / "c"), "--licence", "MIT", "--json"]
    assert main(call) == 2
    assert "--licence declares MIT" in capsys.readouterr().err
    assert main([*call, "--despite-licences"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["written"] == 2


@pytest.mark.parametrize(
    ("family", "weights", "licence"),
    [
        ("flux", "black-forest-labs/FLUX.1-dev", "FLUX.1 [dev] non-commercial"),
        ("flux", "black-forest-labs/FLUX.1-dev@refs/pr/1", "FLUX.1 [dev] non-commercial"),
        ("flux", "/models/FLUX.1-dev", "FLUX.1 [dev] non-commercial"),
        ("flux", "/models/mine", None),
        ("open-clip", "tiny", "Apache-2.0"),
        ("endpoint", "gpt", None),
    ],
)
def test_a_model_s_licence(family: str, weights: str, licence: str | None) -> None:
    assert model_licence(family, weights) == licence
