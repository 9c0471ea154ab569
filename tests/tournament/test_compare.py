"""A comparison from end to end: the report, a failure, what is kept, and what seeds are for."""

import io
import json
import math
import re
import subprocess
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from fourfold.data import load
from fourfold.metrics import Measurement
from fourfold.paradigms import build, cards, resolve
from fourfold.runs.card import card_of_model
from fourfold.spaces import Text, Vectors
from fourfold.tournament import Comparison, combine, compare, gather
from fourfold.tournament.jobs import Job, run
from fourfold.tournament.outside import of_settings, paths_by_name
from fourfold.tournament.report import COLOURS
from fourfold.tournament.settings import Settings
from fourfold.tournament.snapshot import load_snapshot, save_snapshot
from fourfold.tournament.tournament import _choose_paradigms
from fourfold.tournament.words import within
from fourfold.tournament.worker import columns
from fourfold.vocabulary import Kind

SMALL = {"size": "xs", "budget": "60 steps", "n": 100, "likelihood_examples": 64, "patience": 5.0, "progress": False}


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    folder = tmp_path_factory.mktemp("compare")
    names = ["autoregressive", "adversarial"]
    out = folder / "report.html"
    return compare("eight-gaussians", paradigms=names, out=out, runs_dir=folder / "runs", sweep=False, **SMALL), folder


def wait_for(path: Path) -> None:
    """Return once a file is there and not empty."""
    while not path.exists() or not path.stat().st_size:
        time.sleep(0.01)


def test_a_snapshot_is_the_data_set(tmp_path: Path) -> None:
    data = load("wine", given="labels")
    save_snapshot(data, tmp_path / "a.safetensors")
    back = load_snapshot(tmp_path / "a.safetensors")
    assert back.space == data.space
    assert back.record() == data.record()
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(back, part).x, getattr(data, part).x)
        assert torch.equal(getattr(back, part).cond, getattr(data, part).cond)


def test_both_are_measured_by_the_same_protocols(two_models: tuple[Comparison, Path]) -> None:
    comparison, _ = two_models
    first, two = comparison.entries
    assert first.name == "autoregressive"  # an exact likelihood comes before none
    assert [s.name for s in first.scores if "[" in s.name] == [s.name for s in two.scores if "[" in s.name]
    assert first.headline is not None
    assert two.headline is not None
    assert first.headline.floor == two.headline.floor
    assert first.likelihood is not None
    assert first.likelihood.kind is Kind.EXACT
    assert two.likelihood is not None
    assert math.isnan(two.likelihood.value)
    evaluations = two.score("evaluations_per_sample")
    assert evaluations is not None
    assert evaluations.value == 1
    assert comparison.truth == pytest.approx(-(math.log(8) + math.log(2 * math.pi * math.e * 0.04)), abs=0.1)


def test_the_report_stands_alone_and_says_what_is_promised(two_models: tuple[Comparison, Path]) -> None:
    comparison, folder = two_models
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 5e6
    assert not re.search(r"<(script|link|iframe)|src=\"(?!data:)|url\(|@import", page)  # nothing from elsewhere
    for word in ("exact", "none", "floor", "peak memory", "Quality against sampling time", comparison.data["digest"]):
        assert word in page
    assert "not to be ranked against the rows above" in page
    assert comparison.command in page.replace("&#39;", "'")
    assert comparison.call in page.replace("&#39;", "'")
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [p["name"] for p in record["paradigms"]] == ["autoregressive", "adversarial"]
    assert record["data"]["digest"] == comparison.data["digest"]


def test_the_terminal_table_fits_eighty_columns(two_models: tuple[Comparison, Path]) -> None:
    comparison, _ = two_models
    first, two = comparison.entries
    long = replace(first, name="latent-autoregressive")
    reason = "it is of images, not of Vectors, " * 4
    table = str(replace(comparison, entries=(long, two), left_out={"latent-diffusion": reason}))
    lines = [line for line in table.splitlines() if not line.startswith("Next: ")]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("latent-autoregressive") and " = " in line for line in lines)  # its kind is marked
    assert any(line.startswith("adversarial") and " none " in line for line in lines)
    assert any(line.startswith("left out, each with its reason in the report: latent-diffusion") for line in lines)


