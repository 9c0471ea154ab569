"""One run of a comparison: what is asked, where it is kept, and how its process is started and watched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

__all__ = ["Job", "Outcome", "read_job", "run", "write_json"]


@final
@dataclass(frozen=True)
class Job:
    """One paradigm, one seed. The first fields decide what is trained, those of ``evaluation`` what is measured of it.

    Attributes:
        paradigm: a name that :func:`fourfold.build` takes.
        seed: of weights, order and samples.
        budget, size, precision, compile, device: as :func:`fourfold.fit` takes them.
        data: the file of the data set, from :func:`~fourfold.compare.snapshot.save_snapshot`.
        digest: of the data.
        evaluation: settings of the measurement: ``n``, ``features``, ``likelihood_examples``, ``patience``, ``sweep``.
    """

    paradigm: str
    seed: int
    budget: str
    size: str
    data: str
    digest: str
    precision: str | None = None
    compile: bool | None = None
    device: str = "cpu"
    evaluation: dict[str, Any] = field(default_factory=dict)

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


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is whole or the old one."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
    part.replace(path)


def read_job(folder: Path) -> Job:
    """The job that a folder was made for."""
    return Job(**json.loads((folder / "job.json").read_text(encoding="utf-8")))


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object, or ``None`` where there is no whole one."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value
    return None


def run(job: Job, runs_dir: Path, resume: bool = True, progress: bool = True) -> Outcome:
    """Run a job in a process of its own, or take its finished result; a crash of it is an outcome, not an exception.

    Args:
        job: what to run.
        runs_dir: the folder of folders.
        resume: take what is finished and go on with what is not; otherwise everything is done again.
        progress: show the process's progress bar.

    Raises:
        KeyboardInterrupt: when interrupted, after the process has saved its state.
    """
    folder = job.folder(runs_dir)
    result = _read(folder / "result.json")
    if resume and result is not None and result["evaluation"] == job.evaluation:
        return Outcome(job, folder, result)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("result.json", "failure.json", *(() if resume else ("trained.json", "run/card.json"))):
        (folder / stale).unlink(missing_ok=True)
    write_json(folder / "job.json", asdict(job))
    start = time.perf_counter()
    code = _process(folder, progress)
    seconds = time.perf_counter() - start
    result = _read(folder / "result.json")
    if result is not None:
        return Outcome(job, folder, result, seconds=seconds)
    return Outcome(job, folder, failure=_read(folder / "failure.json") or _unexplained(code), seconds=seconds)


def _process(folder: Path, progress: bool) -> int:
    """Run the worker to its end; on an interruption let it save, then pass the interruption on."""
    arguments = [sys.executable, "-m", "fourfold.compare.worker", str(folder), *([] if progress else ["--quiet"])]
    with (folder / "output.txt").open("a") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=None if progress else output)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _let_save(process)
            raise
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    return code


def _let_save(process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Wait for a process that was interrupted too; end it if it does not end by itself."""
    try:
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
