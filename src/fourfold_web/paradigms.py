"""The paradigms side by side: one data set, one budget, every model trained live while its samples are shown.

Each model takes steps for a short slice of time in turn, so that none waits for another. A budget counts only the time
of a model's own steps. Between two slices the models rest, and then they can be sampled with other settings.
"""

from __future__ import annotations

import dataclasses
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from fourfold import load
from fourfold.core import GenerativeModel, Space, Training
from fourfold.data import Dataset
from fourfold.engine import Run, train
from fourfold.engine.stages import data_of, make_ready, plan_of
from fourfold.engine.step import Diverged, Step
from fourfold.metrics import coverage
from fourfold.paradigms import build
from fourfold.paradigms.adversarial import AdversarialGame, NonSaturating
from fourfold.paradigms.hybrid import behind
from fourfold.paradigms.latent import VariationalBound
from fourfold.recipes.diffusion import denoising
from fourfold.recipes.latent_flow import vector_codes
from fourfold.runs.budget import Budget, parse_budget
from fourfold.samplers.ode import Solver
from fourfold.spaces import Images, Vectors
from fourfold.tasks.drawing import adjusted
from fourfold.vocabulary import Kind
from fourfold.vocabulary.rules import Below
from fourfold_web import zoo
from fourfold_web.recorded import trace_of
from fourfold_web.traces import temperature_of, trace

__all__ = [
    "DATA",
    "FAILURES",
    "RECIPES",
    "Request",
    "Settings",
    "Studio",
    "lessons",
    "model_of_points",
    "redrawn",
    "shortcomings",
]

DATA = ("two-moons", "eight-gaussians", "pinwheel", "checkerboard", "digits")
"""The built-in sets that are trained on live."""
RECIPES = {
    "autoregressive": "autoregressive",
    "latent-variable": "latent-variable",
    "adversarial": "adversarial",
    "diffusion": "diffusion",
    "flow": "flow/coupling",
    "energy": "energy",
    "latent-diffusion": "latent-diffusion",
}
"""The recipe of each paradigm for points of the plane."""
SIZE = "xs/2"
"""The size of models that are trained live."""
SLICE = 0.12
"""Seconds that a model trains in its turn."""
FEWEST, MOST = 40, 5000
"""Points that a person may draw."""
QUICK = (Kind.EXACT, Kind.LOWER_BOUND, Kind.UNNORMALISED)
"""Kinds of likelihood that are soon known at every place of a plane. The others solve an ODE."""
LONGEST = 120.0
"""Seconds of training of one model, at most."""
MOST_STEPS = 100_000


def model_of_points(recipe: str, space: Space, size: str) -> GenerativeModel:
    """The untrained model of a recipe for points of the plane.

    ``latent-diffusion`` is put together here from an autoencoder of points and a diffusion of its codes, because its
    recipes are for images, sounds and tables, where a code is shorter than an example.
    """
    if recipe != "latent-diffusion":
        return build(recipe, space, size=size)
    codec = vector_codes(space, size)
    return behind(codec, denoising(Vectors(codec.event[0], given=space.given), size), space)


# --- failures on demand -----------------------------------------------------------------------------------------------


def _with_objective(model: GenerativeModel, objective: Any, training: Training | None = None) -> GenerativeModel:
    parts = (model.space, model.codec, model.estimand, objective, model.sampler, model.likelihood)
    return GenerativeModel(*parts, training or model.training_defaults)


def _dropped_modes(model: GenerativeModel) -> GenerativeModel:
    """A generator with momentum that outruns its critic: it leaves modes, and nothing calls it back.

    After 400 steps it has left 3 of eight Gaussians (one seed), where one with a rate of 0.003 has left none.
    """
    assert isinstance(model.objective, AdversarialGame)
    game = AdversarialGame(model.objective.critic, NonSaturating(), penalty=None, critic_rate=0.3)
    training = dataclasses.replace(model.training_defaults, learning_rate=1e-2, betas=(0.9, 0.99), ema=0.0, clip=0.0)
    return _with_objective(model, game, training)


