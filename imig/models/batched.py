"""A model that several stages share, each with batches of its own size."""

from __future__ import annotations

import copy
from typing import Self


class Batched:
    """A family whose networks see at most so many pictures, or captions, at once."""

    _batch_size: int

    def with_batch_size(self, batch_size: int) -> Self:
        """The same networks, for batches of another size: nothing is loaded again."""
        twin = copy.copy(self)
        twin._batch_size = batch_size
        return twin
