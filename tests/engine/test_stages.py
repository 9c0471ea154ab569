"""Models trained in stages: budgets split, each stage in a run folder of its own, and resumed at whatever stage."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fourfold import checks
from fourfold.core import Batch, CachedCodec, GenerativeModel, Measure, Noise, Objective, Stage, Staged, Term
from fourfold.data import load
from fourfold.engine import Interrupted, Run, fit, load_model, parse_budget, resumable, save_model
from fourfold.engine.loop import Loop
from fourfold.engine.stages import in_time, plan_of
from fourfold.engine.training import begin
from fourfold.estimands import Velocity
from fourfold.runs.precision import parse_precision
from fourfold.spaces import Vectors
from fourfold.vocabulary import Principle

from .toys import TRAINING, EulerSteps, Net, Nothing, ToyVelocity, game_model, velocity_model

MOONS = load("two-moons", limit=1000)


@pytest.fixture(autouse=True)
def _toys_are_third_parties(monkeypatch):
    monkeypatch.setattr("fourfold.core.parts.packages", lambda: {__name__.partition(".")[0]})


class Shifted(CachedCodec, Staged):
    """Codes drawn around what a trained model's codec and generator make of an example."""

    measure = Measure.LEBESGUE
    bound = "a toy draws its codes"

    def __init__(self, held: GenerativeModel, share: float = 0.5) -> None:
        super().__init__()
        self.held, self.share = held, share
        self.register_buffer("scale", torch.ones(()))

    def stages(self) -> list[Stage]:
        return [Stage("first", self.held, self.share)]

    def ready(self, estimand: Velocity) -> None:
        estimand.net.last.bias.data.add_(torch.randn(()))

    def fit(self, x: Tensor) -> None:
        self.scale.copy_(self.analyse(x).std())

    def analyse(self, x: Tensor) -> Tensor:
        z = self.held.codec.encode(x)[0]
        return z + self.held.estimand(z)

    def draw(self, stored: Tensor) -> Tensor:
        return (stored + 0.1 * torch.randn_like(stored)) / self.scale

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        stored = self.analyse(x)
        return (stored if noise is None else stored + noise.normal(*stored.shape[1:])) / self.scale, torch.zeros(len(x))

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        return self.held.codec.decode(z * self.scale)


class _Taught(Term):
    def __init__(self, student: Velocity, teacher: Velocity) -> None:
        super().__init__([student])
        self.student, self.teacher = student, teacher

    def forward(self, batch: Batch) -> Tensor:
        t = torch.rand(len(batch.x))
        gap = self.student(batch.x, t) - self.teacher(batch.x, t)
        self.watched = {"loss_high_noise": gap.detach().square().mean()}
        return gap.square().sum(1)


class Taught(Objective, Staged):
    """A regression on a teacher, whose output is not detached: that it learns nothing is the engine's affair."""

    learns = Velocity
    principle = Principle.DENOISING

    def __init__(self, teacher: GenerativeModel) -> None:
        super().__init__()
        self.teacher = teacher

    def stages(self) -> list[Stage]:
        return [Stage("teacher", self.teacher, 0.25)]

    def ready(self, estimand: Velocity) -> None:
        estimand.load_state_dict(self.teacher.estimand.state_dict())

    def terms(self, estimand: Velocity) -> Mapping[str, Term]:
        return {"taught": _Taught(estimand, self.teacher.estimand)}