def test_a_hybrid_says_what_it_was_built_on_and_what_it_lost(
    two_models: tuple[Comparison, Path], tmp_path: Path
) -> None:
    comparison, _ = two_models
    first, two = comparison.entries
    outcome = two.outcomes[0]
    assert outcome.result is not None
    log = outcome.folder / "run" / "stages" / "teacher" / "log.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f'{{"step": {i}, "denoising/loss_high_noise": {1 / i}}}\n' for i in (1, 2, 4)))
    shared = [
        {"name": name, "share": share, "steps": steps, "seconds": 1.5, "parameters": 1000}
        for name, share, steps in (("teacher", 0.35, 5), ("model", 0.65, 7))
    ]
    student, space = "adversarial-student", comparison.dataset.space
    facts = card_of_model(build(student, space, "xs"), student, resolve(student, space), None)
    student_outcome = replace(outcome, result={**outcome.result, **facts, "stages": shared})
    entries = (replace(first, name="diffusion"), replace(two, name="adversarial-student", outcomes=(student_outcome,)))
    page = replace(comparison, entries=entries).save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "budget: teacher 35\u202f%, model 65\u202f%" in page
    assert "teacher 35&nbsp;% (5 steps in 1.5 s" in page
    assert 'uneven noise levels</b> <span class="soft">of the teacher' in page
    assert "loss high noise 1 → <b>0.25</b>" in page
    assert "network evaluations per sample 1 instead of 2" in page
    assert "lost is the likelihood" in page