def _saturated(model: GenerativeModel) -> GenerativeModel:
    """A critic without restraint that learns thirty times as fast as the generator: its gradient vanishes."""
    assert isinstance(model.objective, AdversarialGame)
    game = AdversarialGame(model.objective.critic, NonSaturating(), penalty=None, critic_rate=30.0)
    training = dataclasses.replace(model.training_defaults, learning_rate=1e-4, ema=0.0)
    return _with_objective(model, game, training)


def _collapsed(model: GenerativeModel) -> GenerativeModel:
    """A KL term of twenty times its weight: the code says nothing of the example any more."""
    assert isinstance(model.objective, VariationalBound)
    return _with_objective(model, VariationalBound(model.objective.encoder, free_nats=0.0, beta=20.0))


def _hasty(model: GenerativeModel) -> GenerativeModel:
    """Three steps of the solver."""
    return adjusted(model, steps=3)


@dataclass(frozen=True)
class Failure:
    """A failure mode that a person can bring about.

    Attributes:
        paradigm: the paradigm that fails so.
        title: an imperative.
        change: the change of the model.
    """

    paradigm: str
    title: str
    change: Callable[[GenerativeModel], GenerativeModel]


FAILURES: Mapping[str, Failure] = {
    "mode-collapse": Failure("adversarial", "drop a mode", _dropped_modes),
    "saturated-critic": Failure("adversarial", "saturate the critic", _saturated),
    "posterior-collapse": Failure("latent-variable", "collapse the posterior", _collapsed),
    "few-steps": Failure("diffusion", "use three steps", _hasty),
}
"""Failures on demand, by name."""


# --- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """The data and the budget of a live training.

    Attributes:
        data: a set of :data:`DATA`, or points ``(N, 2)``.
        paradigms: names in :data:`RECIPES`.
        seconds: budget of each model.
        steps: its budget in steps instead. 0: in seconds.
        failures: names in :data:`FAILURES`.
        conditional: whether models learn the classes of a built-in set.
        seed: of weights, order and draws.

    Raises:
        ValueError: for a value that cannot be used.
    """

    data: str | tuple[tuple[float, float], ...] = "two-moons"
    paradigms: tuple[str, ...] = tuple(RECIPES)
    seconds: float = 10.0
    steps: int = 0
    failures: tuple[str, ...] = ()
    conditional: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on."""
        if isinstance(self.data, str):
            _check("data", self.data, DATA)
        elif not FEWEST <= len(self.data) <= MOST:
            raise ValueError(f"data must be {FEWEST} to {MOST:,} points, got {len(self.data)}: draw more, or fewer")
        if not self.paradigms:
            raise ValueError("paradigms must be at least one, got none")
        for name in self.paradigms:
            _check("paradigms", name, tuple(RECIPES))
        for name in self.failures:
            _check("failures", name, tuple(FAILURES))
        if not 0 < self.seconds <= LONGEST:
            raise ValueError(f"seconds must be above 0 and at most {LONGEST:g}, got {self.seconds:g}")
        if not 0 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps must be 0 to {MOST_STEPS:,}, got {self.steps}")

    @property
    def budget(self) -> Budget:
        """The budget of each model."""
        return parse_budget(f"{self.steps} steps" if self.steps else self.seconds)

    @classmethod
    def of(cls, value: Any) -> Request:
        """A request from a JSON value.

        Raises:
            ValueError: naming the field that is wrong.
        """
        fields = {item.name for item in dataclasses.fields(cls)}
        if not isinstance(value, dict) or set(value) - fields:
            raise ValueError(f"the request must be an object of {', '.join(sorted(fields))}, got another")
        values = dict(value)
        for name in ("paradigms", "failures"):
            if name in values:
                values[name] = _texts(name, values[name])
        if "data" in values and not isinstance(values["data"], str):
            values["data"] = _pairs(values["data"])
        values["seconds"] = _number("seconds", values.get("seconds", cls.seconds))
        values["steps"] = int(_number("steps", values.get("steps", cls.steps)))
        values["seed"] = int(_number("seed", values.get("seed", cls.seed)))
        values["conditional"] = bool(values.get("conditional", False))
        return cls(**values)