def staged_model() -> GenerativeModel:
    teacher, held = velocity_model(), game_model(seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        student = ToyVelocity(Net(3, 2), (2,))
    return GenerativeModel(Vectors(2), Shifted(held), student, Taught(teacher), EulerSteps(), Nothing(), TRAINING)


def run(folder=None, budget="16 steps", **settings):
    return fit(staged_model(), MOONS, budget=budget, out=folder, **settings)


@pytest.mark.parametrize("budget", ["16 steps", "16s", "16 epochs", "16 flops"])
def test_a_budget_is_split(budget):
    plan = plan_of(staged_model(), parse_budget(budget))
    assert [(p.stage.name, p.budget.amount, p.start) for p in plan.stages] == [("first", 8, 0), ("teacher", 4, 0.5)]
    assert plan.model_budget == type(plan.model_budget)(4)


def test_stages_must_leave_a_part():
    model = velocity_model()
    greedy = GenerativeModel(
        model.space, Shifted(game_model(), 1.0), model.estimand, model.objective, EulerSteps(), Nothing(), TRAINING
    )
    with pytest.raises(ValueError, match="leave the model a part"):
        fit(greedy, MOONS, budget="4 steps")


def test_each_stage_has_a_run_folder_and_the_card_says_how_the_budget_was_split(tmp_path):
    seen = []
    result = run(tmp_path, observe=seen.append)
    assert [step.stage for step in seen] == ["first"] * 8 + ["teacher"] * 4 + [""] * 4
    assert [step.used for step in seen] == pytest.approx([i / 16 for i in range(1, 17)])
    stages = result.card["stages"]
    assert [(s["name"], s["share"], s["budget"], s["steps"]) for s in stages] == [
        ("first", 0.5, "8 steps", 8),
        ("teacher", 0.25, "4 steps", 4),
        ("model", 0.25, "4 steps", 4),
    ]
    assert result.card["steps"] == 16
    assert result.card["seconds"] == pytest.approx(sum(s["seconds"] for s in stages), abs=0.01)
    for name, held in (("first", result.model.codec.held), ("teacher", result.model.objective.teacher)):
        alone = Run.load(tmp_path / "stages" / name)
        assert alone.card["done"]
        for key, value in alone.model.state_dict().items():
            assert torch.equal(value, held.state_dict()[key])
    log = [json.loads(line) for line in (tmp_path / "stages" / "first" / "log.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in log} == {"first"}
    loaded = Run.load(tmp_path)
    assert torch.equal(loaded.sample(5), result.sample(5))


def test_what_is_late_is_taken_from_the_later_stages(monkeypatch):
    step, costs, lines = Loop.step, iter([10.0]), []

    def slow(self, rate, watch=False, noise=0.0):
        result, cost = step(self, rate, watch, noise), next(costs, 1.0)
        self.progress = replace(self.progress, seconds=round(self.progress.seconds) + cost, last=cost)
        return result

    monkeypatch.setattr(Loop, "step", slow)
    stages = run(budget="16s", precision="float32", say=lines.append).card["stages"]
    assert [s["steps"] for s in stages] == [1, 3, 3]  # 10 s of 8, 3 s of 4, 3 s of 4: 16 s in all
    assert [parse_budget(s["budget"]).seconds for s in stages] == pytest.approx([8, 3, 3], abs=0.5)
    assert "training took 10 s of a budget of 8s: its last step alone took 10 s" in lines


def test_time_before_the_first_stage_shortens_all_stages():
    whole = parse_budget("20s")
    budgets, used = [], 6.0
    for share, start in ((0.5, 0.0), (0.25, 0.5), (0.25, 0.75)):
        budgets.append(in_time(whole.part(share), share, start, whole, used))
        used += budgets[-1].seconds
    assert [budget.seconds for budget in budgets] == pytest.approx([7.0, 3.5, 3.5])
    assert in_time(whole.part(0.25), 0.25, 0.75, whole, 100.0).seconds == pytest.approx(0.5)  # never nothing
    steps = parse_budget("20 steps")
    assert in_time(steps.part(0.5), 0.5, 0.0, steps, 100.0) == parse_budget("10 steps")
    either = parse_budget("20 steps or 20s")
    assert str(in_time(either.part(0.5), 0.5, 0.0, either, 6.0)) == "10 steps or 7s"


def test_a_stage_is_trained_as_the_model_alone_would_be():
    alone = game_model(seed=1)
    fit(alone, MOONS, budget="8 steps")
    held = run().model.codec.held
    for key, value in alone.state_dict().items():
        assert torch.equal(value, held.state_dict()[key])


@pytest.mark.parametrize("at", [1, 5, 8, 10, 12, 13, 15])
def test_interrupted_at_any_stage_and_resumed_is_uninterrupted(tmp_path, at):
    whole, seen = run(), []

    def stop(step):
        seen.append(step)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run(tmp_path, observe=stop)
    assert len(seen) == at
    assert resumable(tmp_path)
    with pytest.raises(ValueError, match="holds a run already"):
        run(tmp_path)
    resumed = run(tmp_path, resume=True, observe=seen.append)
    assert len(seen) == 16
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    assert resumed.card["done"]
    assert [s["steps"] for s in resumed.card["stages"]] == [8, 4, 4]


@pytest.mark.parametrize("at", [3, 10, 14])
def test_a_killed_process_goes_on_from_its_last_checkpoint(tmp_path, at):
    seen = []

    def kill(step):
        seen.append(step)
        if len(seen) == at:
            raise SystemExit

    with pytest.raises(SystemExit):
        run(tmp_path, observe=kill)
    whole, resumed = run(), run(tmp_path, resume=True)
    assert torch.equal(whole.sample(4), resumed.sample(4))


def test_earlier_stages_are_frozen_and_cost_the_optimizer_nothing():
    model = staged_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loop = begin(model, MOONS.train, TRAINING, precision=parse_precision("bf16"))
    assert loop.encoded
    teacher = model.objective.teacher.estimand.net.hidden.weight
    assert teacher.dtype == torch.bfloat16
    assert model.codec.held.estimand.net.hidden.weight.dtype == torch.float32
    for _ in range(3):
        loop.step(1.0)
    assert teacher.grad is None
    loop.finish()
    assert teacher.dtype == torch.float32
    assert loop.weights.flat.numel() == sum(p.numel() for p in model.estimand.parameters())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"codec.scale"} | {f"estimand.{name}" for name, _ in model.estimand.named_parameters()}


def test_codes_are_drawn_anew_from_what_is_kept():
    loop = begin(staged_model(), MOONS.train, TRAINING)
    rows = loop.batches(0).x
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codes, other = (loop._batch_parts.encode(loop.batches(0)).x for _ in range(2))
    assert not torch.equal(codes, other)
    assert (codes * loop.model.codec.scale - rows).std().item() == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("check", ["gradients", "configuration", "saved", "resume", "loss", "samples", "batch_split"])
def test_an_untrained_model_of_stages_keeps_the_contract(check):
    checks.MODEL_CHECKS[check](staged_model())


def test_shared_weights_are_written_once(tmp_path):
    model = staged_model()
    model.estimand.net.hidden = model.objective.teacher.estimand.net.hidden
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
    apart = tmp_path / "apart"
    save_model(staged_model(), apart)
    assert (tmp_path / "weights.safetensors").stat().st_size < (apart / "weights.safetensors").stat().st_size - 3000