def test_what_is_finished_is_not_run_again(
    two_models: tuple[Comparison, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = two_models
    monkeypatch.setattr("fourfold.tournament.jobs._process", lambda *a: pytest.fail("it was run again"))
    again = compare("eight-gaussians", paradigms=["adversarial"], runs_dir=folder / "runs", sweep=False, **SMALL)
    assert again.entries[0].has_scores


def test_a_failure_is_reported_and_spares_the_others(two_models: tuple[Comparison, Path], tmp_path: Path) -> None:
    comparison, _ = two_models
    job = replace(comparison.entries[1].outcomes[0].job, precision="nonsense")
    outcome = run(job, tmp_path, progress=False)
    assert outcome.result is None
    assert outcome.failure is not None
    assert "nonsense" in outcome.failure["message"]
    broken = replace(comparison.entries[1], outcomes=(outcome,), scores=())
    path = replace(comparison, entries=(comparison.entries[0], broken)).save(tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    assert "failed" in page
    assert "nonsense" in page
    nothing = replace(comparison, entries=(broken,)).save(tmp_path / "report.html")
    assert "nonsense" in nothing.read_text(encoding="utf-8")


def test_a_killed_run_is_an_outcome(
    two_models: tuple[Comparison, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, _ = two_models
    job: Job = replace(comparison.entries[1].outcomes[0].job, budget="100000 steps")
    log = job.folder(tmp_path) / "run" / "log.jsonl"

    class Killed(subprocess.Popen):
        def wait(self, timeout: float | None = None) -> int:
            wait_for(log)
            self.kill()
            return super().wait(timeout)

    monkeypatch.setattr(subprocess, "Popen", Killed)
    outcome = run(job, tmp_path, progress=False)
    assert outcome.failure is not None
    assert "SIGKILL" in outcome.failure["message"]


def test_an_interrupted_run_saves_and_is_resumed(
    two_models: tuple[Comparison, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, _ = two_models
    job: Job = replace(comparison.entries[1].outcomes[0].job, budget="400 steps")
    log = job.folder(tmp_path) / "run" / "log.jsonl"

    class Interrupted(subprocess.Popen):
        def wait(self, timeout: float | None = None) -> int:
            if timeout is not None:  # the worker may save
                return super().wait(timeout)
            wait_for(log)
            raise KeyboardInterrupt  # as a terminal does while the parent waits

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(job, tmp_path, progress=False)
    outcome = run(job, tmp_path, progress=False)
    assert outcome.result is not None
    assert outcome.result["resumed"]
    assert outcome.result["steps"] == 400


def test_progress_keeps_its_clock_within_eighty_columns() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True, color_system=None)
    with Progress(*columns(), console=console, auto_refresh=False) as bar:
        note = "step 123456, 0.012/s, loss 12.34 56.78 90.12"
        bar.add_task("latent-autoregressive · measuring", total=1.0, note=note)
        bar.refresh()
        bar.tasks[0].start_time = bar.get_time() - 3661
    lines = [line for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())) if line]
    assert max(map(len, lines)) <= 80
    assert any(line.rstrip().endswith("1:01:01") for line in lines)
    assert all("latent-autoregressive · measuring" in line and "step 123456" in line for line in lines)


def test_half_an_interval_is_told_to_its_first_digit() -> None:
    def digits_of(value: float, half: float) -> str:
        return within(Measurement("d[f]", value, value - half, value + half, better="lower"))

    assert digits_of(1.0543, 0.0891) == "1.05 ± 0.09"
    assert digits_of(154.2, 12.3) == "154 ± 12"
    assert digits_of(0.5, math.nan) == "0.5"
    assert digits_of(12345.6, 0.0) == "12346"
    assert within(None) == ""


def test_paradigms_that_cannot_are_left_out_with_the_reason() -> None:
    names, reasons = _choose_paradigms(Settings(), Vectors(2))
    assert "latent-flow" in names
    assert "latent-diffusion" not in names
    assert "Images" in reasons["latent-diffusion"]
    assert {*names, *reasons} == set(cards())
    texts, reasons_of_text = _choose_paradigms(Settings(), Text("abc", length=8))
    assert "autoregressive" in texts
    assert all("text" in why.lower() for why in reasons_of_text.values())


def test_colours_are_those_of_the_page() -> None:
    page = files("fourfold.tournament").joinpath("report.html.j2").read_text(encoding="utf-8")
    for i in range(COLOURS):
        assert page.count(f"--c{i}: #") == 2  # by day and by night
        assert f".c{i} {{ --c: var(--c{i}); }}" in page
    assert len(cards()) <= COLOURS


def test_seeds_are_averaged_and_kinds_are_not_mixed() -> None:
    scores = [Measurement("d[f]", v, v - 1, v + 1, floor=0.5, n=10, better="lower") for v in (1.0, 2.0, 3.0)]
    mean = combine(scores)
    assert mean.value == 2
    assert mean.high - mean.value == pytest.approx(4.302653 / math.sqrt(3))
    assert "3 seeds" in mean.protocol
    assert combine(scores[:1]) is scores[0]
    mixed = [Measurement("likelihood", 1, kind=Kind.EXACT), Measurement("likelihood", 1, kind=Kind.LOWER_BOUND)]
    with pytest.raises(ValueError, match="one name and one kind"):
        combine(mixed)


def test_bad_requests_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"paradigm must be one of .*, got 'nonsense'"):
        compare("wine", paradigms=["nonsense"], runs_dir=tmp_path)
    with pytest.raises(ValueError, match="budget"):
        compare("wine", budget="soon", runs_dir=tmp_path)
    with pytest.raises(TypeError):
        compare("python-docs", paradigms=["adversarial"], runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_samples_of_another_system_stand_beside_models_without_budget_and_likelihood(
    two_models: tuple[Comparison, Path],
) -> None:
    before, folder = two_models
    path = folder / "wide.npy"
    np.save(path, 3 * np.random.default_rng(1).normal(size=(48, 2)).astype("float32"))
    comparison = gather([folder / "runs"], folder / "beside.html", [f"wide={path}"])
    assert comparison.n == 48 < before.n  # all are judged by one number
    (wide,) = comparison.samples
    assert wide.entry.headline is not None
    assert {entry.headline.n for entry in [*comparison.entries, wide.entry] if entry.headline} == {48}
    (row,) = (line for line in str(comparison).splitlines() if line.startswith("wide"))
    assert "none" in row
    assert any("worse than real" in str(line) for line in comparison.verdict if line.title == "Samples")
    assert f"--samples wide={path}" in comparison.again(comparison.settings) + comparison.settings.command("x")
    page = (folder / "beside.html").read_text()
    assert "unknown" in page
    assert 'href="#beside-wide"' in page


@pytest.mark.parametrize(("words", "names"), [(["a=x.csv", "b.csv"], {"a": "x.csv", "b": "b.csv"}), ([], {})])
def test_names_of_samples(words: list[str], names: dict[str, str]) -> None:
    assert paths_by_name(words) == names
    assert Settings.of(samples="new.csv").samples == ("new.csv",)
    assert Settings.of(samples=names).samples == (tuple(f"{name}={path}" for name, path in names.items()) or None)


def test_samples_have_another_name_than_a_model() -> None:
    with pytest.raises(ValueError, match="'flow'"):
        of_settings(Settings(samples=("flow=x.npy",)), load("two-moons", limit=100), print)


@pytest.mark.parametrize("words", [["a=x.csv", "a=y.csv"], ["=x.csv"], ["a="]])
def test_samples_need_a_name_each(words: list[str]) -> None:
    with pytest.raises(ValueError, match=words[-1]):
        paths_by_name(words)