def _check(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value[:80]!r}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {str(value)[:80]!r}")
    return float(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 20 or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} must be a list of at most 20 texts, got {type(value).__name__}")
    return tuple(dict.fromkeys(value))


def _pairs(value: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == 2 for row in value):
        raise ValueError("data must be a name or a list of pairs of numbers, got another")
    return tuple((_number("data", x), _number("data", y)) for x, y in value[: MOST + 1])


@dataclass(frozen=True)
class Settings:
    """How samples are drawn.

    Attributes:
        sampler: the name of another sampler, or empty.
        steps: the number of its steps. ``None``: as it is.
        guidance: scale of classifier-free guidance. ``None``: none.
        temperature: of a sampler that has one. ``None``: as it is.
        given: the class of the samples. ``None``: all.
        seed: of the samples.
    """

    sampler: str = ""
    steps: int | None = None
    guidance: float | None = None
    temperature: float | None = None
    given: int | None = None
    seed: int = 0

    def of(self, model: GenerativeModel) -> GenerativeModel:
        """The model with these settings.

        Raises:
            ValueError: for a setting that its sampler does not have, or one out of range.
        """
        if self.steps is not None and not 1 <= self.steps <= 500:
            raise ValueError(f"steps must be 1 to 500, got {self.steps}")
        model = adjusted(model, self.sampler or None, self.steps, self.guidance)
        if self.temperature is None:
            return model
        if temperature_of(model.sampler) is None:
            raise ValueError(f"temperature must be left out for {type(model.sampler).__name__}, which has none")
        return model.with_parts(sampler=_tempered(model.sampler, self.temperature))


def _tempered(sampler: Any, temperature: float) -> Any:
    if hasattr(sampler, "temperature"):
        return dataclasses.replace(sampler, temperature=temperature)
    return dataclasses.replace(sampler, chain=_tempered(sampler.chain, temperature))


# --- training ---------------------------------------------------------------------------------------------------------


def lessons(model: GenerativeModel, dataset: Dataset, budget: Budget, seed: int) -> Iterator[Step]:
    """Train a model and, before it, the models that its parts hold, each for its share of the budget."""
    plan = plan_of(model, budget)
    for planned in plan.stages:
        name, share, inner = planned.stage.name, planned.stage.share, planned.stage.model
        for step in train(inner, data_of(dataset, inner), budget=planned.budget, seed=seed, watch_every=10):
            yield dataclasses.replace(step, stage=name, used=planned.start + share * step.used)
    make_ready(model, seed)
    for step in train(model, dataset, budget=plan.model_budget, seed=seed, watch_every=10):
        yield dataclasses.replace(step, used=plan.start + (1 - plan.start) * step.used)


