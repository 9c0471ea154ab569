"""Kill ranks of a training at random moments; torchrun starts them again, and the run goes on from its checkpoints.

    python benchmarks/kills.py --kills 20
    python benchmarks/kills.py --kills 20 --machines 2

Two processes train a model in shards under ``torchrun --max-restarts``. Again and again, after a random number of
steps or while they start, one of them, drawn at random, gets SIGKILL. At the end the run has taken all its steps, its
log holds every one of them once and in order, its weights open, and they are those of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

RESULTS = Path(__file__).parent / "results"
EARLY = 0.25
"""The share of the kills that come within four seconds of a start, before a step is taken."""


def steps_of(folder: Path) -> list[int]:
    """The steps that the log of a run has lines of."""
    log = folder / "log.jsonl"
    return [json.loads(line)["step"] for line in log.read_text().split("\n")[:-1]] if log.exists() else []


def workers_of(agents: list[subprocess.Popen[bytes]]) -> list[int]:
    """The processes that agents of torchrun have started."""
    children = [Path(f"/proc/{agent.pid}/task/{agent.pid}/children") for agent in agents]
    pids = [int(pid) for path in children if path.exists() for pid in path.read_text().split()]
    return [pid for pid in pids if "fourfold" in command_of(pid)]


def command_of(pid: int) -> str:
    """The command line of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def commands(folder: Path, steps: int, kills: int, machines: int) -> list[list[str]]:
    """The training under torchrun: one agent of two processes, or two agents of one process each."""
    meeting = "--standalone"
    if machines == 2:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            meeting = f"--nnodes 2 --rdzv-backend c10d --rdzv-endpoint localhost:{free.getsockname()[1]}"
    run = f"-m torch.distributed.run {meeting} --nproc-per-node {2 // machines} --monitor-interval 0.1"
    fit = "-m fourfold fit diffusion two-moons --size xs --precision float32 --batch-size 32 --parallel fsdp"
    more = f"--max-restarts {2 * kills + 5} {fit} --budget '{steps} steps' --checkpoint-every 0 --keep-last --out"
    return [[sys.executable, *shlex.split(f"{run} {more}"), str(folder)]] * machines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--machines", type=int, default=1, choices=(1, 2), help="agents of torchrun, as on two machines"
    )
    given = parser.parse_args()
    draw, each = random.Random(given.seed), 6
    steps = each * (given.kills + 1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        folder, calm = Path(place) / "killed", Path(place) / "calm"
        agents = [
            subprocess.Popen(line, env=environment) for line in commands(folder, steps, given.kills, given.machines)
        ]

        def trains() -> bool:
            return all(agent.poll() is None for agent in agents)

        waits, restarts = list[float](), list[float]()
        while trains() and len(waits) < given.kills:
            start, at = time.monotonic(), max(steps_of(folder), default=0)
            while trains() and len(workers_of(agents)) < 2:
                time.sleep(0.05)
            if draw.random() < EARLY:
                time.sleep(4 * draw.random())
            else:
                while trains() and max(steps_of(folder), default=0) <= at < steps - 1:
                    time.sleep(0.05)
                restarts.append(time.monotonic() - start)
                wanted = at + draw.randint(1, each)
                while trains() and max(steps_of(folder), default=0) < min(wanted, steps - 1):
                    time.sleep(0.05)
                time.sleep(draw.random() * 0.5)
            workers = workers_of(agents)
            if len(workers) < 2:
                continue
            os.kill(draw.choice(workers), signal.SIGKILL)
            start = time.monotonic()
            while trains() and any(command_of(pid) for pid in workers):
                time.sleep(0.05)
            waits.append(time.monotonic() - start)
            print(
                f"kill {len(waits)}: at step {max(steps_of(folder), default=0)}, all gone after {waits[-1]:.1f} s",
                flush=True,
            )
        codes = [agent.wait() for agent in agents]
        subprocess.run(commands(calm, steps, 0, 1)[0], env=environment, check=True)
        weights, expected = load_file(folder / "weights.safetensors"), load_file(calm / "weights.safetensors")
        card = json.loads((folder / "card.json").read_text())
        result = {
            "kills": len(waits),
            "machines": given.machines,
            "seed": given.seed,
            "exit_codes": codes,
            "steps": card["steps"],
            "steps_wanted": steps,
            "log_holds_every_step_once": steps_of(folder) == list(range(1, steps + 1)),
            "largest_difference_of_weights": max(
                float((weights[key].double() - expected[key].double()).abs().max()) for key in expected
            ),
            "seconds_until_all_were_gone": [round(seconds, 2) for seconds in sorted(waits)],
            "seconds_until_the_first_new_step": [round(seconds, 1) for seconds in sorted(restarts[1:])],
            "load": round(os.getloadavg()[0], 1),
        }
    if given.kills >= 20:
        name = "kills.json" if given.machines == 1 else "kills-two-machines.json"
        (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    sys.exit(any(codes) or result["steps"] != steps or result["largest_difference_of_weights"] > 1e-6)


if __name__ == "__main__":
    main()
