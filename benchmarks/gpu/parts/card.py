"""What the card can do: matrix products, copies, transfers. The limit of everything after it."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gpu.journal import Journal
from benchmarks.gpu.timing import seconds_back_to_back, seconds_of
from imig.training.device_figures import device_peak_flops


def measure(journal: Journal, *, small: bool, device: torch.device) -> None:
    """See `benchmarks.gpu.parts`."""
    side = 256 if small else 8192
    for dtype in (torch.bfloat16, torch.float32):
        name = f"matrix product {str(dtype).removeprefix('torch.')}"
        journal.attempt(
            name,
            partial(_multiply, journal, name, side=side, dtype=dtype, device=device),
        )
    journal.attempt("copy", partial(_copy, journal, 2**20 if small else 2**31, device=device))
    if device.type == "cuda":
        journal.attempt("transfer", partial(_transfer, journal, 2**20 if small else 2**30))
    else:
        journal.note("transfers: there is no GPU to send anything to")


def _multiply(
    journal: Journal, name: str, *, side: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Random numbers: of zeros a card makes more than of anything that has to be computed."""
    first, second = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    seconds = seconds_back_to_back(lambda: first @ second, device=device, repeats=20)
    journal.figure(
        name,
        side=side,
        tflops=2 * side**3 / seconds / 1e12,
        data_sheet_tflops=_in_tera(device_peak_flops(device)) if dtype.itemsize == 2 else None,
    )


def _copy(journal: Journal, size: int, *, device: torch.device) -> None:
    """Within the device's memory; bytes are counted when read and when written."""
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = seconds_back_to_back(lambda: target.copy_(source), device=device, repeats=20)
    journal.figure("copy", bytes=size, gb_per_second=2 * size / seconds / 1e9)


def _transfer(journal: Journal, size: int) -> None:
    """Between the machine's memory and the GPU's, one way at a time."""
    device = torch.device("cuda")
    there = torch.empty(size, dtype=torch.uint8, device=device)
    for pinned in (False, True):
        here = torch.randint(256, (size,), dtype=torch.uint8, pin_memory=pinned)
        to_gpu = seconds_of(partial(there.copy_, here), device=device, repeats=5, warm_up=1)
        back = seconds_of(partial(here.copy_, there), device=device, repeats=5, warm_up=1)
        journal.figure(
            "transfer, pinned" if pinned else "transfer",
            to_gpu_gb_per_second=size / to_gpu.median / 1e9,
            from_gpu_gb_per_second=size / back.median / 1e9,
        )


def _in_tera(value: float | None) -> float | None:
    return None if value is None else value / 1e12


def matrix_flops(journal: Journal, *, dtype: str = "bfloat16") -> float | None:
    """FLOP/s of the card's own matrix product, as this part found it in the same run."""
    found = journal.known.get(f"card/matrix product {dtype}")
    return None if found is None else float(found["tflops"]) * 1e12


def copy_bytes(journal: Journal) -> float | None:
    """Bytes a second, read and written, as this part found it in the same run."""
    found = journal.known.get("card/copy")
    return None if found is None else float(found["gb_per_second"]) * 1e9
