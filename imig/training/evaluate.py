"""What a model makes of held-out scenes: its loss at fixed times and noise, and pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from imig.contextgen.batch import make_batch
from imig.contextgen.components import LatentCodec, load_scheduler
from imig.contextgen.drawing import draw
from imig.contextgen.scene_layout import picture_seed
from imig.display.result_picture import draw_result
from imig.sample import derive_seed
from imig.training.objective import flow_loss
from imig.training.processes import process_count, process_rank
from imig.training.session import Session

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Each held-out scene is measured at one of them, in turn."""


@torch.no_grad()
def validation_loss(session: Session) -> float:
    """Mean flow-matching loss of the held-out scenes; the same scenes, times and noise always.

    All processes call this, each measures its part.
    """
    count, world = len(session.data.validation), process_count()
    total = torch.zeros(2, device=session.device)
    # FSDP2 gathers weights in every forward pass: all processes need as many
    for turn in range(-(-count // world)):
        number = turn * world + process_rank()
        loss = _scene_loss(session, min(number, count - 1))
        if number < count:
            total += torch.stack((loss, torch.ones_like(loss)))
    if world > 1:
        dist.all_reduce(total)
    return float(total[0] / total[1])


def _scene_loss(session: Session, number: int) -> torch.Tensor:
    """() float32."""
    encoded = session.encode([session.data.validation_sample(number)])
    batch = make_batch(encoded, attention=session.recipe.attention)
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


def draw_pictures(session: Session) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Ids and pictures of the first held-out scenes: layout, references, result, target.

    What `imig generate --from-shards` draws of the same scene, references and adapter, too. All
    processes draw (FSDP2 needs all of them); the VAE is loaded for this and let go again.
    """
    recipe = session.recipe
    codec = LatentCodec.load(session.components, session.dtype, session.device)
    scheduler = load_scheduler(session.components)
    for number in range(min(recipe.watch.pictures, len(session.data.validation))):
        pictures = session.data.validation_pictures(number)
        encoded = session.encode([session.data.validation_sample(number)])
        [drawn] = draw(
            session.model,
            encoded,
            codec=codec,
            scheduler=scheduler,
            seeds=[picture_seed(pictures.id)],
            steps=recipe.watch.sampling_steps,
            guidance=recipe.objective.guidance,
            dtype=session.dtype,
        )
        yield pictures.id, np.asarray(draw_result(pictures, drawn).convert("RGB"))
