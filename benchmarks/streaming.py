"""Trains on data that is ten times the memory of the process, and says what it took.

    python benchmarks/streaming.py --gigabytes 20 --memory 2 --steps 300           # an .npy of images
    python benchmarks/streaming.py --gigabytes 20 --memory 2 --kind shards         # tars of PNG
    python benchmarks/streaming.py --gigabytes 5 --memory 2 --kind text            # a text, read as bytes

``fourfold fit`` trains a small model in a process whose private memory is limited (``RLIMIT_DATA``): the script looks
on from outside, at the log of the run and at the memory of the process. For images, the share of the steps that waited
for data is measured inside a second process. The data is deleted afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "streaming.json"
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


def write_text(path: Path, gigabytes: float) -> None:
    """Words of Zipf's law in lines; parts of 64 MB are repeated, each behind a line with its number."""
    rng = np.random.default_rng(0)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    drawn = rng.geometric(0.12, (50_000, 12)).clip(1, 26) - 1
    words = ["".join(letters[i] for i in row[: rng.integers(1, 12)]) for row in drawn]
    indices = np.minimum(rng.zipf(1.3, 12_000_000), len(words)) - 1
    lines = (" ".join(words[i] for i in indices[j : j + 12]) for j in range(0, len(indices), 12))
    part = "\n".join(lines).encode()[:64_000_000] + b"\n"
    with path.open("wb") as file:
        while file.tell() < gigabytes * 1e9:
            file.write(f"part {file.tell()}\n".encode() + part)


def memory(process: int | str = "self") -> dict[str, float]:
    """Megabytes that a process has in memory: its own (RssAnon), of files (RssFile), and the most of both (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    figures = {
        line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "RssFile", "VmHWM"))
    }
    return {name: int(kilobytes) / 1024 for name, kilobytes in figures.items()}


def of_file(process: int, path: Path) -> float:
    """Megabytes of a file that a process has mapped and that are in memory: the system takes them back if it must."""
    total, inside = 0, False
    for line in Path(f"/proc/{process}/smaps").read_text(encoding="utf-8").splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path.resolve()))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total / 1024


def look_on(path: Path, kind: str, steps: int, limit: float) -> dict[str, float]:
    """Run ``fourfold fit`` within the limit, and tell when it took its first step and what memory it had."""
    run = path.parent / "run"
    shutil.rmtree(run, ignore_errors=True)
    how = (
        ["autoregressive/likelihood", str(path), "--tokens", "bytes"]
        if kind == "text"
        else ["diffusion", str(path), "--stream"]
    )
    command = [sys.executable, "-m", "fourfold", "fit", *how, "--size", "xs", "--budget", f"{steps} steps"]
    start, first, private, files, mapped = time.perf_counter(), 0.0, list[float](), list[float](), list[float]()
    limited = f"ulimit -d {int(limit * 2**20)}; exec {shlex.join([*command, '--out', str(run)])}"
    process = subprocess.Popen(["bash", "-c", limited])
    while process.poll() is None:
        log = run / "log.jsonl"
        if not first and log.exists() and log.stat().st_size:
            first = time.perf_counter() - start
        try:
            now = memory(process.pid)
        except (OSError, ProcessLookupError):
            continue
        if first and now:
            private.append(now["RssAnon"])
            files.append(now["RssFile"])
            mapped.append(of_file(process.pid, path))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"fourfold fit ended with {process.returncode}")
    shutil.rmtree(run)
    return {
        "first_step_s": round(first, 2),
        "all_s": round(time.perf_counter() - start, 1),
        "private_MB_at_the_first_step": round(private[0]),
        "private_MB_at_most": round(max(private)),
        "private_MB_at_the_end": round(private[-1]),
        "of_files_MB_at_most": round(max(files)),
        "of_the_data_MB_at_most": round(max(mapped), 1),
    }


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--memory", type=float, default=2.0, help="GiB of private memory of the process")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kind", choices=("array", "shards", "text"), default="array")
    parser.add_argument("--folder", type=Path, default=Path("streaming-benchmark"))
    parser.add_argument("--keep", action="store_true", help="keep the data")
    parser.add_argument("--write-only", action="store_true", help="write the data and do not train")
    parser.add_argument("--record", action="store_true", help="write the result to benchmarks/results")
    parser.add_argument("--path", help="train on this in the present process")
    given = parser.parse_args()
    if given.path:
        train(given.path, given.steps, given.memory, given.workers)
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / {"array": "images.npy", "shards": "shards", "text": "big.txt"}[given.kind]
    if not path.exists():
        start = time.perf_counter()
        if given.kind == "shards":
            path.mkdir()
        {"array": write_array, "shards": write_shards, "text": write_text}[given.kind](path, given.gigabytes)
        print(f"wrote {path} in {time.perf_counter() - start:.0f} s", flush=True)
    if given.write_only:
        return
    for file in [path] if path.is_file() else path.iterdir():  # nothing of it is in memory when the training begins
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    result: dict[str, object] = {"gigabytes": given.gigabytes, "memory_GiB": given.memory, "steps": given.steps}
    try:
        result["fit"] = look_on(path, given.kind, given.steps, given.memory)
        if given.kind != "text":
            arguments = ["--path", str(path), "--steps", str(given.steps), "--memory", str(given.memory)]
            command = [sys.executable, __file__, *arguments, "--workers", str(given.workers)]
            result["train"] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        result["load"] = round(os.getloadavg()[0], 1)
        print(json.dumps(result, indent=1))
        if given.record:
            before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps(before | {given.kind: result}, indent=1) + "\n")
    finally:
        if not given.keep:
            for file in [path] if path.is_file() else sorted(path.iterdir()):
                file.unlink()


if __name__ == "__main__":
    main()
