"""imig: build multi-instance, identity-annotated image datasets, read them, and train on them.

What a user does on the command line, and what that gives::

    dataset = imig.build("demo", output="shards", limit=24)
    assert not imig.validate("shards").faults
    scene = dataset["basic-00000002"]
    scene.target                      # PIL image, decoded on first use
    scene.instances[0].mask           # numpy bool, (height, width)
    imig.preview(scene).save("scene.png")
    adapter = imig.train("shards", output="runs/first", overrides={"steps": 200})

`REFERENCE 2.1` in a comment is section 2.1 of docs/reference.md: facts of the paper and its code.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imig.api import (
        bench,
        build,
        diff,
        evaluate,
        export_dataset,
        import_dataset,
        preview,
        push,
        train,
        validate,
    )
    from imig.shards.dataset import Dataset

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "__version__",
    "bench",
    "build",
    "diff",
    "evaluate",
    "export_dataset",
    "import_dataset",
    "preview",
    "push",
    "train",
    "validate",
]

_HOME = {
    "Dataset": "imig.shards.dataset",
    "bench": "imig.api",
    "build": "imig.api",
    "diff": "imig.api",
    "evaluate": "imig.api",
    "export_dataset": "imig.api",
    "import_dataset": "imig.api",
    "preview": "imig.api",
    "push": "imig.api",
    "train": "imig.api",
    "validate": "imig.api",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that `import imig` and `imig --help` load neither numpy nor pandas.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'imig' has no attribute {name!r}")
