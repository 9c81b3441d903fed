"""The samples of datasets, written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from imig.output.writing import Contents, write_shards
from imig.sample import Sample
from imig.schema import Subset
from imig.shards.dataset import Dataset
from imig.stores.path import OutputPath


def copy_samples(
    parents: Sequence[Dataset],
    folder: OutputPath,
    contents: Contents,
    *,
    change: Callable[[int, Sample], Sample | None],
) -> None:
    """Write the samples of datasets anew, subset by subset, in the order of the datasets.

    Shards become as full as the fullest of theirs.

    Parameters
    ----------
    change:
        What becomes of a sample of the dataset of that number; None: it stays out. Bytes that it
        leaves alone are passed on as they are stored.

    Raises
    ------
    DataError
        When a dataset is damaged, or the folder cannot be written.
    """
    counts = [record.samples for parent in parents for record in parent.manifest.shards]

    def changed(subset: Subset) -> Iterator[Sample]:
        for number, parent in enumerate(parents):
            if subset in parent.subsets:
                for scene, files in parent.walk_shards(subset=subset):
                    sample = change(number, Sample(scene, files))
                    if sample is not None:
                        yield sample

    for subset in sorted({subset for parent in parents for subset in parent.subsets}):
        write_shards(
            folder,
            changed(subset),
            contents,
            subset=subset,
            scenes_per_shard=max(counts),
        )
