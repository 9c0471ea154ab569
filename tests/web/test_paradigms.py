"""Live training: equal budgets, rows that a browser reads, settings that change samples, failures on demand."""

import json

import pytest
import torch

from fourfold import Run, load
from fourfold.runs.budget import parse_budget
from fourfold_web.paradigms import FAILURES, Request, Settings, Studio, lessons, model_of_points, redrawn, shortcomings
from fourfold_web.recorded import trace_of


def rows_of(**values):
    studio = Studio(Request(**values))
    rows = list(studio.rows())
    json.dumps(rows, allow_nan=False)
    return studio, rows


def test_every_model_is_trained_in_turn_and_leaves_a_trace():
    studio, rows = rows_of(steps=4, paradigms=("diffusion", "latent-diffusion"))
    kinds = [row["kind"] for row in rows]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    last = {row["name"]: row for row in rows if row["kind"] == "progress"}
    assert {name: row["used"] for name, row in last.items()} == pytest.approx({"diffusion": 1, "latent-diffusion": 1})
    assert {row["name"] for row in rows if row["kind"] == "trace"} == {"diffusion", "latent-diffusion"}
    few = studio.traced("diffusion", Settings(steps=3))["trace"]
    assert few["evaluations"] == 3
    assert few["frames"] != studio.traced("diffusion")["trace"]["frames"]
    with pytest.raises(ValueError, match="steps must be 1 to 500, got 0"):
        studio.traced("diffusion", Settings(steps=0))
    with pytest.raises(ValueError, match="temperature"):
        studio.traced("diffusion", Settings(temperature=0.5))


def test_the_autoencoder_comes_before_the_diffusion_of_its_codes():
    dataset = load("two-moons", limit=500)
    model = model_of_points("latent-diffusion", dataset.space, "xs/2")
    before = [p.clone() for p in model.codec.autoencoder.parameters()]
    steps = list(lessons(model, dataset, parse_budget("10 steps"), 0))
    assert [step.stage for step in steps] == ["autoencoder"] * 4 + [""] * 6
    assert [step.used for step in steps] == pytest.approx([k / 10 for k in range(1, 11)])
    assert any(not torch.equal(p, q) for p, q in zip(before, model.codec.autoencoder.parameters(), strict=True))


def test_a_temperature_narrows_the_samples():
    studio, _ = rows_of(steps=2, paradigms=("flow",))
    warm, cold = (
        studio.traced("flow", Settings(temperature=t))["trace"]["panels"][-1]["layers"][-1] for t in (1.0, 0.1)
    )
    assert cold["high"] - cold["low"] < warm["high"] - warm["low"]


def test_failures_are_those_of_their_paradigms_and_the_monitors_see_them():
    _, rows = rows_of(steps=80, paradigms=("latent-variable",), failures=("posterior-collapse",))
    last = [row for row in rows if row["kind"] == "progress"][-1]
    assert next(mode for mode in last["failures"] if mode["name"] == "posterior collapse")["word"] == "bad"
    studio, _ = rows_of(steps=1, paradigms=("diffusion",), failures=tuple(FAILURES))
    assert studio.traced("diffusion")["trace"]["evaluations"] == 3


def test_one_dropped_mode_of_eight_is_seen_and_new_data_is_fine():
    data = load("eight-gaussians", limit=4000)
    model, x = model_of_points("adversarial", data.space, "xs/2"), data.train.x[:240]
    sector = (torch.atan2(data.train.x[:, 1], data.train.x[:, 0]) / (torch.pi / 4)).round() % 8
    for samples, word in ((x, "fine"), (data.train.x[sector != 3][:240], "bad")):
        rows = {row["name"]: row for row in shortcomings(model, samples, data.test.x)}
        assert rows["mode collapse"]["word"] == word, rows


def test_too_few_steps_of_a_recorded_run_are_seen_when_it_is_drawn_again():
    few, many = (redrawn("two-moons/diffusion", Settings(steps=steps))["trace"] for steps in (2, 40))
    words = [
        next(row["word"] for row in record["failures"] if row["name"] == "discretisation error")
        for record in (few, many)
    ]
    assert words == ["bad", "fine"]
    with pytest.raises((ValueError, LookupError), match="etc"):
        redrawn("../etc", Settings())


def test_a_recorded_run_is_guided_to_a_class_and_cooled():
    data = load("two-moons", given="labels")
    assert json.loads(trace_of("two-moons", "diffusion"))["options"]["classes"] == ["upper", "lower"]
    x = Settings(guidance=3.0).of(Run.load("zoo:two-moons/diffusion").model).sample(100, 1, seed=0)
    upper, lower = (torch.cdist(x, data.test.x[data.test.cond == k]).amin(1) for k in (0, 1))
    assert (lower < upper).double().mean() > 0.97
    cold = Settings(temperature=0.5).of(Run.load("zoo:two-moons/flow").model).sample(200, seed=0)
    assert cold.var(0).sum() < 0.7 * data.test.x.var(0).sum()


def test_a_paused_training_takes_one_step_at_a_time():
    studio = Studio(Request(steps=50, paradigms=("flow",)))
    studio.pause.set()
    rows = studio.rows()
    assert next(rows)["kind"] == "start"
    for count in (1, 2):
        studio.step()
        assert next(rows)["step"] == count
    studio.close()


def test_drawn_points_are_trained_on():
    points = tuple((i % 10 / 5, i / 50) for i in range(60))
    _, rows = rows_of(steps=1, paradigms=("autoregressive",), data=points)
    assert rows[-2]["kind"] == "trace"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"seconds": 1e9}, "seconds.*1e"),
        ({"seconds": float("nan")}, "seconds.*nan"),
        ({"steps": -1}, "steps.*-1"),
        ({"seconds": True}, "seconds.*True"),
        ({"data": [[0, 1]] * 3}, "data.*got 3"),
        ({"data": [[0, "x"]] * 50}, "data.*'x'"),
        ({"data": [[0, 1, 2]] * 50}, "data"),
        ({"data": "../etc/passwd"}, "data.*passwd"),
        ({"paradigms": []}, "paradigms.*none"),
        ({"paradigms": ["os"]}, "paradigms.*'os'"),
        ({"failures": "all"}, "failures"),
        ({"more": 1}, "request"),
        ([], "request"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        Request.of(value)
