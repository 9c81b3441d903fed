"""A GPU that has no memory left: which errors say so, and how what is left over is let go."""

from __future__ import annotations

import gc
import sys
from typing import Final

_WORDS: Final = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "Failed to allocate memory for requested buffer",  # ONNX Runtime
)
"""By which libraries say it beside torch's own class of error."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's memory was too small for what was asked of it; imports nothing."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def out_of_memory_to_text(error: BaseException) -> str:
    """The first sentences of what torch says; it goes on with advice for its developers."""
    text = " ".join(str(error).split("If reserved but unallocated")[0].split())
    return text or type(error).__name__


def release_gpu_memory() -> None:
    """Give back what the failed attempt has left: tensors in circles, and torch's cache of blocks.

    Not while the error is being handled: its traceback holds the tensors.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
