"""Runs of a comparison elsewhere: printed as commands, gathered into one report."""

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import Fake, fake_comparison, near  # noqa: F401

from fourfold.data import Dataset
from fourfold.tournament import Settings, gather, print_jobs, run_comparison
from fourfold.tournament.jobs import main as do_job
from small_comparison import SMALL, SOURCE


def test_printed_jobs_run_anywhere_and_are_gathered(moons: Dataset, tmp_path: Path) -> None:
    settings = Settings(runs_dir=str(tmp_path / "runs"), **{**SMALL, "paradigms": ("adversarial",)})
    (line,) = print_jobs(moons, settings)
    environment = {**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"}
    subprocess.run(shlex.split(line), check=True, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert print_jobs(moons, settings) == []  # nothing is left to do
    comparison = gather([tmp_path / "runs"], tmp_path / "report.html")
    assert [entry.name for entry in comparison.entries if entry.has_scores] == ["adversarial"]
    assert comparison.planned == 1
    own = run_comparison(moons, settings, progress=False)  # takes the finished run
    assert own.settings == replace(comparison.settings, out=None, runs_dir=settings.runs_dir, device="cpu")
    assert [e.scores for e in own.entries] == [e.scores for e in comparison.entries]
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
    with pytest.raises(ValueError, match="got 2 without a result"):
        gather([tmp_path / "runs"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_runs_of_several_comparisons_are_refused(moons: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="must hold runs"):
        gather([tmp_path])
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "a"), **SMALL))
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "b"), **SMALL))
    with pytest.raises(ValueError, match="both adversarial with seed 0"):
        gather([tmp_path / "a", tmp_path / "b"])
    other = {**SMALL, "paradigms": ("diffusion",), "budget": "70 steps"}
    print_jobs(moons, Settings(runs_dir=str(tmp_path / "c"), **other))
    with pytest.raises(ValueError, match="budget must be"):
        gather([tmp_path / "a", tmp_path / "c"])


def machine(cpu: str) -> dict[str, Any]:
    return {key: {"host": "node", "cpu": cpu, "cores": 8} for key in ("machine", "sampled_on")}


def test_unlike_hardware_is_marked_and_not_ranked(fake_comparison, moons: Dataset, tmp_path: Path) -> None:  # noqa: F811
    x = near(moons, 200, 0.1)
    fakes = {name: Fake(x, result=machine("A")) for name in ("flow", "diffusion")}
    alike = fake_comparison(fakes, runs_dir=str(tmp_path / "alike"))
    assert not any(entry.marks for entry in alike.entries)
    assert "For look" in str(alike)
    comparison = fake_comparison(
        {**fakes, "adversarial": Fake(x, result=machine("B"))}, runs_dir=str(tmp_path / "unlike")
    )
    text = str(comparison)
    assert "Other hardware: adversarial: trained on B, 8 cores, others on A, 8 cores" in " ".join(text.split())
    assert "adversarial !" in text
    assert "flow !" not in text
    assert "For look" not in text
    assert set(comparison.places) == {"node: A, 8 cores", "node: B, 8 cores"}


def test_an_executor_that_is_not_installed_is_refused(moons: Dataset) -> None:
    with pytest.raises(ValueError, match=r"executor must be one of .* got 'nowhere'"):
        run_comparison(moons, Settings(executor="nowhere:cpus=2"))
