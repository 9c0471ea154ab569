"""The runs of a comparison as tasks of Ray."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from fourfold.engine import RunInUse
from fourfold.settings.declaration import Option, setting
from fourfold.tournament.executors import Executor
from fourfold.tournament.jobs import Job, Outcome, prepare, run
from fourfold.tournament.settings import Settings

__all__ = ["Ray"]

RETRIES = 3
"""How often a run begins again, from its last checkpoint, after its node or process was lost."""
WAIT = 60
"""Seconds in which the process of a lost worker saves and ends, and in which Ray must answer."""


@final
@dataclass(frozen=True)
class Ray(Executor):
    """Makes the runs as tasks of Ray, many at a time: ``--executor ray`` or ``--executor ray:cpus=4,gpus=1``.

    A task does on its node what a local comparison does: a process of its own works in the job's folder, which must be
    on a disk that all nodes share. Whatever is lost with a node goes on from the folder on another node.

    Attributes:
        address: the address of a cluster. ``auto`` is one that runs here, or a new one of this machine alone.
        cpus: processors of each task. By default all that a node has, so that no run disturbs another.
        gpus: GPUs of each task.

    Raises:
        ValueError: for a number out of range.
    """

    address: str = setting("auto", Option(str, "Address of a cluster; auto is one that runs here, or a new one."))
    cpus: int | None = setting(None, Option(int, "Processors of each task.", min=1, show_default="those of a node"))
    gpus: float = setting(0.0, Option(float, "GPUs of each task.", min=0))

    def __post_init__(self) -> None:
        if self.cpus is not None and self.cpus < 1:
            raise ValueError(f"cpus of a task must be at least 1, got {self.cpus}")
        if not self.gpus >= 0:
            raise ValueError(f"gpus of a task must be at least 0, got {self.gpus:g}")

    def device(self, name: str) -> str:
        return ("cuda" if self.gpus else "cpu") if name == "auto" else name

    def outcomes(
        self, jobs: Sequence[Job], settings: Settings, progress: bool = True
    ) -> Generator[Outcome, None, None]:
        """Do every job as a task, and yield the outcomes as they come.

        Raises:
            ValueError: without Ray, if it does not answer, or if no node has what a task needs.
        """
        ray = _ray()
        runs_dir = Path(settings.runs_dir).absolute()
        connect = not ray.is_initialized()
        if connect:
            _connect(self.address)
        try:
            cpus = self._cpus(ray.nodes())
            for job in jobs:
                prepare(job, runs_dir, settings.resume)
            task = ray.remote(num_cpus=cpus, num_gpus=self.gpus, max_retries=RETRIES)(_do)
            tasks = {task.remote(job, str(runs_dir), cpus): job for job in jobs}
            yield from _outcomes(tasks, runs_dir)
        finally:
            if connect:
                ray.shutdown()

    def _cpus(self, nodes: Sequence[Mapping[str, Any]]) -> int:
        """The processors of a task: those asked for, else all that a node has for each task, on the smallest node.

        Raises:
            ValueError: if no node has what a task needs.
        """
        resources = [node["Resources"] for node in nodes if node["Alive"]]
        able = [r for r in resources if r.get("GPU", 0) >= self.gpus and r.get("CPU", 0) >= (self.cpus or 1)]
        if not able:
            inventory = "; ".join(f"{r.get('CPU', 0):g} processors, {r.get('GPU', 0):g} GPUs" for r in resources)
            raise ValueError(
                f"no node of Ray has the {self.cpus or 1} processors and {self.gpus:g} GPUs of a run (they have "
                f"{inventory}): ask for fewer, as in --executor ray:cpus=1,gpus=0"
            )
        if self.cpus is not None:
            return self.cpus
        return int(min(r["CPU"] // max(r.get("GPU", 0) // self.gpus if self.gpus else 1, 1) for r in able))


def _ray() -> Any:
    """The library, whose types are not complete.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ValueError("--executor ray needs Ray: pip install '.[cluster]' in its clone") from None


def _connect(address: str) -> None:
    """Join a cluster: that of an address or, for ``auto``, one that runs here, or else an own one on this machine."""
    ray = _ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=None if address == "auto" else address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"no Ray cluster answers at {address} ({reason}): start one, or leave address out") from None


def _outcomes(tasks: Mapping[Any, Job], runs_dir: Path) -> Iterator[Outcome]:
    """The outcome of each task when it ends. If the caller ends before, the tasks save and end too."""
    ray = _ray()
    open_tasks = list(tasks)
    try:
        while open_tasks:
            (task, *_), open_tasks = ray.wait(open_tasks)
            try:
                yield ray.get(task)
            except ray.exceptions.RayError as error:
                job, kind = tasks[task], type(error).__name__
                failure = {"error": kind, "message": f"its worker was lost {RETRIES + 1} times ({kind})"}
                yield Outcome(job, job.folder(runs_dir), failure=failure)
    finally:
        for task in open_tasks:
            ray.cancel(task)
        if open_tasks:
            ray.wait(open_tasks, num_returns=len(open_tasks), timeout=WAIT)


def _do(job: Job, runs_dir: str, threads: int) -> Outcome:
    """Do a job on this node. The process of a worker that was lost may still save. It is waited for."""
    folder = job.folder(Path(runs_dir))
    if not (folder / "job.json").exists() or not Path(job.data).exists():
        missing = folder if Path(job.data).exists() else job.data
        message = f"{missing} is not on this node: --runs-dir must be on a disk that all nodes share"
        return Outcome(job, folder, failure={"error": "FileNotFoundError", "message": message})
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return run(job, Path(runs_dir), progress=False, threads=threads)
        except RunInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
