"""`imig push` and reading back, against a server that speaks the hub's API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from support.derived_datasets import make_scene, write_dataset
from support.hub_server import HubServer, hub_server, use_hub
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.cli import main
from imig.errors import DataError, UsageError
from imig.hub.card import renew_cards
from imig.hub.push import repository_name

TOKEN = "hf_good_token"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [make_scene(number) for number in range(5)]
    return write_dataset(tmp_path_factory.mktemp("push") / "shards", samples)


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "shards"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        use_hub(server, monkeypatch, token=TOKEN)
        yield server


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.tar")}


def test_what_is_pushed_is_read_back(
    hub: HubServer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(folder), "me/mine", "--private"]) == 0
    repository = hub.repositories["me/mine"]
    assert repository.private
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert repository.files.keys() == there
    for name in there - {"croissant.json"}:
        assert repository.files[name] == (folder / name).read_bytes()
    described = json.loads(repository.files["croissant.json"])
    assert described.pop("url") == f"{hub.url}/datasets/me/mine"
    assert described == json.loads((folder / "croissant.json").read_text())
    # Manifest and cards in a commit of their own, the last.
    assert repository.commits[-1] == "Finish the dataset: 5 scenes"
    assert len(repository.commits) == 2

    local, remote = imig.Dataset(folder), imig.Dataset("hf://datasets/me/mine")
    assert remote.ids == local.ids
    assert [one.files for one in remote] == [one.files for one in local]
    assert remote["basic-00000004"].target.tobytes() == local["basic-00000004"].target.tobytes()
    # No more than the scene.
    sizes = {f"{row.shard} {row.size}" for row in local.index.itertuples()}
    assert set(hub.ranges) == sizes
    printed = capsys.readouterr()
    assert 'imig.Dataset("hf://datasets/me/mine")' in printed.out
    assert TOKEN not in printed.out + printed.err


def test_a_push_of_what_is_there_sends_nothing(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imig.push(folder, "me/mine", validate=False)
    commits = list(hub.repositories["me/mine"].commits)
    assert main(["push", str(folder), "me/mine"]) == 0
    assert "has all" in capsys.readouterr().out
    assert hub.repositories["me/mine"].commits == commits


def test_a_push_that_was_cut_off_goes_on_and_nobody_reads_the_half(
    hub: HubServer, folder: Path
) -> None:
    hub.refuse["validate-yaml"] = (500, "the disk is full")  # comes before the last commit
    with pytest.raises(DataError, match=r"the hub answers 500 .*: the disk is full") as caught:
        imig.push(folder, "me/mine", validate=False)
    assert "goes on" in caught.value.cure
    files = hub.repositories["me/mine"].files
    assert shards(folder) <= files.keys()
    assert not {"dataset.json", "README.md"} & files.keys()
    with pytest.raises(UsageError, match=r"is not a dataset: it has no dataset\.json") as unread:
        imig.Dataset("hf://datasets/me/mine")
    assert "still being sent" in unread.value.cure

    hub.refuse.clear()
    hub.requests.clear()
    done = imig.push(folder, "me/mine", validate=False)
    assert {one.name for one in done.sent} == {"README.md", "croissant.json", "dataset.json"}
    assert not [one for one in hub.requests if "/upload/" in one]
    assert len(imig.Dataset("hf://datasets/me/mine")) == 5


def test_another_dataset_takes_the_place_only_when_asked(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    imig.push(folder, "me/mine", validate=False)
    hub.repositories["me/mine"].files |= {"LICENSE": b"of the owner", "notes/000000.tar": b"other"}
    smaller = write_dataset(tmp_path / "smaller", [make_scene(7)])
    with pytest.raises(UsageError, match=r"holds another dataset: its dataset\.json differs"):
        imig.push(smaller, "me/mine", validate=False)
    assert len(imig.Dataset("hf://datasets/me/mine")) == 5
    done = imig.push(smaller, "me/mine", overwrite=True, validate=False)
    assert "basic-000001.tar" in done.removed
    files = hub.repositories["me/mine"].files
    assert {one for one in files if one.endswith(".tar")} == {
        "basic-000000.tar",
        "notes/000000.tar",
    }
    assert files["LICENSE"] == b"of the owner"
    assert imig.Dataset("hf://datasets/me/mine").ids == ["basic-00000007"]


def test_a_card_that_was_edited_on_the_hub_is_not_lost(hub: HubServer, folder: Path) -> None:
    imig.push(folder, "me/mine", validate=False)
    hub.repositories["me/mine"].files["README.md"] += b"By hand.\n"
    with pytest.raises(UsageError, match=r"holds this dataset with another README\.md"):
        imig.push(folder, "me/mine", validate=False)
    assert hub.repositories["me/mine"].files["README.md"].endswith(b"By hand.\n")


def test_what_a_push_that_was_cut_off_has_left_is_not_published(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    """Taken down here meanwhile, and in a shard that no manifest names: readers go by `*.tar`."""
    hub.refuse["validate-yaml"] = (500, "the disk is full")
    with pytest.raises(DataError):
        imig.push(folder, "me/mine", validate=False)
    hub.refuse.clear()
    smaller = write_dataset(tmp_path / "smaller", [make_scene(0)])
    with pytest.raises(UsageError, match=r"a push that was not ended: basic-000001\.tar"):
        imig.push(smaller, "me/mine", validate=False)
    done = imig.push(smaller, "me/mine", overwrite=True, validate=False)
    assert "basic-000001.tar" in done.removed
    files = hub.repositories["me/mine"].files
    assert {one for one in files if one.endswith(".tar")} == {"basic-000000.tar"}


def test_a_repository_of_other_things_keeps_its_card(hub: HubServer, folder: Path) -> None:
    api = huggingface_hub.HfApi(token=TOKEN)
    api.create_repo("me/mine", repo_type="dataset")
    hub.repositories["me/mine"].files |= {"README.md": b"# Mine\n", "data.csv": b"1"}
    with pytest.raises(UsageError, match=r"has a README\.md that imig has not written") as caught:
        imig.push(folder, "me/mine", validate=False)
    assert "--overwrite" in caught.value.cure
    assert hub.repositories["me/mine"].files.keys() == {"README.md", "data.csv"}
    imig.push(folder, "me/mine", validate=False, overwrite=True)
    assert hub.repositories["me/mine"].files["data.csv"] == b"1"


@pytest.mark.parametrize(
    ("written", "known_as"),
    [
        ("license: mit", "mit"),
        ("license: mit\nlicense_name: ours", "mit"),
        (
            "license: other\nlicense_link: https://creativecommons.org/licenses/by/4.0/",
            "cc-by-4.0",
        ),
    ],
)
def test_a_card_whose_licence_the_scenes_contradict_stays_here(
    hub: HubServer, tmp_path: Path, written: str, known_as: str
) -> None:
    scene = make_scene(0)
    scene.scene.source.licence = "CC-BY-NC-4.0"
    folder = write_dataset(tmp_path / "d", [scene])
    card = folder / "README.md"
    card.write_text(card.read_text().replace("license: cc-by-nc-4.0", written))
    with pytest.raises(UsageError, match=f"keeps commercial use out, and {known_as} does not"):
        imig.push(folder, "me/mine")
    assert "me/mine" not in hub.repositories
    imig.push(folder, "me/mine", despite_licences=True)
    assert written.encode() in hub.repositories["me/mine"].files["README.md"]


def test_both_sides_of_a_split_go_as_one(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    for side in ("train", "validation"):
        shutil.copytree(folder, tmp_path / "s" / side)
    renew_cards(tmp_path / "s")
    done = imig.push(tmp_path / "s", "me/both", validate=False)
    assert done.address() == "hf://datasets/me/both/train"
    ids = imig.Dataset(folder).ids
    for side in ("train", "validation"):
        assert imig.Dataset(f"hf://datasets/me/both/{side}").ids == ids
    card = hub.repositories["me/both"].files["README.md"].decode()
    assert "path: validation/basic-*.tar" in card
    with pytest.raises(UsageError) as caught:
        imig.Dataset("hf://datasets/me/both")
    assert "hf://datasets/me/both/train" in caught.value.cure


def test_a_dry_run_lists_all_and_asks_nobody(
    hub: HubServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(folder), "me/mine", "--dry-run", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["files"]
    assert listed == {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert main(["push", str(folder), "me/mine", "--dry-run"]) == 0
    assert "would send 5 scenes" in capsys.readouterr().out
    assert hub.requests == []


def test_a_card_without_columns_is_remarked_on(hub: HubServer, tmp_path: Path) -> None:
    done = imig.push(write_tiny_dataset(tmp_path / "d"), "me/mine")
    (remark,) = done.remarks
    assert "does not name the columns" in remark
    assert "imig card" in remark


def test_a_damaged_dataset_stays_here(hub: HubServer, folder: Path) -> None:
    shard = folder / "basic-000000.tar"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"faults: .*shard-checksum") as caught:
        imig.push(folder, "me/mine")
    assert "imig validate" in caught.value.cure
    assert hub.requests == []
    imig.push(folder, "me/mine", validate=False)
    assert hub.repositories["me/mine"].files["basic-000000.tar"] == bytes(data)


def test_a_cut_shard_and_an_unfinished_build_stay_here(hub: HubServer, folder: Path) -> None:
    (folder / ".build").mkdir()
    with pytest.raises(UsageError, match="was left unfinished"):
        imig.push(folder, "me/mine", validate=False)
    (folder / ".build").rmdir()
    (folder / "basic-000001.tar").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"basic-000001\.tar has 3 bytes"):
        imig.push(folder, "me/mine", validate=False)
    (folder / "dataset.json").unlink()
    with pytest.raises(UsageError, match=r"not a finished dataset: it has no dataset\.json"):
        imig.push(folder, "me/mine", validate=False)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "name", "said"),
    [
        (None, "me/mine", "there is no token to write hf://datasets/me/mine with"),
        ("hf_expired_token", "me/mine", "the hub does not accept the token"),
        (TOKEN, "you/yours", "this token may not write hf://datasets/you/yours: You don't have"),
    ],
    ids=["no token", "a bad token", "no right"],
)
def test_who_may_not_write_is_told_so(
    hub: HubServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str | None,
    name: str,
    said: str,
) -> None:
    use_hub(hub, monkeypatch, token=token)
    assert main(["push", str(folder), name]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert token is None or token not in printed.out + printed.err
    assert hub.repositories == {}


def test_a_server_that_repeats_the_token_is_not_repeated(hub: HubServer, folder: Path) -> None:
    hub.refuse["/api/repos/create"] = (403, f"Bearer {TOKEN} may not")
    with pytest.raises(UsageError, match=r"Bearer \[token\] may not") as caught:
        imig.push(folder, "me/mine", validate=False)
    assert TOKEN not in str(caught.value)


def test_private_is_never_public(hub: HubServer, folder: Path) -> None:
    imig.push(folder, "me/mine", validate=False)
    with pytest.raises(UsageError, match="is there, and is public"):
        imig.push(folder, "me/mine", private=True, validate=False)


def test_no_hub_and_no_network(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        imig.push(folder, "me/mine", validate=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"cannot reach .* at http://127\.0\.0\.1:9"):
        imig.push(folder, "me/mine", validate=False)


def test_a_repository_that_is_not_there_or_not_for_us(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="there is no hf://datasets/me/nothing, or it is private"):
        imig.Dataset("hf://datasets/me/nothing")
    imig.push(folder, "me/mine", private=True, validate=False)
    use_hub(hub, monkeypatch, token=None)
    with pytest.raises(UsageError, match="or it is private and this token may not see it"):
        imig.Dataset("hf://datasets/me/mine")


@pytest.mark.parametrize("name", ["mine", "a/b/c", "me/", "me/..", "me/with space", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a dataset repository"):
        repository_name(name)


def test_the_address_is_a_name_too() -> None:
    assert repository_name("hf://datasets/me/mine/") == "me/mine"


@pytest.mark.long
def test_the_command_by_itself_with_its_environment(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    """As people run it: nothing of this process but variables."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "home"),
        "HF_DEBUG": "1",  # the client logs every request as a curl command
    }
    done = subprocess.run(
        [sys.executable, "-m", "imig", "push", str(folder), "me/mine"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "dataset.json" in hub.repositories["me/mine"].files
