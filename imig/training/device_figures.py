"""What the machine can do and what it is doing: peak FLOP/s, memory."""

from __future__ import annotations

import resource
import sys

import torch

PEAK_FLOPS = {
    "H200": 989.4e12,
    "GH200": 989.4e12,
    "H100 NVL": 835.5e12,
    "H100 PCIe": 756.5e12,
    "H100": 989.4e12,
    "A100": 311.9e12,
}
"""FLOP/s of dense bfloat16 matrices with the full power budget (NVIDIA's data sheets).

The first name that is a part of the device's name counts."""


def peak_flops(device_name: str) -> float | None:
    """Peak FLOP/s of a GPU in dense bfloat16 by the name that its driver gives it.

    None for a GPU that is not in the table, and for a part of one (MIG).
    """
    if "MIG" in device_name:
        return None
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)


def device_peak_flops(device: torch.device) -> float | None:
    """`peak_flops` of a device; None for a CPU."""
    return peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def peak_memory(device: torch.device) -> int:
    """Most bytes that tensors took on the GPU so far; of a CPU, that the process took."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
