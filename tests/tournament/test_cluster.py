"""Runs of a comparison elsewhere: printed as commands, gathered into one report, made as tasks of Ray."""

import json
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import Fake, made, near  # noqa: F401

import fourfold
from fourfold.data import Dataset, load
from fourfold.tournament import Settings, gather, print_jobs, run_comparison
from fourfold.tournament.jobs import main as do_job
from fourfold.tournament.jobs import read_job

SMALL: dict[str, Any] = {
    "budget": "60 steps",
    "paradigms": ("adversarial", "flow"),
    "size": "xs",
    "precision": "float32",
    "device": "cpu",
    "n": 64,
    "likelihood_examples": 16,
    "patience": 5.0,
    "sweep": False,
}
SOURCE = str(Path(fourfold.__file__).parents[1])


@pytest.fixture(scope="module")
def moons() -> Dataset:
    return load("two-moons", limit=400)


def test_printed_jobs_run_anywhere_and_are_gathered(moons: Dataset, tmp_path: Path) -> None:
    settings = Settings(runs_dir=str(tmp_path / "runs"), **{**SMALL, "paradigms": ("adversarial",)})
    (line,) = print_jobs(moons, settings)
    environment = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    subprocess.run(shlex.split(line), check=True, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert print_jobs(moons, settings) == []  # nothing is left to do
    found = gather([tmp_path / "runs"], tmp_path / "report.html")
    assert [entry.name for entry in found.entries if entry.finished] == ["adversarial"]
    assert found.planned == 1
    own = run_comparison(moons, settings, progress=False)  # takes the finished run
    assert own.settings == replace(found.settings, out=None, runs_dir=settings.runs_dir, device="cpu")
    assert [e.scores for e in own.entries] == [e.scores for e in found.entries]
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["places"].values()) == [["adversarial, seed 0"]]


def test_a_job_that_fails_ends_with_status_1(
    moons: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (line, _) = print_jobs(moons, Settings(runs_dir=str(tmp_path / "runs"), **SMALL))
    for snapshot in (tmp_path / "runs" / "data").iterdir():
        snapshot.write_bytes(b"")
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert do_job([shlex.split(line)[-1]]) == 1
    assert "failed:" in capsys.readouterr().err


def test_runs_without_any_result_make_no_report(moons: Dataset, tmp_path: Path) -> None:
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "runs"), **SMALL))
    with pytest.raises(ValueError, match="none of its 2 runs has a result yet"):
        gather([tmp_path / "runs"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_runs_of_several_comparisons_are_refused(moons: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="holds no runs"):
        gather([tmp_path])
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "a"), **SMALL))
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "b"), **SMALL))
    with pytest.raises(ValueError, match="are both adversarial with seed 0"):
        gather([tmp_path / "a", tmp_path / "b"])
    other = {**SMALL, "paradigms": ("diffusion",), "budget": "70 steps"}
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "c"), **other))
    with pytest.raises(ValueError, match="another budget"):
        gather([tmp_path / "a", tmp_path / "c"])


def machine(cpu: str) -> dict[str, Any]:
    return {"machine": {"host": "node", "cpu": cpu, "cores": 8}}


def test_unlike_hardware_is_marked_and_not_ranked(made, moons: Dataset, tmp_path: Path) -> None:  # noqa: F811
    x = near(moons, 200, 0.1)
    fakes = {name: Fake(x, result=machine("A")) for name in ("flow", "diffusion")}
    alike = made(fakes, runs_dir=str(tmp_path / "alike"))
    assert not any(entry.marks for entry in alike.entries)
    assert "For look" in str(alike)
    found = made({**fakes, "adversarial": Fake(x, result=machine("B"))}, runs_dir=str(tmp_path / "unlike"))
    text = str(found)
    assert "Other hardware: adversarial: trained on B, 8 cores, others on A, 8 cores" in " ".join(text.split())
    assert "adversarial !" in text
    assert "flow !" not in text
    assert "For look" not in text
    assert set(found.places) == {"node: A, 8 cores", "node: B, 8 cores"}


def test_processors_and_gpus_belong_to_ray(moons: Dataset) -> None:
    with pytest.raises(ValueError, match="--ray auto"):
        run_comparison(moons, Settings(cpus=2))


# --- Ray --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two local nodes with one processor each, beside a head without any."""
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    before = dict(os.environ)
    os.environ |= {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    about = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **about})
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_a_comparison_on_two_nodes_equals_one_here(nodes: Any, moons: Dataset, tmp_path: Path) -> None:
    settings = Settings(ray="auto", runs_dir=str(tmp_path / "there"), **SMALL)
    there = run_comparison(moons, settings, progress=False)
    assert there.planned == 2
    assert not there.failed
    here = run_comparison(moons, replace(settings, ray=None, runs_dir=str(tmp_path / "here")), progress=False)
    for one, other in zip(there.entries, here.entries, strict=True):
        assert one.name == other.name
        assert [s.value for s in one.scores if s.unit != "ms"] == [s.value for s in other.scores if s.unit != "ms"]
    assert sum(map(len, there.places.values())) == 2
    again = run_comparison(moons, settings, progress=False)  # takes what is finished
    assert [outcome.seconds for entry in again.entries for outcome in entry.outcomes] == [0, 0]


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_what_a_lost_worker_trained_goes_on(nodes: Any, moons: Dataset, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")

    asked = {**SMALL, "paradigms": ("adversarial",), "budget": "1000 steps"}
    settings = Settings(ray="auto", runs_dir=str(tmp_path / "runs"), **asked)
    killed = threading.Event()

    def kill() -> None:
        """Kill the worker of Ray once its process has trained a while."""
        while not (logs := list(tmp_path.glob("runs/*/run/log.jsonl"))) or logs[0].stat().st_size < 500:
            time.sleep(0.05)
        folder = str(logs[0].parents[1])
        for process in psutil.process_iter(["cmdline"]):
            if folder in (process.info["cmdline"] or []):
                os.kill(process.ppid(), signal.SIGKILL)
                killed.set()
                return

    thread = threading.Thread(target=kill)
    thread.start()
    found = run_comparison(moons, settings, progress=False)
    thread.join()
    assert killed.is_set()
    (outcome,) = found.entries[0].outcomes
    assert outcome.result is not None, outcome.failure
    assert outcome.result["resumed"]
    assert outcome.result["steps"] == 1000
    assert read_job(outcome.folder).paradigm == "adversarial"


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore")
def test_more_than_a_node_has_is_refused_at_once(nodes: Any, moons: Dataset, tmp_path: Path) -> None:
    settings = Settings(ray="auto", cpus=64, runs_dir=str(tmp_path), **SMALL)
    with pytest.raises(ValueError, match="no node of Ray has the 64 processors"):
        run_comparison(moons, settings, progress=False)
