"""One run of a comparison: what is asked, where it is kept, and how its process is started and watched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from fourfold.engine import locked
from fourfold.engine.files import write_json
from fourfold.engine.lock import LOCK
from fourfold.metrics import Measurement
from fourfold.threads import waiting
from fourfold.tournament.health import health_of
from fourfold.tournament.settings import Protocol

__all__ = ["FORMAT", "Job", "Outcome", "read_job", "run"]

FORMAT = 2
"""Of ``result.json``; what an earlier version measured is measured again, of the weights that are there."""


@final
@dataclass(frozen=True)
class Job:
    """One paradigm, one seed. The first fields decide what is trained, ``evaluation`` how it is measured.

    Attributes:
        paradigm: a name that :func:`fourfold.build` takes.
        seed: of weights, order and samples.
        budget, size, precision, compile, device: as :func:`fourfold.fit` takes them.
        data: the file of the data set, from :func:`~fourfold.tournament.snapshot.save_snapshot`.
        digest: of the data.
        evaluation: how the trained model is measured.
    """

    paradigm: str
    seed: int
    budget: str
    size: str
    data: str
    digest: str
    evaluation: Protocol
    precision: str | None = None
    compile: bool | None = None
    device: str = "auto"

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Job:
        """The job whose fields were written as a JSON value."""
        return cls(**{**record, "evaluation": Protocol(**record["evaluation"])})

    def folder(self, runs_dir: Path) -> Path:
        """Where this run is kept: its name tells what it is, and its last part changes with everything trained."""
        fields = {k: v for k, v in asdict(self).items() if k not in ("evaluation", "data")}
        key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
        name = f"{self.paradigm}-{self.size}-{self.budget}-seed{self.seed}-{key}".replace("/", "_").replace(" ", "")
        return runs_dir / name


@final
@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, or with a failure that says why; and the seconds its process took this time."""

    job: Job
    folder: Path
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    seconds: float = 0.0


def read_job(folder: Path) -> Job:
    """The job that a folder was made for."""
    return Job.from_record(json.loads((folder / "job.json").read_text(encoding="utf-8")))


def run(job: Job, runs_dir: Path, resume: bool = True, progress: bool = True) -> Outcome:
    """Run a job in a process of its own, or take its finished result; a crash of it is an outcome, not an exception.

    Args:
        job: what to run.
        runs_dir: the folder of folders.
        resume: take what is finished and go on with what is not; otherwise what is there is moved aside, to ``NAME.old``.
        progress: show the process's progress bar.

    Raises:
        KeyboardInterrupt: when interrupted, after the process has saved its state.
        RunInUse: if another comparison works in the folder.
    """
    folder = job.folder(runs_dir)
    result = _finished(folder, job)
    if resume and result is not None:
        return Outcome(job, folder, result)
    with locked(folder, "part of a comparison that is made") as lock:
        if not resume:
            _move_aside(folder)
        for stale in ("result.json", "failure.json"):
            (folder / stale).unlink(missing_ok=True)
        write_json(folder / "job.json", asdict(job))
        start = time.perf_counter()
        code = _process(folder, progress, lock)
        seconds = time.perf_counter() - start
    result = _finished(folder, job)
    if result is not None:
        return Outcome(job, folder, result, seconds=seconds)
    return Outcome(job, folder, failure=_read(folder / "failure.json") or _unexplained(code), seconds=seconds)


def _finished(folder: Path, job: Job) -> dict[str, Any] | None:
    """The result of a job, if there is one of this version, measured as the job asks, with scores that can be read."""
    result = _read(folder / "result.json")
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if result is not None and result["format"] == FORMAT and result["evaluation"] == asdict(job.evaluation):
            for record in [*result["scores"], *(other["score"] for other in result["sweep"])]:
                Measurement.from_record(record)
            health_of(result, job.budget)
            return result
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object, or ``None`` where there is no whole one."""
    with contextlib.suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else None
    return None


def _move_aside(folder: Path) -> None:
    """Move everything but the lock to ``NAME.old``, in the place of what was moved there before."""
    found = [path for path in folder.iterdir() if path.name != LOCK]
    if not found:
        return
    aside = folder.with_name(f"{folder.name}.old")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)


def _process(folder: Path, progress: bool, lock: int) -> int:
    """Run the worker to its end; on an interruption let it save, then pass the interruption on.

    The worker is a session of its own, so that only this process hears the terminal, and tells it once. It inherits the lock,
    and ends when its standard input does: it outlives this process by no more than the step it is in. ``-P`` keeps files of
    the current folder from being imported.
    """
    arguments = [
        sys.executable,
        "-P",
        "-m",
        "fourfold.tournament.worker",
        str(folder),
        *([] if progress else ["--quiet"]),
    ]
    with (folder / "output.txt").open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=None if progress else output,
            env={**os.environ, **waiting()},
            start_new_session=True,
            pass_fds=(lock,) if os.name == "posix" else (),
        )
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _let_save(process)
            raise
        finally:
            assert process.stdin is not None
            process.stdin.close()
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    return code


def _let_save(process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Ask a process to save and end; end it if it does not end by itself."""
    try:
        process.terminate()
        process.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _unexplained(code: int) -> dict[str, Any]:
    """What is said of a process that left no word."""
    if code >= 0:
        return {"error": "exit", "message": f"the process ended with status {code} and left no result"}
    name = signal.Signals(-code).name
    hint = ": out of memory? Try a smaller --size" if name == "SIGKILL" else ""
    return {"error": name, "message": f"the process was ended by {name}{hint}"}
