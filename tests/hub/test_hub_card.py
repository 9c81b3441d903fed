"""`imig card`: today's card for datasets of yesterday."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.derived_datasets import contents, make_scene, write_dataset
from support.tiny_dataset import write_tiny_dataset

import imig
from imig.cli import main
from imig.errors import UsageError
from imig.hub.card import renew_cards
from imig.output.folder import build_lock
from imig.shards.card import read_front_matter


def test_a_new_card_is_the_one_that_the_dataset_was_made_with(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", [make_scene(number) for number in range(4)])
    before = contents(folder)
    card = (folder / "README.md").read_text().replace("license: unknown", "license: cc-by-4.0")
    old = card[: card.index("configs:")] + card[card.index("---\n\n") :]
    (folder / "README.md").write_text(old)
    (folder / "croissant.json").unlink()
    assert main(["card", str(folder)]) == 0
    assert (folder / "README.md").read_text() == card  # with the licence that was stated
    described = (folder / "croissant.json").read_text()
    assert "creativecommons.org/licenses/by/4.0" in described
    (folder / "README.md").write_text(card.replace("license: cc-by-4.0", "license: other"))
    assert main(["card", str(folder)]) == 0
    assert contents(folder) == before


def test_a_dataset_that_another_command_holds_is_left_alone(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", [make_scene(number) for number in range(2)])
    (folder / "README.md").unlink()
    with build_lock(folder), pytest.raises(UsageError, match="another build writes into"):
        renew_cards(folder)
    assert not (folder / "README.md").exists()
    before = {one.name for one in folder.iterdir()} - {".build"}
    (folder / ".build" / "lock").unlink()
    (folder / ".build").rmdir()
    assert renew_cards(folder) == [folder / "README.md"]
    assert {one.name for one in folder.iterdir()} == before | {"README.md"}
    (folder / ".build").mkdir()
    (folder / ".build" / "remove.json").write_text("{}")  # a removal was killed: it goes on later
    renew_cards(folder)
    assert (folder / ".build" / "remove.json").exists()


def test_of_both_sides_and_of_the_folder_of_a_split(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", [make_scene(number) for number in range(4)])
    words = ["split", str(folder), "--validation", "0.3", "--output", str(tmp_path / "s")]
    assert main(words) == 0
    before = contents(tmp_path / "s")
    for name in ("README.md", "train/croissant.json", "validation/README.md"):
        (tmp_path / "s" / name).unlink()
    assert main(["card", str(tmp_path / "s")]) == 0
    assert contents(tmp_path / "s") == before


def test_a_card_of_somebody_else_stays_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    card = folder / "README.md"
    assert main(["card", str(folder)]) == 2
    assert "somebody else has written it" in capsys.readouterr().err
    assert card.read_text() == "# A tiny dataset for tests\n"
    assert main(["card", str(folder), "--overwrite"]) == 0
    front = read_front_matter(card)
    assert front is not None
    assert [one["config_name"] for one in front["configs"]] == ["basic"]
    assert not imig.validate(folder).faults


def test_a_card_that_was_edited_on_windows_is_ours(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "d", [make_scene(0)])
    card = folder / "README.md"
    text = card.read_text().replace("license: unknown", "license: mit")
    card.write_bytes(text.replace("\n", "\r\n").encode())
    assert main(["card", str(folder)]) == 0
    assert card.read_text() == text


def test_no_dataset_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(tmp_path)]) == 2
    assert "not a finished dataset" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "# x\n", "---\n: [\n---\n", "---\ntags: 1\n---\n", "---\n- a\n---\n", "---\n" * 2, "\0"],
)
def test_what_is_no_card_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert read_front_matter(tmp_path / "README.md") is None
