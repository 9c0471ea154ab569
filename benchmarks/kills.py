"""Kill ranks of a training at random moments; torchrun starts them again, and the run goes on from its checkpoints.

    python benchmarks/kills.py --kills 20

Two processes train a model in shards under ``torchrun --max-restarts``. Again and again, after a random number of
steps, one of them, drawn at random, gets SIGKILL. At the end the run has taken all its steps, its log holds every one
of them once and in order, its weights open, and they are those of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file


def steps_of(folder: Path) -> list[int]:
    """The steps that the log of a run has lines of."""
    log = folder / "log.jsonl"
    return [json.loads(line)["step"] for line in log.read_text().splitlines() if line.strip()] if log.exists() else []


def workers_of(agent: int) -> list[int]:
    """The processes that an agent of torchrun has started."""
    found = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    return [int(pid) for pid in found if "fourfold" in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")]


def command(folder: Path, steps: int, kills: int) -> list[str]:
    """The training under torchrun."""
    run = shlex.split("-m torch.distributed.run --standalone --nproc-per-node 2 --monitor-interval 0.1 --max-restarts")
    fit = shlex.split("-m fourfold fit diffusion two-moons --size xs --precision float32 --batch-size 32 --budget")
    more = shlex.split("--parallel fsdp --checkpoint-every 0 --keep-last --out")
    return [sys.executable, *run, str(kills + 5), *fit, f"{steps} steps", *more, str(folder)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, each = random.Random(given.seed), 6
    steps = each * (given.kills + 1)
    with tempfile.TemporaryDirectory() as place:
        folder, calm = Path(place) / "killed", Path(place) / "calm"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        agent = subprocess.Popen(command(folder, steps, given.kills), env=environment)
        killed, waits = 0, []
        while agent.poll() is None and killed < given.kills:
            wanted = max(steps_of(folder), default=0) + draw.randint(1, each)
            while agent.poll() is None and max(steps_of(folder), default=0) < min(wanted, steps - 1):
                time.sleep(0.05)
            time.sleep(draw.random() * 0.5)
            workers = workers_of(agent.pid) if agent.poll() is None else []
            if len(workers) < 2:
                continue
            os.kill(draw.choice(workers), signal.SIGKILL)
            killed, start = killed + 1, time.monotonic()
            while agent.poll() is None and any(Path(f"/proc/{pid}").exists() for pid in workers):
                time.sleep(0.05)
            waits.append(time.monotonic() - start)
            print(f"kill {killed}: at step {max(steps_of(folder), default=0)}, all gone after {waits[-1]:.1f} s")
        code = agent.wait()
        subprocess.run(command(calm, steps, 0), env=environment, check=True)
        found, expected = load_file(folder / "weights.safetensors"), load_file(calm / "weights.safetensors")
        gap = max(float((found[key].double() - expected[key].double()).abs().max()) for key in expected)
        in_order = steps_of(folder) == sorted(set(steps_of(folder)))
        card = json.loads((folder / "card.json").read_text())
        print(f"exit code {code}; {killed} kills; {card['steps']} of {steps} steps; log in order: {in_order}")
        print(f"the others were gone after {max(waits):.1f} s at most; weights differ by {gap:.2g} from a calm run")


if __name__ == "__main__":
    main()
