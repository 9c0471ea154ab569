"""The page: nothing that it is given becomes markup, colours are the paradigm's, and it says what was measured."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import made_up
import pytest
import torch
from made_up import Fake, log, near
from torch import Tensor

from fourfold.core import Picture
from fourfold.data import Dataset, Split
from fourfold.metrics import Measurement, References
from fourfold.paradigms import build, cards
from fourfold.spaces import Vectors
from fourfold.tasks.conditional_quality import DrawsGiven, measure_draws
from fourfold.tasks.evaluation import examples
from fourfold.tournament import Comparison, compare
from fourfold.tournament.modes import from_log, held_out, judge, read_log
from fourfold.tournament.report import _colours
from fourfold.tournament.samples import save_samples
from fourfold.vocabulary import FACTS, FailureMode, Judged, Kind
from fourfold.vocabulary.rules import Below

fake_comparison, moons = made_up.fake_comparison, made_up.moons

MakeComparison = Callable[..., Comparison]
ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attributes}


def saved(comparison: Comparison, tmp_path: Path) -> str:
    return comparison.save(tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_of_a_result_becomes_markup(fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path) -> None:
    """Names, units, protocols, parts, stages, log keys and failures of a runs folder from elsewhere."""
    plain = fake_comparison({"flow": Fake(near(moons, 200, 0.5))}).entries[0].outcomes[0].result
    scores = [{**s, "name": f"mmd²[{ATTACK}]", "unit": ATTACK, "protocol": ATTACK} for s in plain["scores"][1:2]]
    hostile = {
        "scores": [plain["scores"][0] | {"unit": ATTACK, "protocol": ATTACK}, *scores, *plain["scores"][2:]],
        "sampler": ATTACK,
        "objective": ATTACK,
        "estimand": ATTACK,
        "precision": {"name": ATTACK, "compiled": False},
        "phases": {ATTACK: 1.0},
        "stages": [{"name": ATTACK, "share": 1.0, "steps": 500, "seconds": 1.0, "parameters": 10}],
    }
    lines = log([{"seconds": i, f"{ATTACK}/loss": 1.0 / i, f"{ATTACK}/gap": 0.1} for i in (1, 2, 3)])
    broken = {"error": ATTACK, "message": ATTACK, "trace": ATTACK}
    comparison = fake_comparison(
        {
            "diffusion": Fake(near(moons, 200, 0.5), Kind.ESTIMATE, result=hostile, log=lines),
            "autoregressive": Fake(near(moons, 200, 0.5), result={"scores": hostile["scores"]}, log=lines),
            "adversarial": Fake(near(moons, 200, 0.5), failure=broken),
        },
        budget="300 steps",
    )
    comparison.data["name"] = comparison.data["source"] = ATTACK
    comparison.left_out["other"] = ATTACK
    page = saved(comparison, tmp_path)
    assert "&lt;script&gt;alert(1)" in page
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.names
    assert not [name for name in tags.attributes if name.startswith("on")]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]  # so that none runs


def test_a_paradigm_has_its_colour_whatever_its_rank_and_company() -> None:
    alone = {name: _colours([name])[name] for name in cards()}
    assert len(set(alone.values())) == len(cards())
    assert _colours(list(cards())) == alone
    assert _colours(list(reversed(list(cards())))) == alone
    two = _colours(["flow", "flow/maf", "diffusion/velocity", "someone-elses"])
    assert two["flow"] == alone["flow"]
    assert two["diffusion/velocity"] == alone["diffusion"]
    assert len(set(two.values())) == 4


def test_the_header_says_what_was_asked_and_what_was_used(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path
) -> None:
    x = near(moons, 200, 0.5)
    page = saved(fake_comparison({"flow": Fake(x), "diffusion": Fake(x, result={"seconds": 99.0})}), tmp_path)
    assert "15 s asked, 14 to 99 s used" in page
    assert "Each trained for" not in page
    assert "500 × 64" in page
    assert "2.5 epochs, 14 s" in page


def test_held_out_losses_are_drawn_and_one_step_has_no_frame(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path
) -> None:
    x = near(moons, 200, 0.5)
    course = log([{"seconds": i, "a/loss": 1 / i, "a/held_out": 2 / i} for i in (1, 2, 3)])
    once = log([{"seconds": 1.0, "a/loss": 1.0}])
    page = saved(fake_comparison({"flow": Fake(x, log=course), "diffusion": Fake(x, log=once)}), tmp_path)
    assert "loss: training solid, held out dashed" in page
    assert page.count("too few steps for a curve") == 1
    assert page.count(">seconds of training</text>") == 1


def test_one_model_has_no_plot_against_others(fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path) -> None:
    x = near(moons, 200, 0.5)
    assert "Quality against sampling time" not in saved(fake_comparison({"flow": Fake(x)}), tmp_path)
    assert "Quality against sampling time" in saved(fake_comparison({"energy": Fake(x, sweep={4: x, 9: x})}), tmp_path)


def test_failure_modes_have_a_word_or_say_why_not(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path
) -> None:
    watched = [{"seconds": i, "critic/critic_accuracy": 0.999, "critic/critic_margin": 3.0} for i in range(1, 9)]
    fakes = {"adversarial": Fake(near(moons, 200, 0.0)[:1].expand(200, 2) + 1e-3, Kind.NONE, log=log(watched))}
    page = saved(fake_comparison(fakes), tmp_path)
    assert "saturated critic: bad" in page
    assert "mode collapse: bad" in page
    assert "no threshold is known" in page  # of the margin
    assert "watch above 0.9, bad above 0.99" in page


def test_a_stage_shows_the_failure_modes_of_its_paradigm_and_of_the_cards(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher of a few-step model is a diffusion model; both cards declare a failure mode of their own here."""
    rule = Below(0.5, 1.0)
    own = {
        name: FailureMode(f"fault of {name}", "it fails", "a number", f"of_{name.partition('-')[0]}", rule)
        for name in ("few-step", "diffusion", "flow")
    }
    declared = {
        name: replace(card, failure_modes=(own[name],)) if name in own else card for name, card in cards().items()
    }
    monkeypatch.setattr("fourfold.tournament.report.cards", lambda: declared)
    (stage,) = build("few-step", moons.space, "xs").stages()
    stages = [{"name": stage.name, "share": 0.5, "steps": 500, "seconds": 1.0, "parameters": 10}] * 2
    comparison = fake_comparison({"few-step": Fake(near(moons, 200, 0.5), Kind.NONE, result={"stages": stages})})
    folder = comparison.entries[0].outcomes[0].folder / "run" / "stages" / stage.name
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text(log([{"t/of_few": 2.0, "t/of_diffusion": 0.7, "t/of_flow": 3.0}] * 8))
    page = saved(comparison, tmp_path)
    assert "fault of few-step: bad" in page
    assert "fault of diffusion: watch" in page
    assert "fault of flow" not in page


