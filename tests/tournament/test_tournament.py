"""What is refused before training, how an interruption ends, and exit codes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import pytest
from made_up import Fake, near, outcome

import fourfold.main
from fourfold.data import Dataset
from fourfold.tournament import Comparison, compare
from fourfold.tournament.jobs import Job, Outcome

moons = made_up.moons


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paradigms": ["nonsense"]}, "paradigm must be one of .*, got 'nonsense'"),
        ({"paradigms": ["flow", "diffusion", "flow"]}, "got flow and flow, both flow/spline; --seeds 2"),
        ({"paradigms": ["flow", "flow/spline"]}, "got flow and flow/spline, both flow/spline"),
        ({"size": "huge"}, r"size must be .* got 'huge'"),
        ({"features": "pixels"}, "features must be left out for Vectors, got 'pixels'"),
        ({"budget": "soon"}, "budget must be .*got 'soon'"),
        ({"precision": "half"}, r"precision must be .* got 'half'"),
        ({"out": "."}, "must be a file"),
    ],
)
def test_bad_requests_are_refused_before_training(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare("wine", runs_dir=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_unknown_features_of_images_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 'faces'"):
        compare("digits", runs_dir=tmp_path / "runs", features="faces")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, moons: Dataset) -> Callable[[dict[str, Fake | BaseException]], None]:
    """Lets made-up runs take the place of trainings."""

    def pretend(fakes: dict[str, Fake | BaseException]) -> None:
        def run(job: Job, runs: Path, resume: bool, progress: bool) -> Outcome:
            fake = fakes[job.paradigm]
            if isinstance(fake, BaseException):
                raise fake
            return outcome(job, fake, moons, runs)

        monkeypatch.setattr("fourfold.tournament.executors.run", run)
        monkeypatch.setattr("fourfold.tournament.tournament.load", lambda *args, **options: moons)

    return pretend


def test_an_interruption_leaves_a_report_and_says_how_to_go_on(
    pretended: Callable[..., None], moons: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended({"flow": Fake(near(moons, 200, 0.5)), "diffusion": KeyboardInterrupt("SIGTERM")})
    out, runs = tmp_path / "r.html", tmp_path / "runs"
    words = ["compare", "two-moons", "--paradigms", "flow,diffusion,adversarial", "--runs-dir", str(runs), "--fresh"]
    assert fourfold.main.run([*words, "--out", str(out), "-n", "200"], False) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert "stopped by SIGTERM after 1 of 3 runs; finished runs are in" in said
    command = said.partition("go on with: ")[2]
    assert command.startswith("fourfold compare two-moons --paradigms flow,diffusion,adversarial")
    assert "--fresh" not in command  # that would throw away what is finished
    page = out.read_text(encoding="utf-8")
    assert "stopped after 1 of 3 runs" in page
    assert page.count("not run yet") == 4  # two cards and two rows


def test_an_interruption_before_any_run_leaves_no_report(pretended: Callable[..., None], tmp_path: Path) -> None:
    pretended({"flow": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt, match=r"^stopped after 0 of 1 runs; go on with: fourfold compare two-moons"):
        compare("two-moons", paradigms=["flow"], out=tmp_path / "r.html", runs_dir=tmp_path / "runs")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(("failure", "code"), [(None, 0), ({"error": "Diverged", "message": "no"}, 1)])
def test_a_failed_paradigm_gives_exit_code_one(
    pretended: Callable[..., None], moons: Dataset, tmp_path: Path, failure: dict[str, str] | None, code: int
) -> None:
    x = near(moons, 200, 0.5)
    pretended({"flow": Fake(x), "adversarial": Fake(x, failure=failure)})
    words = ["compare", "two-moons", "--paradigms", "flow,adversarial", "--runs-dir", str(tmp_path / "runs")]
    assert fourfold.main.run([*words, "--out", str(tmp_path / "r.html"), "-n", "200"], False) == code


def test_a_dataset_is_told_as_one(pretended: Callable[..., None], moons: Dataset, tmp_path: Path) -> None:
    pretended({"flow": Fake(near(moons, 200, 0.5))})
    comparison: Comparison = compare(moons, paradigms=["flow"], n=200, runs_dir=tmp_path / "runs")
    assert comparison.command == ""
    assert comparison.call.startswith("fourfold.compare(dataset, paradigms=('flow',), ")
    assert comparison.call.endswith(", n=200)")
