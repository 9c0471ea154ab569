"""Runs in processes of their own: what is kept, what is moved aside, who may run, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fourfold.tournament
from fourfold.data import load
from fourfold.engine import RunInUse, resumable
from fourfold.paradigms import build
from fourfold.runs import lock
from fourfold.tasks.evaluation import draw, examples
from fourfold.tournament import Settings
from fourfold.tournament.jobs import Job, _valid_result, run
from fourfold.tournament.settings import Protocol
from fourfold.tournament.tournament import _jobs
from fourfold.tournament.worker import _sweep

SMALL = {"size": "xs", "precision": "float32", "n": 64, "likelihood_examples": 16, "patience": 5.0, "sweep": False}
LONG = "100000 steps"


def adversarial_job(runs: Path, budget: str = "3 steps") -> Job:
    settings = Settings(budget=budget, runs_dir=str(runs), **SMALL)
    return _jobs(settings, ["adversarial"], [load("two-moons", limit=400)], "cpu")[0]


def wait_for(path: Path) -> None:
    """Return once a file is there and not empty."""
    while not path.exists() or not path.stat().st_size:
        time.sleep(0.01)


def ended(pid: int) -> bool:
    """Whether a process has ended, or is only waited for."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture(scope="module")
def finished_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    """A finished run, made in a folder that holds files named like modules."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("statistics", "rich", "random"):
        (folder / f"{name}.py").write_text("import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()")
    job = adversarial_job(folder / "runs")
    with contextlib.chdir(folder):
        assert run(job, folder / "runs", progress=False).result is not None
    return job, folder / "runs"


def test_files_of_the_current_folder_are_not_imported(finished_job: tuple[Job, Path]) -> None:
    assert not list(finished_job[1].parent.glob("*.ran"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda result: result.update(format=1),
        lambda result: result["scores"][1].update(value="<script>alert(1)</script>"),
        lambda result: result["scores"].append(["not a score"]),
        lambda result: result.update(steps="many"),
    ],
)
def test_a_result_that_is_not_ours_is_not_taken(finished_job: tuple[Job, Path], damage) -> None:
    job, runs = finished_job
    path = job.folder(runs) / "result.json"
    whole = path.read_text()
    assert _valid_result(path.parent, job) is not None
    result = json.loads(whole)
    damage(result)
    path.write_text(json.dumps(result))
    assert _valid_result(path.parent, job) is None
    path.write_text(whole)


def test_a_result_in_another_format_is_measured_again_of_the_same_weights(finished_job: tuple[Job, Path]) -> None:
    job, runs = finished_job
    folder = job.folder(runs)
    for name in ("result.json", "trained.json"):
        old = {k: v for k, v in json.loads((folder / name).read_text()).items() if k not in ("format", "epochs")}
        (folder / name).write_text(json.dumps(old))
    before = (folder / "run" / "weights.safetensors").read_bytes()
    outcome = run(job, runs, progress=False)
    assert outcome.result is not None
    assert outcome.result["steps"] == 3
    assert "share" not in outcome.result["usage"]  # nothing was trained now
    assert (folder / "run" / "weights.safetensors").read_bytes() == before


def test_fresh_moves_the_old_run_aside_and_runs_again(finished_job: tuple[Job, Path]) -> None:
    job, runs = finished_job
    folder = job.folder(runs)
    aside = folder.with_name(f"{folder.name}.old")
    (aside / "older").mkdir(parents=True)
    before = (folder / "run" / "weights.safetensors").stat().st_ino
    outcome = run(job, runs, resume=False, progress=False)
    assert outcome.failure is None
    assert outcome.result is not None
    assert not outcome.result["resumed"]
    assert (aside / "run" / "weights.safetensors").stat().st_ino == before
    assert not (aside / "older").exists()
    assert run(job, runs, progress=False).seconds == 0  # what is there now is taken as it is


@contextlib.contextmanager
def comparing(runs: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A comparison in a process of its own, once its worker trains."""
    code = (
        "import sys; from fourfold.tournament import compare; from fourfold.data import load\n"
        f"compare(load('two-moons', limit=400), budget={LONG!r}, paradigms=['adversarial'], runs_dir={str(runs)!r}, "
        f"out={str(runs / 'report.html')!r}, progress=False, **{SMALL!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(fourfold.tournament.__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=environment) as parent:
        wait_for(folder / "run" / "log.jsonl")
        try:
            yield parent
        finally:
            parent.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent_and_its_state_is_saved(tmp_path: Path, number: signal.Signals) -> None:
    job = adversarial_job(tmp_path, LONG)
    folder = job.folder(tmp_path)
    with comparing(tmp_path, folder) as parent:
        (worker,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        with pytest.raises(RunInUse, match="process"):
            run(job, tmp_path, progress=False)  # meanwhile nobody else works in that folder
        parent.send_signal(number)
        _, stderr = parent.communicate(timeout=60)
        while not ended(worker):
            time.sleep(0.01)
    assert resumable(folder / "run")
    assert json.loads((folder / "run" / "card.json").read_text())["steps"] > 0
    assert not json.loads((folder / "run" / "card.json").read_text())["done"]
    if number != signal.SIGKILL:
        assert (
            f"stopped by {number.name} after 0 of 1 runs; go on with: fourfold.compare(dataset, budget=".encode()
            in stderr
        )


@pytest.mark.skipif(os.name != "posix", reason="descriptors are inherited on POSIX alone")
def test_a_worker_that_outlives_its_parent_holds_the_folder(tmp_path: Path) -> None:
    """The lock is inherited: it is free when parent and worker have ended, not when the parent has."""
    code = (
        "import pathlib, runpy, subprocess, sys\n"
        f"locked = runpy.run_path({lock.__file__!r})['locked']\n"
        f"with locked(pathlib.Path({str(tmp_path)!r})) as held:\n"
        "    worker = 'import sys; print(1, flush=True); sys.stdin.read()'\n"
        "    subprocess.run([sys.executable, '-c', worker], pass_fds=(held,))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        parent.kill()
        assert parent.wait() == -signal.SIGKILL
        with pytest.raises(RunInUse), lock.locked(tmp_path):
            pass
    while True:  # its input has ended, so it ends
        with contextlib.suppress(RunInUse), lock.locked(tmp_path):
            break
        time.sleep(0.01)


def test_fewer_steps_are_tried_of_a_sampler_that_draws_one_token_at_a_time(tmp_path):
    """Its 0 steps stand for as many as there are tokens, so there are no more to try."""
    path = tmp_path / "rows.csv"
    path.write_text("colour,shape,size,age\n" + "red,round,1,7\nblue,square,2,8\nred,square,3,9\n" * 10)
    data = load(path)
    model = build("diffusion", data.space, "xs")
    assert model.sampler.steps == 0
    draws = examples(data, 40)
    job = Job("diffusion", 0, "1 steps", "xs", "", data.digest, Protocol(40, None, 10, True, 60.0))
    sweep = _sweep(model, data, draws, job, draw(model, len(draws.test), 0, None, 60.0))
    assert [swept.steps for swept in sweep] == [1, 2]
