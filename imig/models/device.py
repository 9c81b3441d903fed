"""Where models run, and in which number format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from imig.errors import UsageError
from imig.models.libraries import torch


def choose_device(name: str) -> torch.device:
    """`auto` (the first GPU, else the CPU) or a torch device name, checked to be there.

    Raises
    ------
    UsageError
        For an unknown name or a GPU that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"unknown device {name!r}", cure="`auto`, `cpu`, `cuda` or `cuda:1`"
        ) from error
    if device.type not in ("cpu", "cuda"):
        try:
            torch.zeros(1, device=device).cpu()
        except (AssertionError, RuntimeError) as error:
            # Torch's own words are a page of kernels that it does have.
            raise UsageError(
                f"device {name!r} does not work with this machine's torch",
                cure="`auto`, `cpu`, `cuda` or `cuda:1`",
            ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r} is not there: this machine has {torch.cuda.device_count()} GPUs "
            "that torch can use",
            cure="set `device: auto` or `cpu`, or install torch with CUDA",
        )
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU and bfloat16 on a GPU; checkpoints are converted on loading."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return dtypes[name]


def make_deterministic() -> None:
    """Same input, same output: cuDNN must not choose its algorithms by timing them."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch in one thread: several add up in another order, and the bytes would depend on them.

    So what a process makes on a CPU is the same as what one of several workers makes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mixed_precision(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast for networks that keep float32 weights because parts of them need them."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