def test_an_error_while_drawing_keeps_the_numbers(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = fake_comparison({"flow": Fake(near(moons, 200, 0.5))})
    monkeypatch.setattr("fourfold.tournament.report._context", lambda *args: {}["missing"])
    with pytest.raises(
        RuntimeError, match=r"cannot be drawn \(KeyError: 'missing'\); the results are in .*results.json"
    ):
        comparison.save(tmp_path / "report.html")
    assert '"paradigms"' in (tmp_path / "results.json").read_text()


def test_nothing_foreign_is_overwritten(fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path) -> None:
    comparison = fake_comparison({"flow": Fake(near(moons, 200, 0.5))})
    (tmp_path / "results.json").write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="must be written by a comparison"):
        comparison.save(tmp_path / "report.html")
    comparison.save(tmp_path / "two.html")
    assert (tmp_path / "two.json").exists()
    assert (tmp_path / "results.json").read_text() == '{"mine": 1}'
    comparison.save(tmp_path / "two.html")  # ours is written anew


@pytest.mark.parametrize(
    ("monitor", "values", "word"),
    [
        ("critic_accuracy", [0.5] * 8, "fine"),
        ("critic_accuracy", [0.5] * 6 + [0.95] * 2, "watch"),
        ("critic_accuracy", [1.0] * 8, "bad"),
        ("diversity", [1.0, 0.9], "fine"),
        ("diversity", [1.0, 0.3], "bad"),
        ("active_units", [8.0, 8.0], "fine"),
        ("active_units", [8.0, 3.0], "watch"),
        ("active_units", [8.0, 0.0], "bad"),
        ("inverse_error", [1e-6], "fine"),
        ("inverse_error", [5e-3], "watch"),
        ("rhat", [1.005], "fine"),
        ("rhat", [1.05], "watch"),
        ("rhat", [1.5], "bad"),
        ("energy_gap", [1.0] * 16, "fine"),
        ("energy_gap", [2.0**i for i in range(16)], "bad"),
        ("critic_margin", [1.0, 2.0], ""),
    ],
)
def test_monitors_and_their_thresholds(monitor: str, values: list[float], word: str) -> None:
    mode = next(mode for facts in FACTS.values() for mode in facts.failure_modes if mode.monitor == monitor)
    (monitor_row,) = from_log(mode, [{f"term/{monitor}": value} for value in values])
    assert monitor_row.judged.word == word
    assert (monitor_row.judged == Judged()) is (word == "")


@pytest.mark.parametrize(
    ("values", "word"), [([3, 2, 1, 1.1], "fine"), ([3, 1, 1.5], "watch"), ([3, 1, 2.5], "bad"), ([1, 2, 3], "bad")]
)
def test_a_held_out_loss_that_rises_again_is_overfitting(values: list[float], word: str) -> None:
    (overfitting,) = held_out([{"a/held_out": value} for value in values], "a")
    assert overfitting.judged.word == word


