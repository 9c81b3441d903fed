"""Shards in a plain PyTorch loop, without imig's trainer.

    python examples/torch_loop.py shards/

`imig.Dataset` is a sequence: it opens no shard before it is asked, and pickles into workers.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import imig


class Layouts(Dataset[dict[str, torch.Tensor]]):
    """Targets, and boxes of their instances as shares of the sides."""

    def __init__(self, folder: str, *, side: int = 256, most: int = 5) -> None:
        self._dataset = imig.Dataset(folder)
        self._side = side
        self._most = most

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        scene = self._dataset[number]
        target = scene.target.resize((self._side, self._side))
        boxes = torch.zeros(self._most, 4)
        for row, instance in enumerate(scene.instances[: self._most]):
            sides = torch.tensor([scene.width, scene.height] * 2)
            boxes[row] = torch.tensor(instance.box) / sides
        pixels = torch.from_numpy(np.array(target)).permute(2, 0, 1).float() / 127.5 - 1
        return {"target": pixels, "boxes": boxes}


def main(folder: str) -> None:
    loader = DataLoader(Layouts(folder), batch_size=4, shuffle=True)
    for batch in loader:
        print(tuple(batch["target"].shape), tuple(batch["boxes"].shape))


if __name__ == "__main__":
    main(sys.argv[1])
