"""The runs of a comparison as tasks of Ray."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fourfold.engine import RunInUse
from fourfold.tournament.jobs import Job, Outcome, prepare, run
from fourfold.tournament.settings import Settings

__all__ = ["on_ray"]

RETRIES = 3
"""How often a run begins again, from its last checkpoint, after its node or process was lost."""
WAIT = 60
"""Seconds in which the process of a lost worker saves and ends, and in which Ray must answer."""


def on_ray(jobs: Sequence[Job], settings: Settings) -> Iterator[Outcome]:
    """Do every job as a task of Ray, many at a time; yield the outcomes as they come.

    A task does on its node what a local comparison does: a process of its own works in the job's folder, which must be
    on a disk that all nodes share. Whatever is lost with a node goes on from the folder on another node.

    Args:
        jobs: the jobs.
        settings: the address of Ray, and the processors and GPUs of a task.

    Raises:
        ValueError: without Ray, if it does not answer, or if no node has what a task needs.
    """
    ray = _ray()
    runs_dir = Path(settings.runs_dir).absolute()
    started = not ray.is_initialized()
    if started:
        _connect(settings.ray or "auto")
    try:
        cpus = _cpus(ray.nodes(), settings)
        for job in jobs:
            prepare(job, runs_dir, settings.resume)
        task = ray.remote(num_cpus=cpus, num_gpus=settings.gpus, max_retries=RETRIES)(_do)
        tasks = {task.remote(job, str(runs_dir), cpus): job for job in jobs}
        yield from _ended(tasks, runs_dir)
    finally:
        if started:
            ray.shutdown()


def _ray() -> Any:
    """The library, whose types are not complete.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ValueError("--ray needs Ray: pip install '.[cluster]' in its clone") from None


def _connect(address: str) -> None:
    """Join a cluster: that of an address or, for ``auto``, one that runs here, or else an own one on this machine."""
    ray = _ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=None if address == "auto" else address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"--ray {address}: no cluster answers ({reason}): start one, or give --ray auto") from None


def _cpus(nodes: Sequence[dict[str, Any]], settings: Settings) -> int:
    """The processors of a task: those asked for, else all that a node has for each task, on the smallest node.

    Raises:
        ValueError: if no node has what a task needs.
    """
    found = [node["Resources"] for node in nodes if node["Alive"]]
    fit = [one for one in found if one.get("GPU", 0) >= settings.gpus and one.get("CPU", 0) >= (settings.cpus or 1)]
    if not fit:
        have = "; ".join(f"{one.get('CPU', 0):g} processors, {one.get('GPU', 0):g} GPUs" for one in found)
        raise ValueError(
            f"no node of Ray has the {settings.cpus or 1} processors and {settings.gpus:g} GPUs of a run (they have "
            f"{have}): ask for less by --cpus or --gpus"
        )
    if settings.cpus is not None:
        return settings.cpus
    return int(min(one["CPU"] // max(one.get("GPU", 0) // settings.gpus if settings.gpus else 1, 1) for one in fit))


def _ended(tasks: dict[Any, Job], runs_dir: Path) -> Iterator[Outcome]:
    """The outcome of each task when it ends. If the caller ends before, the tasks save and end too."""
    ray = _ray()
    open_tasks = list(tasks)
    try:
        while open_tasks:
            (ended, *_), open_tasks = ray.wait(open_tasks)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as error:
                job, kind = tasks[ended], type(error).__name__
                failure = {"error": kind, "message": f"its worker was lost {RETRIES + 1} times ({kind})"}
                yield Outcome(job, job.folder(runs_dir), failure=failure)
    finally:
        for task in open_tasks:
            ray.cancel(task)
        if open_tasks:
            ray.wait(open_tasks, num_returns=len(open_tasks), timeout=WAIT)


def _do(job: Job, runs_dir: str, threads: int) -> Outcome:
    """Do a job on this node. The process of a worker that was lost may still save; it is waited for."""
    folder = job.folder(Path(runs_dir))
    if not (folder / "job.json").exists() or not Path(job.data).exists():
        missing = folder if Path(job.data).exists() else job.data
        message = f"{missing} is not on this node: --runs-dir must be on a disk that all nodes share"
        return Outcome(job, folder, failure={"error": "FileNotFoundError", "message": message})
    end = time.monotonic() + WAIT
    while True:
        try:
            return run(job, Path(runs_dir), progress=False, threads=threads)
        except RunInUse:
            if time.monotonic() > end:
                raise
            time.sleep(1)
