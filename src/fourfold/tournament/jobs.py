"""One run of a comparison: its job, its folder, and the process that does it.

A local comparison, an executor of a wing and ``python -m fourfold.tournament.jobs FOLDER`` all end in :func:`run`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from fourfold.engine import locked
from fourfold.machine.regular import json_object
from fourfold.machine.threads import set_threads, waiting
from fourfold.metrics import Measurement
from fourfold.runs.files import write_json
from fourfold.runs.lock import LOCK
from fourfold.tournament.health import health_of
from fourfold.tournament.settings import Protocol, Settings

__all__ = ["FORMAT", "Job", "Outcome", "commands", "outcome_of", "prepare", "read_job", "run"]

FORMAT = 3
"""The format of ``result.json``. A result in another format is measured again, with the weights of the run."""


@final
@dataclass(frozen=True)
class Job:
    """One paradigm with one seed. The first fields define the training, and ``evaluation`` the measurement.

    Attributes:
        paradigm: a name that :func:`fourfold.build` takes.
        seed: seed of weights, order and samples.
        budget, size, precision, compile, device: arguments of :func:`fourfold.fit`.
        data: the file of the data set, from :func:`~fourfold.tournament.snapshot.save_snapshot`.
        digest: digest of the data.
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
        """The folder of this run: its name describes the job, and ends in a digest of all that decides the training."""
        fields = {k: v for k, v in asdict(self).items() if k not in ("evaluation", "data")}
        key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
        name = f"{self.paradigm}-{self.size}-{self.budget}-seed{self.seed}-{key}".replace("/", "_").replace(" ", "")
        return runs_dir / name


@final
@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: its result or the reason of its failure, and the seconds of its process this time."""

    job: Job
    folder: Path
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    seconds: float = 0.0


def read_job(folder: Path) -> Job:
    """The job that a folder was made for."""
    return Job.from_record(json.loads((folder / "job.json").read_text(encoding="utf-8")))


def prepare(job: Job, runs_dir: Path, resume: bool = True) -> Path:
    """Write a job that is not finished into its folder, for a process that does it later. Return the folder.

    Raises:
        RunInUse: if another comparison works in the folder.
    """
    folder = job.folder(runs_dir)
    if not resume or _valid_result(folder, job) is None:
        with locked(folder, "part of a comparison that is made"):
            _begin(folder, job, resume)
    return folder


def outcome_of(job: Job, folder: Path) -> Outcome | None:
    """The outcome of a job. ``None`` if it has not ended."""
    result, failure = _valid_result(folder, job), json_object(folder / "failure.json")
    return Outcome(job, folder, result, None if result else failure) if result or failure else None


def run(job: Job, runs_dir: Path, resume: bool = True, progress: bool = True, threads: int | None = None) -> Outcome:
    """Run a job in a process of its own, or take its finished result. A crash is an outcome, not an exception.

    Args:
        job: the job.
        runs_dir: the folder of all runs.
        resume: whether a finished result is taken and an unfinished run continued. Otherwise it is moved to
            ``NAME.old``.
        progress: whether the progress bar of the process is shown.
        threads: how many threads the process computes with. By default as many as this one.

    Raises:
        KeyboardInterrupt: when interrupted, after the process has saved its state.
        RunInUse: if another comparison works in the folder.
    """
    folder = job.folder(runs_dir)
    result = _valid_result(folder, job)
    if resume and result is not None:
        return Outcome(job, folder, result)
    with locked(folder, "part of a comparison that is made") as lock:
        _begin(folder, job, resume)
        start = time.perf_counter()
        code = _process(folder, progress, lock, threads)
        seconds = time.perf_counter() - start
    result = _valid_result(folder, job)
    if result is not None:
        return Outcome(job, folder, result, seconds=seconds)
    return Outcome(job, folder, failure=json_object(folder / "failure.json") or _unexplained(code), seconds=seconds)


def _begin(folder: Path, job: Job, resume: bool) -> None:
    """Make a folder ready for its job."""
    if not resume:
        _move_aside(folder)
    for stale in ("result.json", "failure.json"):
        (folder / stale).unlink(missing_ok=True)
    write_json(folder / "job.json", asdict(job))


def _valid_result(folder: Path, job: Job) -> dict[str, Any] | None:
    """The result of a job, if there is one in this format, measured by the job's protocol, with readable scores."""
    result = json_object(folder / "result.json")
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if result["format"] == FORMAT and result["evaluation"] == asdict(job.evaluation):
            for record in [*result["scores"], *(sweep["score"] for sweep in result["sweep"])]:
                Measurement.from_record(record)
            health_of(result, job.budget)
            return result
    return None


def _move_aside(folder: Path) -> None:
    """Move everything but the lock to ``NAME.old``, whose earlier content is removed."""
    paths = [path for path in folder.iterdir() if path.name != LOCK]
    if not paths:
        return
    aside = folder.with_name(f"{folder.name}.old")
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir()
    for path in paths:
        path.rename(aside / path.name)


def _process(folder: Path, progress: bool, lock: int, threads: int | None) -> int:
    """Run the worker to its end. On an interruption let it save, then pass the interruption on.

    The worker has a session of its own, so that only this process gets the signals of the terminal, and passes them on
    once. The worker inherits the lock, and ends when its standard input ends: it outlives this process by no more than
    its current step. ``-P`` prevents that files of the current folder are imported.
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
            env={**os.environ, **waiting(), **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})},
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
    """Ask a process to save and end. Kill it if it does not end by itself."""
    try:
        process.terminate()
        process.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _unexplained(code: int) -> dict[str, Any]:
    """The failure of a process that wrote neither a result nor a failure."""
    if code >= 0:
        return {"error": "exit", "message": f"the process ended with status {code} and left no result"}
    name = signal.Signals(-code).name
    hint = ": out of memory? Try a smaller --size" if name == "SIGKILL" else ""
    return {"error": name, "message": f"the process was ended by {name}{hint}"}


def commands(jobs: Sequence[Job], settings: Settings) -> list[str]:
    """Write every job into its folder. Return the command of each. Finished ones are left out."""
    runs_dir = Path(settings.runs_dir).absolute()
    folders = [(job, prepare(job, runs_dir, settings.resume)) for job in jobs]
    words = [sys.executable, "-P", "-m", "fourfold.tournament.jobs"]
    return [
        shlex.join([*words, str(folder)])
        for job, folder in folders
        if not (settings.resume and (folder / "result.json").exists())
    ]


def main(arguments: list[str] | None = None) -> int:
    """Do the job of a folder: ``python -m fourfold.tournament.jobs FOLDER``. 0 if it has a result."""
    (folder,) = map(Path, sys.argv[1:] if arguments is None else arguments)
    set_threads()
    try:
        outcome = run(read_job(folder), folder.parent, progress=sys.stderr.isatty())
    except KeyboardInterrupt:
        return 130
    if outcome.failure is not None:
        print(f"{folder}: failed: {outcome.failure['message']}", file=sys.stderr)
    return 0 if outcome.result is not None else 1


if __name__ == "__main__":
    sys.exit(main())
