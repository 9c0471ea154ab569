"""Trainings that die, for ``test_death``: in processes forked from a server that has imported this module."""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import torch

from fourfold.core import parts
from fourfold.data import load
from fourfold.engine import Interrupted, Run, fit, recorder
from fourfold.runs import checkpoint, files

from .test_stages import staged_model
from .toys import game_model

MOONS = load("two-moons", limit=500)
MAKE = {"game": game_model, "staged": staged_model}
STEPS = {"game": 2, "staged": 4}
EVERY = {"game": 0.0, "staged": 60.0}
PHASES = ("half", "whole")


def server():
    """A context whose processes start in no time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # which DDP would load in each process
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        multiprocessing.forkserver.ensure_running()
    return context


def train(kind: str, folder: Path | None, resume: bool = False, steps: int | None = None, **settings) -> Run:
    budget = f"{steps or STEPS[kind]} steps"
    return fit(MAKE[kind](), MOONS, budget=budget, out=folder, resume=resume, precision="float32", **settings)


def alone() -> None:
    """Make a process ready to train."""
    torch.set_num_threads(1)
    parts.packages = lambda: {__name__.partition(".")[0]}


def die_writing(kind: str, folder: Path, at: int, phase: str) -> None:
    """Train and die in the middle of the ``at``-th file that is written, counted from 0, or right after it."""
    alone()
    written, whole = [], files.write_lines

    def dying(path, parts):
        written.append(path)
        if len(written) <= at:
            return whole(path, parts)
        content = b"".join(parts)
        if phase == "whole":
            whole(path, [content])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[: len(content) // 2])
        os._exit(9)

    files.write_lines = recorder.write_lines = checkpoint.write_lines = dying
    train(kind, folder, checkpoint_every=EVERY[kind])
    os._exit(0)


def train_on(kind: str, folder: Path, steps: int) -> None:
    """Train, or go on, with a checkpoint at every step."""
    alone()
    train(kind, folder, (folder / "card.json").exists(), steps, checkpoint_every=0.0)
    os._exit(0)


def free_port() -> int:
    """A port at which two ranks may meet."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def rank(rank: int, port: int, folder: Path, resume: bool, stop: int | None) -> None:
    """One of two ranks that train in stages; the second gets a signal at a step; the status says if it was heard."""
    alone()
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}

    def ask(step):
        if rank == 1 and step.index == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train("staged", folder, resume, 8, observe=ask)
    except Interrupted:
        os._exit(130)
    with contextlib.suppress(RuntimeError):  # the other may have passed it and be gone
        torch.distributed.barrier()
    os._exit(0)
