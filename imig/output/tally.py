"""What a stage did, counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from imig.shards.funnel import Oddity


@dataclass
class StageTally:
    """What a stage did, over a block or a whole build."""

    seen: int = 0
    rejected: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    oddities: dict[str, Oddity] = field(default_factory=dict)
    """By kind."""
    batch_sizes: dict[int, int] = field(default_factory=dict)
    """Batch size -> scenes, where the recipe leaves it open or the memory was too small for its."""

    def add(self, other: StageTally) -> None:
        self.seen += other.seen
        self.rejected += other.rejected
        self.quarantined += other.quarantined
        self.seconds += other.seconds
        for kind, oddity in other.oddities.items():
            self.oddities.setdefault(kind, Oddity()).add(oddity)
        for size, scenes in other.batch_sizes.items():
            self.batch_sizes[size] = self.batch_sizes.get(size, 0) + scenes

    @property
    def passed(self) -> int:
        """Scenes that went on to the next stage."""
        return self.seen - self.rejected - self.quarantined
