"""What strangers' files, and what an earlier run has left, do to the commands that read them.

`make test` plays a sample in its own process; `make test-all` plays all attacks, each in a process
that is watched and bounded.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.attacks.attack import Attack
from support.attacks.running import complaints, inputs_of, play_apart, play_here, prepare
from support.attacks.stage import write_stage
from support.attacks.table import ATTACKS, SAMPLE


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("attack", [pytest.param(one, id=one.id) for one in SAMPLE])
def test_an_attack_costs_what_it_hits_and_no_more(
    attack: Attack, stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.attacks.stand_ins import Eyes

    import imig.evaluation.run as run_module

    monkeypatch.setattr(run_module, "Eyes", Eyes)
    prepare(attack, stage, tmp_path)
    before = inputs_of(tmp_path)
    answer = play_here(attack, tmp_path)
    assert not list(complaints(attack, answer, place=tmp_path, before=before)), answer.text


@pytest.mark.long
@pytest.mark.parametrize("attack", [pytest.param(one, id=one.id) for one in ATTACKS])
def test_an_attack_is_survived(attack: Attack, stage: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    prepare(attack, stage, place)
    before = inputs_of(place)
    answer = play_apart(attack, place)
    assert not list(complaints(attack, answer, place=place, before=before)), answer.text[-3000:]
