"""Two processes (gloo) that train, save and load; each writes what it found as JSON."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from imig.errors import DataError
from imig.training.optimizer import clip_gradients
from imig.training.processes import any_process, gather_objects, on_first_process
from imig.training.prodigy import Prodigy
from imig.training.recipe import WatchConfig
from imig.training.run_folder import checkpoint_path
from imig.training.watch import StepFigures, Watch
from support.training_doubles import FakeAdapted, trainable
from support.training_runs import SmallRun, small_recipe


def work(rank: int, count: int, folder: str) -> None:
    """What each process does; started by `torch.multiprocessing.spawn`."""
    torch.set_num_threads(1)
    store = Path(folder) / "rendezvous"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    try:
        found = {
            "agreement": _agree(rank),
            "fsdp prodigy": _train(Path(folder), "fsdp prodigy", _sharded),
            "fsdp adamw": _train(Path(folder), "fsdp adamw", _sharded),
            "ddp prodigy": _train(Path(folder), "ddp prodigy", _replicated),
            "average": _swap(),
            "norm": _norm(),
            "estimate": estimate_rate(_sharded()),
            "damage": _load_damaged(Path(folder)),
            "watch": _watch(Path(folder), rank),
        }
    finally:
        dist.destroy_process_group()
    (Path(folder) / f"found-{rank}.json").write_text(json.dumps(found))


def _sharded() -> nn.Module:
    model = FakeAdapted()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model.first, mesh=mesh)
    # The second layer belongs to the root, which keeps what it gathered after a forward.
    fully_shard(model, mesh=mesh)
    return model


def _replicated() -> nn.Module:
    return DistributedDataParallel(FakeAdapted())


def _train(folder: Path, name: str, make: Callable[[], nn.Module]) -> dict[str, Any]:
    """4 + 4 steps, the last 4 again from the checkpoint, and from one of a single process."""
    kind = name.split()[1]
    recipe = small_recipe(kind=kind)
    undisturbed = SmallRun(recipe, model=make())
    first = undisturbed.train(4, fixed_noise=True)
    checkpoint = undisturbed.save(folder / name)
    second = undisturbed.train(4, fixed_noise=True)
    resumed = SmallRun(recipe, model=make())
    resumed.load(checkpoint)
    after = resumed.train(4, fixed_noise=True)
    values = undisturbed.values()
    other = SmallRun(recipe, model=make())
    other.load(checkpoint_path(folder / f"single {kind}", 4))
    return {
        "losses": first + second,
        "resumed": after,
        "same_bits": all(
            torch.equal(_local(value), _local(values[key]))
            for key, value in resumed.values().items()
        ),
        "from_single": other.train(4, fixed_noise=True),
    }


def _swap() -> list[bool]:
    """The averages count within, the learned values after, whatever FSDP2 had gathered before."""
    small = SmallRun(small_recipe(), model=_sharded())
    small.train(6, fixed_noise=True)
    with small.average.swapped(small.model):
        averages = {
            name: _whole(one.detach()).clone() for name, one in trainable(small.model).items()
        }
    learned = {name: _whole(one.detach()) for name, one in trainable(small.model).items()}
    x = torch.ones(2, 6)

    def expected(values: dict[str, Tensor]) -> Tensor:
        single = FakeAdapted()
        single.load_state_dict(values, strict=False)
        return single(x)  # type: ignore[no-any-return]

    with torch.no_grad():
        before = small.model(x)
        with small.average.swapped(small.model):
            within = small.model(x)
        after = small.model(x)
        return [
            torch.allclose(before, expected(learned)),
            torch.allclose(within, expected(averages)),
            torch.allclose(after, expected(learned)),
            not torch.allclose(before, within),
        ]


def estimate_rate(model: nn.Module) -> list[float]:
    """Prodigy's estimate after 40, 60, 80 and 100 steps, and the last loss."""
    optimizer = Prodigy(trainable(model).values())
    found = []
    for step in range(100):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        loss = (model(x) - x[:, :3]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (39, 59, 79, 99):
            found.append(float(optimizer.param_groups[0]["d"]))
    return [*found, loss.item()]


def _norm() -> float:
    model = _sharded()
    model(torch.ones(2, 6)).square().sum().backward()
    return clip_gradients(trainable(model).values(), 0.5).item()


def _load_damaged(folder: Path) -> str:
    checkpoint = checkpoint_path(folder / "damaged prodigy", 4)
    try:
        SmallRun(small_recipe(), model=_sharded()).load(checkpoint)
    except DataError as error:
        return error.message
    return ""


def _agree(rank: int) -> list[Any]:
    return [
        any_process(rank == 1),
        any_process(False),
        gather_objects({"rank": rank}),
        on_first_process(lambda: os.getpid()) == os.getpid(),
    ]


def _watch(folder: Path, rank: int) -> str:
    text = io.StringIO()
    config = WatchConfig(log_every=2)
    console = Console(file=text, width=200)
    with Watch(folder / "watched", config, steps=2, console=console) as watch:
        for step in (1, 2):
            loss = torch.tensor(float(10 * rank + step))
            watch.step(step, StepFigures(loss, loss, 3, 50, 100, 1e-4))
    return text.getvalue()


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value
