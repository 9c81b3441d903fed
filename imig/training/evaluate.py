"""What a model makes of held-out scenes: its loss at fixed times and noise, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from imig.contextgen.batch import make_batch
from imig.contextgen.components import LatentCodec, load_scheduler
from imig.contextgen.drawing import draw
from imig.contextgen.sample import PictureSample
from imig.contextgen.scene_layout import picture_seed
from imig.display.result_picture import draw_result
from imig.sample import derive_seed
from imig.training.data import Sample, Skipped
from imig.training.objective import flow_loss
from imig.training.processes import gather_objects, process_count, process_rank
from imig.training.session import Session

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Each held-out scene is measured at one of them, in turn."""


@torch.no_grad()
def validation_loss(
    session: Session, *, step: int = 0, check: Callable[[], None] = lambda: None
) -> float:
    """Mean flow-matching loss of the held-out scenes; the same scenes, times and noise always.

    All processes call this, each measures its part. Damaged scenes are left out, and counted, where
    the recipe allows for them.

    Parameters
    ----------
    step:
        That is done.
    check:
        Called by all processes before each scene; what it raises ends the measuring.
    """
    count, world = len(session.data.validation), process_count()
    total = torch.zeros(2, device=session.device)
    found: list[Skipped] = []
    # FSDP2 gathers weights in every forward pass: all processes need as many
    for turn in range(-(-count // world)):
        check()
        number = turn * world + process_rank()
        scene = session.data.validation_scene(min(number, count - 1))
        loss = _scene_loss(session, scene.samples, number)
        if number < count:
            found += scene.skipped
            if scene.places:
                total += torch.stack((loss, torch.ones_like(loss)))
    if world > 1:
        dist.all_reduce(total)
    session.skipped.take(chain.from_iterable(gather_objects(found)), step=step)
    return float(total[0] / total[1])


def _scene_loss(session: Session, samples: Sequence[Sample], number: int) -> torch.Tensor:
    """() float32."""
    batch = make_batch(session.encode(samples), attention=session.recipe.attention)
    batch = batch.to(session.device, session.dtype)
    seed = derive_seed("validation", batch.ids[0])
    noise = torch.randn(batch.layout.shape, generator=torch.Generator().manual_seed(seed))
    t = torch.tensor([TIMES[number % len(TIMES)]], device=session.device)
    with session.autocast():
        return flow_loss(
            session.shared,
            batch,
            noise=noise.to(session.device),
            t=t,
            guidance=session.recipe.objective.guidance,
        ).mean()


def draw_pictures(
    session: Session, *, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Ids and pictures of the first held-out scenes: layout, references, result, target.

    What `imig generate --from-shards` draws of the same scene, references and adapter, too. All
    processes draw (FSDP2 needs all of them); the VAE is loaded for this and let go again. Damaged
    scenes are passed over where the recipe allows for them.

    Parameters
    ----------
    check:
        Called by all processes before each step of each picture; what it raises ends the drawing.
    """
    recipe = session.recipe
    codec = LatentCodec.load(session.components, session.dtype, session.device)
    scheduler = load_scheduler(session.components)
    for number in range(min(recipe.watch.pictures, len(session.data.validation))):
        scene = session.data.validation_scene(number, pictures=True)
        if not scene.places:
            continue
        shown, drawn_from = scene.samples
        assert isinstance(shown, PictureSample)
        [drawn] = draw(
            session.model,
            [one.to(session.device) for one in session.encode([drawn_from])],
            codec=codec,
            scheduler=scheduler,
            seeds=[picture_seed(shown.id)],
            steps=recipe.watch.sampling_steps,
            guidance=recipe.objective.guidance,
            dtype=session.dtype,
            progress=lambda step: check(),
        )
        yield shown.id, np.asarray(draw_result(shown, drawn).convert("RGB"))
