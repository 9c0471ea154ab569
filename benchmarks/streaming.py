"""Trains on a file of images that is ten times the memory of the process, and says what it took.

``python benchmarks/streaming.py --gigabytes 20 --memory 2`` writes an ``.npy`` of random images (or ``--shards``: tars
of PNG), trains a small model on it in a process whose private memory is limited (``RLIMIT_DATA``), and prints memory,
the seconds until the first step, and the share of the steps that waited for data. The file is deleted afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np

SHAPE = (32, 32, 3)


def write_array(path: Path, gigabytes: float) -> None:
    """Images of noise; parts of 64 MB are repeated with another first value, since noise is slow to draw."""
    row = int(np.prod(SHAPE))
    n = int(gigabytes * 1e9) // row
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, *SHAPE)}
    part = np.random.default_rng(0).integers(0, 256, (20_000, row), dtype=np.uint8)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, len(part)):
            part[:, 0] = start // len(part) % 256
            file.write(part[: n - start].data)


def write_shards(folder: Path, gigabytes: float) -> None:
    """Tars of a thousand PNG each."""
    from PIL import Image

    rng, written, shard = np.random.default_rng(0), 0, 0
    contents = []
    for _ in range(1000):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, SHAPE, dtype=np.uint8)).save(file, "PNG", compress_level=0)
        contents.append(file.getvalue())
    while written < gigabytes * 1e9:
        with tarfile.open(folder / f"{shard:06d}.tar", "w") as tar:
            for i, content in enumerate(contents):
                info = tarfile.TarInfo(f"{shard:06d}{i:06d}.png")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
                written += 512 + 512 * -(-len(content) // 512)
        shard += 1


def memory() -> dict[str, float]:
    """Megabytes that this process has in memory: its own (RssAnon), and of files (RssFile)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "RssFile", "VmHWM"))}
    return {name: int(kilobytes) / 1024 for name, kilobytes in found.items()}


def train(path: str, steps: int, limit: float, workers: int) -> None:
    """Train within the limit, and print one JSON object."""
    start = time.perf_counter()
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    import torch

    import fourfold
    from fourfold.engine import loader, loop

    torch.set_num_threads(1)
    loaded = time.perf_counter()
    loop.free_workers = lambda device, processes: workers
    waited: list[float] = []
    ask = loader.Ahead.__call__

    def timed(self: loader.Ahead, step: int) -> object:
        before = time.perf_counter()
        batch = ask(self, step)
        waited.append(time.perf_counter() - before)
        return batch

    loader.Ahead.__call__ = timed  # type: ignore[method-assign, assignment]
    dataset = fourfold.load(path, stream=True)
    opened = time.perf_counter()
    model = fourfold.build("diffusion", dataset.space, size="xs")
    seconds, private = [], []
    first = 0.0
    for step in fourfold.train(model, dataset, budget=f"{steps} steps"):
        first = first or time.perf_counter() - start
        seconds.append(step.seconds)
        private.append(memory()["RssAnon"])
    tail = waited[10:]
    print(
        json.dumps(
            {
                "examples": dataset.examples,
                "batch": model.training_defaults.batch_size,
                "import_s": round(loaded - start, 2),
                "open_s": round(opened - loaded, 2),
                "first_step_s": round(first, 2),
                "step_ms": round(1e3 * float(np.median(seconds[10:])), 2),
                "waited_ms_median": round(1e3 * float(np.median(tail)), 3),
                "waited_share": round(sum(tail) / sum(seconds[10:]), 4),
                "longest_wait_ms": round(1e3 * max(tail), 1),
                "private_MB_after_10_steps": round(private[10]),
                "private_MB_at_the_end": round(private[-1]),
                "peak_MB": round(memory()["VmHWM"]),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--memory", type=float, default=2.0, help="GiB of private memory of the process")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shards", action="store_true", help="tars of PNG instead of an .npy")
    parser.add_argument("--folder", type=Path, default=Path("streaming-benchmark"))
    parser.add_argument("--keep", action="store_true", help="keep the data")
    parser.add_argument("--path", help="train on this in the present process")
    given = parser.parse_args()
    if given.path:
        train(given.path, given.steps, given.memory, given.workers)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / ("shards" if given.shards else "images.npy")
    if not path.exists():
        start = time.perf_counter()
        if given.shards:
            path.mkdir()
            write_shards(path, given.gigabytes)
        else:
            write_array(path, given.gigabytes)
        print(f"wrote {path} in {time.perf_counter() - start:.0f} s", flush=True)
    arguments = ["--path", str(path), "--steps", str(given.steps), "--memory", str(given.memory)]
    try:
        subprocess.run([sys.executable, __file__, *arguments, "--workers", str(given.workers)], check=True)
    finally:
        if not given.keep:
            for file in [path] if path.is_file() else sorted(path.iterdir()):
                file.unlink()


if __name__ == "__main__":
    main()
