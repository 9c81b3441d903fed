"""Which stages share workers, and how many there are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imig.engine.groups import (
    MEMORY_SHARE,
    SMALL_BYTES,
    SMALL_TOGETHER_BYTES,
    WORKER_BYTES,
    Fuse,
    Group,
    StageLoad,
    group_stages,
    second_copies,
)
from imig.engine.machine import Machine
from imig.recipe.parts import ModelConfig, Resources

LAPTOP = Machine(cpus=4, gpus=0, memory=64 << 30)
WORKSTATION = Machine(cpus=16, gpus=2, memory=256 << 30)
CLIP = ModelConfig(family="open-clip")
DINO = ModelConfig(family="dinov2")
GROUNDER = ModelConfig(family="grounding-dino", weights="/big")


def load(
    name: str, *models: ModelConfig, size: int = 1 << 20, batch_size: int = 8, **asked: float
) -> StageLoad:
    resources = Resources.model_validate({"batch_size": batch_size, **asked})
    return StageLoad(name, resources, dict.fromkeys(models, size))


def groups_of(*loads: StageLoad, fuse: Fuse = "auto", machine: Machine = LAPTOP) -> list[Group]:
    return group_stages(loads, fuse=fuse, machine=machine, blocks=100)


def shape(groups: list[Group]) -> str:
    return " ".join(f"{group.workers}x{group.name}" for group in groups)


SMALL = (
    load("source"),
    load("score", CLIP, DINO),
    load("quality", CLIP, batch_size=3),
    load("write"),
)
BIG = load("ground", GROUNDER, size=SMALL_BYTES + 1)


@pytest.mark.parametrize(
    ("loads", "fuse", "machine", "expected"),
    [
        (SMALL, "auto", LAPTOP, "4xsource+score+quality+write"),
        (SMALL, "auto", WORKSTATION, "8xsource+score+quality+write"),
        (SMALL, "never", LAPTOP, "1xsource 1xscore 1xquality 1xwrite"),
        ((load("source"), load("crop"), load("write")), "never", LAPTOP, "1xsource+crop+write"),
        # a large model gets workers of its own, and splits what is small
        ((SMALL[0], BIG, *SMALL[1:]), "auto", LAPTOP, "1xsource 1xground 1xscore+quality+write"),
        ((SMALL[0], BIG, *SMALL[1:]), "always", LAPTOP, "4xsource+ground+score+quality+write"),
        # so does a stage that asks for more, or less, than others have
        (
            (SMALL[0], load("score", CLIP, concurrency=3), SMALL[3]),
            "auto",
            LAPTOP,
            "1xsource 3xscore 1xwrite",
        ),
        # whoever needs nothing but what the worker has loaded rides along
        (
            (load("score", CLIP, DINO, gpus=0.1), load("quality", CLIP, gpus=0.1), load("write")),
            "auto",
            WORKSTATION,
            "1xscore+quality 1xwrite",
        ),
        (
            (load("score", CLIP, gpus=0.1), load("quality", CLIP, gpus=0.2)),
            "auto",
            WORKSTATION,
            "1xscore 1xquality",
        ),
        # shares of a GPU add up when all stages share a worker
        (
            (load("draw", CLIP, gpus=0.6), load("ground", GROUNDER, gpus=0.4)),
            "always",
            WORKSTATION,
            "2xdraw+ground",
        ),
    ],
)
def test_who_shares_workers(
    loads: tuple[StageLoad, ...], fuse: Fuse, machine: Machine, expected: str
) -> None:
    assert shape(groups_of(*loads, fuse=fuse, machine=machine)) == expected


def test_small_models_that_are_large_together_are_divided() -> None:
    models = [ModelConfig(family="dinov2", weights=f"/{i}") for i in range(5)]
    loads = [load(f"stage{i}", model, size=SMALL_BYTES) for i, model in enumerate(models)]
    assert SMALL_TOGETHER_BYTES == 4 * SMALL_BYTES
    assert shape(groups_of(*loads)) == "1xstage0+stage1+stage2+stage3 1xstage4"


def test_a_stage_that_waits_for_a_server_waits_in_its_own_worker() -> None:
    asking = replace(load("agree"), asks_server=True)
    assert shape(groups_of(load("source"), asking, load("write"))) == "1xsource 1xagree 1xwrite"


def test_no_more_workers_than_memory_and_blocks_allow() -> None:
    scarce = Machine(cpus=64, gpus=0, memory=int(3.5 * WORKER_BYTES / MEMORY_SHARE))
    assert groups_of(load("source"), machine=scarce)[0].workers == 3
    narrow = group_stages([load("source")], fuse="auto", machine=WORKSTATION, blocks=2)
    assert narrow[0].workers == 2
    tiny = Machine(cpus=1, gpus=0, memory=1 << 20)
    assert groups_of(load("source"), machine=tiny)[0].workers == 1


def test_a_model_counts_once_in_a_worker_and_workers_share_gpus() -> None:
    (group,) = groups_of(*SMALL, machine=WORKSTATION)
    assert group.weights == 2 << 20
    assert (group.gpus, group.cpus) == (0.25, 1.0)
    on_cpu = ModelConfig(family="open-clip", device="cpu")
    (group,) = groups_of(load("score", on_cpu), machine=WORKSTATION)
    assert (group.workers, group.gpus) == (16, 0.0)


def test_what_is_loaded_more_than_once_is_said() -> None:
    loads = (
        load("reground", GROUNDER, size=700, gpus=0.1),
        load("compose", CLIP, gpus=0.4),
        load("ground", GROUNDER, size=700, gpus=0.05),
    )
    groups = groups_of(*loads, machine=WORKSTATION)
    assert list(second_copies(groups, loads)) == [("grounding-dino:/big in reground, ground", 700)]
    assert list(second_copies(groups_of(*SMALL), SMALL)) == []
