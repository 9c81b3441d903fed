"""How fast the tabletop draws scenes (image, masks and caption) on one thread.

python benchmarks/tabletop_render.py [--scenes 200] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from imig.tabletop import render_scene, sample_scene

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
REQUIRED_AT_256 = 60.0


def measure(size: int, scenes: int) -> dict[str, float]:
    """Scenes a second at size x size, by wall clock and by processor time, with 2-8 things."""
    render_scene(sample_scene(0, width=size, height=size))
    wall, processor = time.perf_counter(), time.process_time()
    instances = 0
    for seed in range(scenes):
        instances += len(render_scene(sample_scene(seed, width=size, height=size)).instances)
    processor = time.process_time() - processor
    wall = time.perf_counter() - wall
    return {
        "size": size,
        "scenes": scenes,
        "instances_per_scene": instances / scenes,
        "scenes_per_second": scenes / wall,
        "scenes_per_processor_second": scenes / processor,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200, help="scenes at 256 (fewer at larger)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when numpy is loaded
        os.environ.update(dict.fromkeys(THREADS, "1"))
        os.execv(sys.executable, [sys.executable, *sys.argv])
    rows = [
        measure(size, max(4, arguments.scenes * 256 * 256 // (size * size)))
        for size in (256, 512, 1024)
    ]
    print(f"{'size':>6} {'scenes':>7} {'scenes/s':>10} {'per CPU s':>10} {'required':>9}")
    for row in rows:
        required = f"{REQUIRED_AT_256:.0f}" if row["size"] == 256 else "-"
        print(
            f"{row['size']:>6.0f} {row['scenes']:>7.0f} {row['scenes_per_second']:>10.1f} "
            f"{row['scenes_per_processor_second']:>10.1f} {required:>9}"
        )
    if arguments.json:
        result = {
            "benchmark": "tabletop_render",
            "required_scenes_per_second_at_256": REQUIRED_AT_256,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
