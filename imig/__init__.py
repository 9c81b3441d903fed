"""imig: build multi-instance, identity-annotated image datasets, and read them.

The library face is one class::

    dataset = imig.Dataset("shards/")
    scene = dataset["basic-00000042"]
    scene.target                      # PIL image, decoded on first use
    scene.instances[0].mask           # numpy bool, (height, width)

`REFERENCE 2.1` in a comment is section 2.1 of docs/reference.md: facts of the paper and its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imig.shards.dataset import Dataset

__version__ = "0.1.0"
__all__ = ["Dataset", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazily, so that `import imig` and `imig --help` load neither numpy nor pandas.
    if name == "Dataset":
        from imig.shards.dataset import Dataset

        return Dataset
    raise AttributeError(f"module 'imig' has no attribute {name!r}")