@dataclass
class Pupil:
    """A model in training.

    Attributes:
        name: its paradigm.
        model: is trained in place.
        steps: the generator that takes one step after the other.
        watched: what its terms watched, by name, in order.
        last: the latest step.
        error: the reason why its training ended early.
    """

    name: str
    model: GenerativeModel
    steps: Iterator[Step]
    watched: dict[str, list[float]] = field(default_factory=dict)
    last: Step | None = None
    error: str = ""

    def learn(self, seconds: float, most: int) -> bool:
        """Take steps for a slice of time, and no more than ``most``. Returns whether there are more to come."""
        end = time.monotonic() + seconds
        try:
            for step in islice(self.steps, most):
                self.last = step
                for name, value in step.watched.items():
                    self.watched.setdefault(name.rpartition("/")[2], []).append(value)
                if time.monotonic() > end:
                    return True
        except Diverged as error:
            self.error = str(error)
        return False

    def verdicts(self, x: Tensor, references: Tensor) -> list[dict[str, Any]]:
        """The failure modes that training or samples show, each with its value and, by its threshold, a word."""
        rows = []
        for mode in self.model.facts.failure_modes:
            values = self.watched.get(mode.monitor, [])
            if values:
                word = mode.rule(values).word if mode.rule is not None else ""
                value = values[-1] if math.isfinite(values[-1]) else None  # JSON has no NaN
                rows.append({"name": mode.name, "value": value, "word": word})
        if self.model.space.shape == (2,):
            rows += shortcomings(self.current(), x, references)
        rows.sort(key=lambda row: WORDS.index(row["word"]))
        return list({row["name"]: row for row in rows}.values())  # of two that tell of one mode the worse

    def row(self, seed: int, references: Tensor) -> dict[str, Any]:
        """The state of the training, with samples as a JSON value."""
        row: dict[str, Any] = {"kind": "progress", "name": self.name, "error": self.error, "failures": []}
        if self.last is not None:
            row |= {"step": self.last.index, "used": self.last.used, "stage": self.last.stage}
            row["loss"] = {name: round(value, 4) for name, value in self.last.losses.items()}
        if not self.error and self.last is not None:
            count = 160 if self.model.space.shape == (2,) else 9
            x = self.current().sample(count, seed=seed)
            row |= {"samples": listed(self.model.space, x), "failures": self.verdicts(x, references)}
        return row

    def current(self) -> GenerativeModel:
        """The model whose samples are shown: that of the stage, while there is one."""
        stages = {stage.name: stage.model for stage in self.model.stages()}
        return stages.get(self.last.stage, self.model) if self.last is not None else self.model


COMPARED, NEIGHBOURS = 400, 40
"""Points of the test that samples are held against, and how many of them a mode has at least."""
LEFT_OUT, APART = Below(0.05, 0.1), Below(0.1, 0.25)