def test_what_the_held_out_loss_did_after_the_weights_that_are_kept_is_undone() -> None:
    mode = FailureMode("overfitting", "", "", "gap")
    log = [{"step": i, "a/gap": 0.1, "a/held_out": value} for i, value in enumerate([3, 2, 1, 2.9])]
    assert [m.judged.word for m in from_log(mode, log)] == ["", "bad"]
    assert [m.judged.word for m in from_log(mode, log, best_step=2)] == ["", "fine"]


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("coverage[f]", 0.95, "fine"),
        ("coverage[f]", 0.7, "watch"),
        ("coverage[f]", 0.2, "bad"),
        ("memorisation_ratio[f]", 0.3, "bad"),
        ("copied[f]", 1.0, "fine"),
        ("copied[f]", 1.5, "watch"),
        ("copied[f]", 9.0, "bad"),
        ("detail_ratio[f]", 0.9, "fine"),
        ("detail_ratio[f]", 0.6, "watch"),
        ("detail_ratio[f]", 0.3, "bad"),
        ("detail_ratio[f]", 3.0, "bad"),
        ("density[f]", 0.3, ""),
    ],
)
def test_scores_are_judged_against_the_interval_of_their_floor(name: str, value: float, word: str) -> None:
    score = Measurement(name, value, value - 0.1, value + 0.1, 0.9, 100, floor_low=0.8, floor_high=1.0)
    assert judge(score).word == word
    assert judge(Measurement(name, value, floor=0.9)).word == ""


def test_a_difference_is_judged_against_zero() -> None:
    assert judge(Measurement("drift", 0.1, -0.1, 0.3)).word == "fine"
    assert judge(Measurement("likelihood_gap", 0.3, 0.1, 0.5)).word == "watch"


def test_damaged_lines_of_a_log_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{broken}\n[1]\n\xff\n{"a": 2}\n{"a": ')
    assert read_log(path) == [{"a": 1}, {"a": 2}]
    assert read_log(tmp_path / "none") == []


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken(Vectors):
    """Vectors that cannot be drawn."""

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Picture:
        raise KeyError("<no pencil>")


def test_a_space_of_a_script_is_refused_before_training(tmp_path: Path, moons: Dataset) -> None:
    data = replace(moons, space=Broken(2))
    with pytest.raises(TypeError, match=r"test_report:Broken must be importable by the processes"):
        compare(data, runs_dir=tmp_path / "runs", out=None)
    assert not list(tmp_path.iterdir())


def test_a_report_shows_numbers_where_a_picture_fails(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path
) -> None:
    comparison = fake_comparison({"flow": Fake(near(moons, 200, 0.5)), "diffusion": Fake(near(moons, 200, 0.1))})
    comparison = replace(comparison, dataset=replace(moons, space=Broken(2, ("x", "y"))))
    page = comparison.save(tmp_path / "report.html").read_text(encoding="utf-8")
    shown = 1 + 2 + len(comparison.baselines)  # the data, two models, and the baselines
    assert page.count("no picture: KeyError: &#39;&lt;no pencil&gt;&#39;") == shown == 7
    first = str(examples(moons, comparison.data["references"]).test[0])
    assert f"<pre>{first}</pre>" in page
    assert "MMD²" in page
    assert '"paradigms"' in (tmp_path / "results.json").read_text()


def test_a_conditional_comparison_names_the_best_for_conditions_and_shows_draws(tmp_path: Path) -> None:
    """Exact draws of x = c + noise beside draws for the conditions of other examples."""
    torch.manual_seed(0)
    cond = torch.randn(1200, 1)
    x, space = cond + 0.3 * torch.randn(1200, 1), Vectors(1, (ATTACK,), given=Vectors(1, ("rate",)))
    splits = [Split(x[i * 400 : (i + 1) * 400], cond[i * 400 : (i + 1) * 400]) for i in range(3)]
    dataset = Dataset("pairs", space, *splits, digest="pairs", source="made up")
    references = examples(dataset, 200)
    assert references.cond is not None

    def fake(cond: Tensor) -> tuple[Fake, DrawsGiven]:
        draws = DrawsGiven(cond[:60, None] + 0.3 * torch.randn(60, 19, 1), torch.arange(60), True)
        scores = [score.record() for score in measure_draws(draws, dataset, references)]
        return Fake(cond + 0.3 * torch.randn(200, 1), result={"conditional": scores}), draws

    (right, draws), (wrong, _) = fake(references.cond), fake(references.cond[torch.randperm(200)])
    comparison = made_up.make_up(dataset, tmp_path, {"flow": right, "diffusion": wrong})
    line = next(line for line in comparison.verdict if line.title == "For conditions")
    assert str(line).startswith("For conditions: flow leads in this run: energy score (standardised)")
    assert "not significantly different" not in str(line)
    folder = comparison.entries[0].outcomes[0].folder
    save_samples(folder, {"samples": right.x, "given": draws.x[:6], "rows": draws.rows[:6]})
    page = saved(comparison, tmp_path)
    assert page.count('class="strips"') == 6
    assert "<script>alert" not in page
    section = page.partition("Condition, truth, draws</h2>")[2].partition("<h2>")[0]
    assert f"{references.cond[0].item():.4g}" in section
    assert f"true value {references.test[0].item():.4g}" in section