def shortcomings(model: GenerativeModel, x: Tensor, references: Tensor, seed: int = 0) -> Iterator[dict[str, Any]]:
    """The failure modes that samples of the plane show, which no loss does.

    Modes are dropped where no sample lies among the nearest tenth of the data around a point: the share of such points,
    which is 0 for new data and an eighth where one of eight equal modes is left out. The steps of a solver are too few
    where four times as many lead the same noise elsewhere: the distance in deviations of the data.

    Args:
        model: a trained model.
        x: its samples.
        references: examples that it was not trained on.
        seed: of the samples.
    """
    y = references[:COMPARED]
    for mode in model.facts.failure_modes:
        if "coverage" in mode.scores:
            rule, value = LEFT_OUT, 1 - coverage(x, y, features="plane", k=min(NEIGHBOURS, len(y) // 10)).value
        elif mode.sweep and isinstance(model.sampler, Solver):
            finer = adjusted(model, steps=4 * getattr(model.sampler, "steps", 1)).sample(len(x), seed=seed)
            again = model.sample(len(x), seed=seed)
            rule, value = APART, float(((finer - again) / y.std(0)).square().mean().sqrt())
        else:
            continue
        yield {"name": mode.name, "value": value, "word": rule([value]).word}


WORDS = ("", "fine", "watch", "bad")


@singledispatch
def listed(space: Space, x: Tensor) -> list[Any]:
    """Examples as lists that a page draws: points, to three digits."""
    values: list[Any] = (x.double() * 1000).round().div(1000).tolist()
    return values


@listed.register
def _(space: Images, x: Tensor) -> list[Any]:
    """The brightness of the pixels of the first channel, 0 to 1, in rows."""
    return listed.dispatch(Space)(space, x[:, 0].flatten(1) / (space.n_values - 1))


class Studio:
    """A training of several models, and the models when it has ended.

    Attributes:
        request: what is trained.
        pause: while it is set, nobody trains.
    """

    def __init__(self, request: Request) -> None:
        self.request, self.dataset = request, dataset_of(request)
        self.pause, self._single, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._pupils = {name: self._pupil(name) for name in request.paradigms}

    def _pupil(self, name: str) -> Pupil:
        space = self.dataset.space
        torch.manual_seed(self.request.seed)
        points = space.shape == (2,)
        model = model_of_points(RECIPES[name], space, SIZE) if points else build(name, space, size=SIZE)
        for failure in self.request.failures:
            if FAILURES[failure].paradigm == name:
                model = FAILURES[failure].change(model)
        return Pupil(name, model, lessons(model, self.dataset, self.request.budget, self.request.seed))

    def step(self) -> None:
        """While paused: let every model take one step."""
        self._single.set()

    def rows(self, gone: Callable[[], bool] = lambda: False) -> Iterator[dict[str, Any]]:
        """Train, and give rows: ``start``, ``progress`` after each slice, the ``trace`` of each model, ``end``."""
        space, x = self.dataset.space, self.dataset.test.x
        yield {"kind": "start", "data": listed(space, x[:600]), "shape": list(space.shape)}
        waiting = dict(self._pupils)
        while waiting and not gone():
            if self.pause.is_set() and not self._single.is_set():
                time.sleep(0.05)
                continue
            single = self._single.is_set()
            self._single.clear()
            for name, pupil in list(waiting.items()):
                with self._lock:
                    more = pupil.learn(SLICE, 1 if single else 10**9)
                    row = pupil.row(self.request.seed, x)
                yield row
                if not more and not single:
                    waiting.pop(name)
                    yield self.traced(name) if not pupil.error else row
        self.close()
        yield {"kind": "end"}

    def close(self) -> None:
        """End all trainings. The models keep what they have learned."""
        with self._lock:
            for pupil in self._pupils.values():
                close = getattr(pupil.steps, "close", None)
                if close is not None:
                    close()

    def traced(self, name: str, settings: Settings = Settings()) -> dict[str, Any]:
        """The trace of one model as it is now.

        Raises:
            ValueError: for another paradigm, or a setting that the model does not have.
        """
        _check("name", name, tuple(self._pupils))
        with self._lock:
            model = settings.of(self._pupils[name].model)
            record = _record(model, self.dataset.test.x, settings)
            failures = dataclasses.replace(self._pupils[name], model=model).verdicts(
                record.pop("samples"), self.dataset.test.x
            )
        return {"kind": "trace", "name": name, "trace": record | {"failures": failures}}


def redrawn(name: str, settings: Settings) -> dict[str, Any]:
    """The trace of a run of the zoo with other settings. They leave its likelihood, which is that of its own trace.

    Raises:
        ValueError: for a run that the zoo does not have, or a setting that the model does not have.
    """
    run = Run.load(zoo.folder_of(name))
    model, y = settings.of(run.model), run.dataset().test.x
    record = _record(model, y, settings, scored=0) | {"score": json.loads(trace_of(*name.split("/")))["score"]}
    x = record.pop("samples")
    failures = [*shortcomings(model, x, y)] if model.space.shape == (2,) else []
    return {"kind": "trace", "name": name, "trace": record | {"failures": failures}}


def _record(
    model: GenerativeModel, references: Tensor, settings: Settings, scored: int | None = None
) -> dict[str, Any]:
    """The trace of a model as a JSON value, with what may be changed, and its samples."""
    plane = model.space.shape == (2,)
    sampling = trace(
        model,
        references,
        240 if plane else 16,
        settings.seed,
        settings.given,
        scored=(128 if plane else 32) if scored is None else scored,
        density=plane and model.likelihood.kind in QUICK,
    )
    return sampling.record() | {"samples": sampling.samples}


def dataset_of(request: Request) -> Dataset:
    """The data of a request."""
    if isinstance(request.data, str):
        return load(request.data, given="labels" if request.conditional else None, limit=8000)
    return load(torch.tensor(request.data).numpy(), seed=request.seed)
