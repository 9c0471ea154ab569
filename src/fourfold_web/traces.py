"""Traces: the sampling of a trained model as compact data, which a page plays.

A trace has frames, and panels that show them: the plane of the data, and the plane of the codes of a model that has
one. A panel holds layers (points, images, lines, arrows, fields of numbers, curves), each with values for every frame
or with values that do not change. The states are those through which the model's own sampler goes: hooks on the
estimand see the arguments of each call, chains hand out their states. So the last frame holds the samples of
:meth:`fourfold.core.GenerativeModel.sample` for the same seed.

Planes are drawn in the units of the model's codes, in which data has about mean 0 and variance 1.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fourfold import Run, load
from fourfold.codecs import LearnedCodec
from fourfold.core import Codec, Condition, Estimand, GenerativeModel, Noise, Space, count_evaluations, view
from fourfold.core.evaluations import evaluating
from fourfold.estimands import (
    Bijection,
    Conditionals,
    Denoiser,
    NoisedEnergy,
    NoisePredictor,
    Pushforward,
    Score,
    TiltedReference,
    VectorField,
)
from fourfold.maths.paths import Path
from fourfold.nn.coupling_stack import CouplingStack
from fourfold.paradigms.adversarial import AdversarialGame
from fourfold.paradigms.latent import CodeDecoder, VariationalBound
from fourfold.samplers.langevin import Annealed, Bridge
from fourfold.spaces import Images
from fourfold.vocabulary import Kind

__all__ = [
    "Frame",
    "Layer",
    "Panel",
    "Trace",
    "Way",
    "conditional_density",
    "critic_layers",
    "first_density",
    "landscape",
    "panel_of",
    "places",
    "scores",
    "temperature_of",
    "trace",
    "traced",
    "walk",
    "warped",
]

REACH = 2.6
"""Planes show ``[-REACH, REACH]`` in both directions."""
CELLS = 48
"""Cells of a field of numbers along each side."""
ARROWS = 17
"""Arrows of a field along each side."""
LINES = 15
"""Lines of a grid in each direction."""
SPOTLIGHTS = 4
"""Points that are drawn one after the other before all others."""


# --- what a page plays ------------------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """One moment of sampling.

    Attributes:
        caption: the step that leads here, in words.
        move: how long the way here from the frame before takes, relative to the others.
        rest: how long it is shown after that.
    """

    caption: str
    move: float = 1.0
    rest: float = 0.0


@dataclass(frozen=True)
class Layer:
    """Values that a panel draws in one way.

    Attributes:
        kind: ``points`` ``(F, N, 2)``, ``images`` ``(F, N, C, H, W)``, ``lines`` ``(F, L, P, 2)``, ``arrows``
            ``(F, A, A, 2)`` in rows from the bottom, ``field`` ``(F, R, R)`` likewise, ``curve`` ``(F, R)`` along the
            bottom, or ``column`` ``(F, R + 1)``: a curve that stands at the place which its first number tells.
        name: a noun for it.
        values: float32, with ``F`` frames, or one that does not change. NaN is not drawn.
        bits: of a number in the record.
    """

    kind: str
    name: str
    values: Tensor
    bits: int = 16

    def record(self) -> dict[str, Any]:
        """A JSON value: numbers are cut into equal steps between the least and the largest. The last step is NaN."""
        x, top = self.values.float().numpy(), 2**self.bits - 1
        finite = x[np.isfinite(x)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        steps = np.where(np.isfinite(x), np.round((x - low) / ((high - low) or 1.0) * (top - 1)), top)
        data = steps.astype("<u2" if self.bits == 16 else "u1").tobytes()
        shape = list(self.values.shape)
        packed = base64.b64encode(data).decode()
        return {"kind": self.kind, "name": self.name, "shape": shape, "bits": self.bits, "low": low, "high": high} | {
            "data": packed
        }


@dataclass(frozen=True)
class Panel:
    """A plane, or a wall of images."""

    title: str
    layers: Sequence[Layer]
    reach: float = REACH

    def record(self) -> dict[str, Any]:
        """A JSON value."""
        return {"title": self.title, "reach": self.reach, "layers": [layer.record() for layer in self.layers]}


@dataclass(frozen=True)
class Trace:
    """The sampling of one model.

    Attributes:
        frames: the moments, in order.
        panels: what is drawn.
        samples: the samples at the end, raw, ``(N, *shape)``.
        evaluations: network evaluations of one sample, counted.
        answers: the two answers and their consequences, a JSON value.
        options: the settings of the sampler that a person may change, a JSON value.
        score: the likelihood of test examples with its kind, a JSON value. ``None`` where there is none.
    """

    frames: Sequence[Frame]
    panels: Sequence[Panel]
    samples: Tensor = field(repr=False)
    evaluations: float
    answers: dict[str, Any] = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    score: dict[str, Any] | None = None

    def moment(self, share: float) -> tuple[int, float]:
        """The frame that comes next after a share of the whole time, and the share of the way there."""
        starts = [0.0]
        for frame in self.frames:
            starts.append(starts[-1] + frame.move + frame.rest)
        at = min(max(share, 0.0), 1.0) * starts[-1]
        i = max(k for k in range(len(self.frames)) if k == 0 or at >= starts[k])
        t = min((at - starts[i]) / self.frames[i].move, 1.0)
        return i, t * t * (3 - 2 * t) if self.frames[i].rest else t

    def record(self) -> dict[str, Any]:
        """A JSON value: what ``player.js`` plays."""
        return {
            "frames": [frame._asdict() for frame in self.frames],
            "panels": [panel.record() for panel in self.panels],
            "evaluations": self.evaluations,
            "answers": self.answers,
            "options": self.options,
            "score": self.score,
        }


# --- a model's trace --------------------------------------------------------------------------------------------------


def trace(
    model: GenerativeModel,
    data: Tensor,
    n: int = 240,
    seed: int = 0,
    given: Condition = None,
    scored: int = 256,
    density: bool = True,
) -> Trace:
    """Draw samples and record the way to them.

    Args:
        model: a trained model of points of the plane or of images.
        data: raw examples that it was not trained on, ``(B, *shape)``. They are drawn behind the samples.
        n: number of samples.
        seed: of the samples.
        given: their condition, as for :meth:`fourfold.core.GenerativeModel.sample`.
        scored: number of the examples whose likelihood is taken.
        density: whether a plane shows the likelihood of each place, where the model has one.
    """
    noise = Noise(seed, 0, n, device=model.device)
    with evaluating(model), torch.no_grad():
        cond = model.space.encode_condition(given, n, model.device)
        way = walk(model.estimand, model, noise, cond)
        samples = model.codec.decode(way.states[-1], noise)
        panels = _panels(model, way, samples, data, density)
    score = score_of(model, data[:scored])
    return Trace(way.frames, panels, samples, evaluations_of(model, given), answers_of(model), options_of(model), score)


def evaluations_of(model: GenerativeModel, given: Condition = None, n: int = 16) -> float:
    """Network evaluations of one sample, counted. Guidance to a condition doubles them."""
    with count_evaluations(model.estimand) as count:
        model.sample(n, given)
    return count.rows / n


WALL = 16
"""Images of a trace."""


def traced(folder: FilePath | str, data: str) -> Trace:
    """The trace of a run of a built-in set, with the likelihood of its test examples."""
    model = Run.load(folder, "cpu").model
    plane = model.space.shape == (2,)
    return trace(model, load(data).test.x, n=240 if plane else WALL, scored=256 if plane else 128)


def answers_of(model: GenerativeModel) -> dict[str, Any]:
    """The two questions' answers, the kind of the likelihood, the cost and the failure modes, as a JSON value."""
    facts = model.facts
    return {
        "paradigm": model.paradigm.value,
        "represents": facts.represents,
        "objective": facts.objective,
        "objective_formula": facts.objective_formula,
        "sampling": facts.sampling,
        "sampling_formula": facts.sampling_formula,
        "likelihood": facts.likelihood.words,
        "likelihood_note": facts.likelihood_note,
        "cost": facts.cost_note,
        "failures": [
            {"name": mode.name, "meaning": mode.meaning, "measurement": mode.measurement}
            for mode in facts.failure_modes
        ],
    }


def options_of(model: GenerativeModel) -> dict[str, Any]:
    """The settings of a model's sampler that a person may change: other samplers by name, steps, temperature, class."""
    from fourfold.samplers import samplers  # the list loads every module of samplers

    given, fits = model.space.given, []
    for name, kind in samplers().items():
        try:
            model.with_parts(sampler=kind())
        except TypeError:
            continue
        fits.append(name)
    return {
        "sampler": type(model.sampler).__name__,
        "samplers": sorted({*fits, type(model.sampler).__name__}),
        "steps": getattr(model.sampler, "steps", None),
        "temperature": temperature_of(model.sampler),
        "classes": given.names if given is not None else (),
    }


def temperature_of(sampler: Any) -> float | None:
    """The temperature of a sampler, or of its chain. ``None``: it has none."""
    value: float | None = getattr(sampler, "temperature", None)
    return value if value is not None or not hasattr(sampler, "chain") else temperature_of(sampler.chain)


def score_of(model: GenerativeModel, x: Tensor) -> dict[str, Any] | None:
    """The mean log-likelihood of examples in nats, its standard error and its kind. ``None`` where there is none."""
    if model.likelihood.kind is Kind.NONE or not len(x):
        return None
    result = model.log_prob(x)
    nats = result.nats.double()
    return {
        "nats": float(nats.mean()),
        "error": float(nats.std() / math.sqrt(len(nats))),
        "kind": result.kind.words,
        "note": result.note,
    }


@dataclass
class Way:
    """The states of a sampler on its way from noise to samples, as codes.

    Attributes:
        frames: the moments.
        states: codes ``(F, N, *event)``. NaN is not drawn yet.
        layers: layers of the plane of these codes.
        codes: layers of a plane of codes below these, where the model has one of its own.
    """

    frames: Sequence[Frame]
    states: Tensor
    layers: Sequence[Layer] = ()
    codes: Sequence[Layer] = ()


@singledispatch
def walk(estimand: Estimand, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    """Draw samples by the model's sampler and record the way. An estimand that is not registered shows the samples."""
    z = _draw(model, noise, cond)
    return Way([Frame("samples")], z[None])


def _draw(model: GenerativeModel, noise: Noise, cond: Tensor | None, estimand: Estimand | None = None) -> Tensor:
    """The codes of samples."""
    z: Tensor = model.sampler(estimand or view(model.estimand, model.sampler.needs), noise, cond)
    return z


@contextmanager
def calls(module: nn.Module) -> Iterator[list[tuple[tuple[Any, ...], Any]]]:
    """The arguments and the result of every call of a module while the context is open."""
    records: list[tuple[tuple[Any, ...], Any]] = []
    handle = module.register_forward_hook(lambda _, args, output: records.append((args, output)))
    try:
        yield records
    finally:
        handle.remove()


# --- along a path: diffusion ------------------------------------------------------------------------------------------


class _Watched(NoisedEnergy):
    """An energy that records the states at which it is asked."""

    def __init__(self, energy: NoisedEnergy) -> None:
        super().__init__()
        self.energy, self.path, self.event = energy, energy.path, energy.event
        self.records: list[tuple[tuple[Any, ...], Any]] = []

    def at(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        self.records.append(((x_t.detach(), t), None))
        return self.energy.at(x_t, t, cond)


@walk.register(Denoiser)
@walk.register(NoisePredictor)
@walk.register(VectorField)
@walk.register(Score)
def _(estimand: Denoiser, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    with calls(estimand) as records:
        z = _draw(model, noise, cond)
    return _along(estimand, model, records, z)


@walk.register
def _(estimand: NoisedEnergy, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    watched = _Watched(estimand)
    z = _draw(model, noise, cond, watched)
    return _along(estimand, model, watched.records, z)


def _along(
    estimand: Denoiser | NoisedEnergy, model: GenerativeModel, records: Sequence[tuple[tuple[Any, ...], Any]], z: Tensor
) -> Way:
    """The states at the times of a path, divided by their scale. Of several states at one time the last counts."""
    at = {float(args[1].flatten()[0]): args[0][: len(z)] for args, _ in records}
    times = sorted(at, reverse=True)
    scales = [_scale(estimand.path, t, model.codec.rms) for t in times]
    states = torch.stack([*(at[t] / scale for t, scale in zip(times, scales, strict=True)), z])
    moves = _moves(states)
    noisy = [Frame(f"noise σ = {_sigma(estimand.path, t):.3g}", move) for t, move in zip(times, moves, strict=False)]
    frames = [*noisy, Frame("samples", moves[-1], rest=5.0)]
    return Way(frames, states, [scores(estimand, times, scales)] if estimand.event == (2,) else [])


def _moves(states: Tensor) -> list[float]:
    """The time that each step takes on the screen: long where the points go far, 12 in all."""
    far = (states[1:] - states[:-1]).flatten(1).square().mean(1).sqrt()
    share = 0.3 / len(far) + 0.7 * far / far.sum()
    return [1.0, *(12 * share).tolist()]


def _scale(path: Path, t: float, rms: float) -> float:
    """The root mean square of a noised example, relative to that of a clean one."""
    at = torch.tensor(t, dtype=torch.float64)
    return math.sqrt(float(path.alpha(at)) ** 2 + (float(path.sigma(at)) / rms) ** 2)


def _sigma(path: Path, t: float) -> float:
    """The noise relative to the signal."""
    return math.exp(-float(path.log_snr(torch.tensor(t, dtype=torch.float64))))


@torch.no_grad()
def scores(estimand: Denoiser | NoisedEnergy, times: Sequence[float], scales: Sequence[float]) -> Layer:
    """``sigma_t grad log p_t`` at the arrows' places. Where there is no noise any more, the last field stays."""
    try:
        score = view(estimand, Score)
    except TypeError:  # a field without a score
        return Layer("arrows", "", torch.full((1, ARROWS, ARROWS, 2), math.nan), 8)
    x, fields = places(ARROWS), []
    for t, scale in zip(times, scales, strict=True):
        at = torch.full((len(x),), t)
        field = float(estimand.path.sigma(at[:1].double())) * score(x * scale, at)
        fields.append(field.view(ARROWS, ARROWS, 2))
    return Layer("arrows", "the score, times σ", torch.stack([*fields, fields[-1]]), 8)


# --- one token after the other: autoregressive ------------------------------------------------------------------------


@walk.register
def _(estimand: Conditionals, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    z = _draw(model, noise, cond)
    return _pair(estimand, z) if estimand.event == (2,) and z.is_floating_point() else _tokens(z)


def _tokens(z: Tensor) -> Way:
    """Tokens appear in their order. Those that are not drawn yet have the value of the first."""
    length = z[0].numel()
    counts = sorted({round(k * length / 32) for k in range(33)})
    states = []
    for count in counts:
        state = torch.zeros_like(z)
        state.flatten(1)[:, :count] = z.flatten(1)[:, :count]
        states.append(state)
    frames = [Frame(f"{count} of {length} tokens") for count in counts[:-1]]
    return Way([*frames, Frame("samples", rest=5.0)], torch.stack(states))


def _pair(estimand: Conditionals, z: Tensor) -> Way:
    """``x_1`` on the axis, then ``x_2`` given ``x_1``: first one point after the other, then all."""
    frames, states, columns = [Frame("p(x₁)", rest=0.5)], [torch.full_like(z, math.nan)], [_no_column()]
    for k in range(min(SPOTLIGHTS, len(z))):
        for has_both in (False, True):
            state = torch.full_like(z, math.nan)
            state[: k + 1] = z[: k + 1]
            state[k, 1] = z[k, 1] if has_both else -REACH
            frames.append(Frame("x₂ ~ p(x₂ | x₁)" if has_both else "x₁ ~ p(x₁)", rest=0.5))
            states.append(state)
            columns.append(torch.cat([z[k, :1], conditional_density(estimand, float(z[k, 0]))]))
    first = torch.stack([z[:, 0], torch.full_like(z[:, 0], -REACH)], 1)
    first[:SPOTLIGHTS] = z[:SPOTLIGHTS]
    layers = [
        Layer("curve", "p(x₁)", first_density(estimand)[None], 8),
        Layer("column", "p(x₂ | x₁)", torch.stack([*columns, _no_column(), _no_column()])),
    ]
    more = [Frame("x₁ of all others", rest=1.0), Frame("samples: x₂ given x₁", rest=5.0)]
    return Way([*frames, *more], torch.stack([*states, first, z]), layers)


def _no_column() -> Tensor:
    return torch.full((CELLS + 1,), math.nan)


def first_density(estimand: Conditionals, cells: int = CELLS, reach: float = REACH) -> Tensor:
    """``p(x_1)`` at the middle of cells along the axis, ``(cells,)``."""
    axis = _axis(cells, reach)
    return estimand(torch.stack([axis, torch.zeros_like(axis)], 1))[:, 0].exp()


def conditional_density(estimand: Conditionals, x: float, cells: int = CELLS, reach: float = REACH) -> Tensor:
    """``p(x_2 | x_1 = x)`` at the middle of cells along the axis, ``(cells,)``."""
    axis = _axis(cells, reach)
    return estimand(torch.stack([torch.full_like(axis, x), axis], 1))[:, 1].exp()


# --- noise through a map: adversarial, flows, latent variables --------------------------------------------------------


@walk.register
def _(estimand: Pushforward, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    """A generator: its noise has more numbers than a plane shows, so the first two stand for it."""
    with calls(estimand) as records:
        z = _draw(model, noise, cond)
    start = records[0][0][0]
    frames = [Frame("noise z", rest=1.0), Frame("samples x = G(z), by one evaluation", rest=5.0)]
    if estimand.event != (2,):
        walked = [estimand(start * share, cond) for share in torch.linspace(0, 1, 13)[:-1]]
        frames = [Frame(f"G({share:.2f} z)") for share in torch.linspace(0, 1, 13)[:-1]]
        return Way([*frames, Frame("samples G(z)", rest=5.0)], torch.stack([*walked, z]))
    critic = model.objective.critic if isinstance(model.objective, AdversarialGame) else None
    layers = [] if critic is None else critic_layers(critic)
    return Way(frames, torch.stack([start[:, :2], z]), layers)


def critic_layers(critic: nn.Module) -> list[Layer]:
    """The critic's number at each place, and its gradient, along which a generator moves its samples."""
    with torch.enable_grad():
        x = places(ARROWS).requires_grad_()
        (slope,) = torch.autograd.grad(critic(x, None).sum(), x)
    with torch.no_grad():
        number = critic(places(CELLS), None).reshape(CELLS, CELLS)
        number = number.clamp(min=float(number.quantile(0.3)))  # far from all data it may fall without bound
    return [
        Layer("field", "the critic: data is likelier where it is bright", number[None], 8),
        Layer("arrows", "the critic's gradient", slope.view(1, ARROWS, ARROWS, 2), 8),
    ]


@walk.register
def _(estimand: Bijection, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    with calls(estimand) as records:
        z = _draw(model, noise, cond)
    start = records[0][0][0]
    if estimand.event != (2,):
        walked = [estimand(start * share, cond) for share in torch.linspace(0, 1, 13)[:-1]]
        frames = [Frame(f"f⁻¹({share:.2f} z)") for share in torch.linspace(0, 1, 13)[:-1]]
        return Way([*frames, Frame("samples f⁻¹(z)", rest=5.0)], torch.stack([*walked, z]))
    grid = _grid_lines()
    points, lines = warped(estimand, start), warped(estimand, grid.flatten(0, 1))
    frames = [Frame("noise z", rest=1.0), *(Frame(f"after layer {i}") for i in range(1, len(points) - 1))]
    layer = Layer("lines", "a grid of the noise", lines.view(len(lines), *grid.shape))
    return Way([*frames, Frame("samples x = f⁻¹(z)", rest=5.0)], torch.stack([*points[:-1], z]), [layer])


@torch.no_grad()
def warped(bijection: Bijection, z: Tensor) -> Tensor:
    """Points of the plane before and after a map, and after each layer where it is a stack of couplings, ``(F, N, 2)``.

    A coupling of the plane moves one coordinate given the other, and the next takes them in exchanged order. So the
    coordinate that one layer reads is the one that the layer before it has moved.
    """
    net = getattr(bijection, "net", None)
    if not isinstance(net, CouplingStack):
        return torch.stack([z, bijection(z)])
    inputs = list[Tensor]()
    handles = [layer.register_forward_hook(lambda _, args, output: inputs.append(args[0][:, 0])) for layer in net.nets]
    x = bijection(z)
    for handle in handles:
        handle.remove()
    states = [torch.stack([a, b], 1) for a, b in zip(inputs, [z[:, 1], *inputs], strict=False)]
    turned = [state.flip(1) if (len(states) - i) % 2 else state for i, state in enumerate(states)]
    return torch.stack([*turned, x])


@walk.register
def _(estimand: CodeDecoder, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    """Noise, a code, the mean of the decoder, an example."""
    with calls(estimand) as records:
        z = _draw(model, noise, cond)
    (start, *_), observation = records[0]
    code = start if estimand.prior is None else estimand.prior(start, cond)
    hidden, mean = torch.full_like(z, math.nan, dtype=torch.float32), observation.mean()
    frames = [
        Frame("noise", rest=1.0),
        Frame("code u ~ p(u)", rest=2.0),
        Frame("the decoder's mean of p(x | u)", rest=2.0),
        Frame("samples x ~ p(x | u)", rest=5.0),
    ]
    if estimand.event != (2,):
        walked = [estimand(start * share, cond).mean() for share in torch.linspace(0, 1, 13)[:-1]]
        frames = [Frame(f"the decoder of {share:.2f} z") for share in torch.linspace(0, 1, 13)[:-1]]
        return Way([*frames, Frame("samples x ~ p(x | u)", rest=5.0)], torch.stack([*walked, z]))
    if estimand.codes != (2,):
        return Way(frames, torch.stack([hidden, hidden, mean, z]))
    points = Layer("points", "codes", torch.stack([start, code, code, code]))
    grid = _grid_lines()
    decoded = estimand.decode(grid.flatten(0, 1)).mean().view(grid.shape)
    image = torch.stack([torch.full_like(decoded, math.nan)] * 2 + [decoded] * 2)
    codes = [Layer("lines", "a grid of the codes", grid[None], 8), points]
    return Way(frames, torch.stack([start, code, mean, z]), [Layer("lines", "the decoded grid", image)], codes)


# --- a chain: energies ------------------------------------------------------------------------------------------------


@walk.register
def _(estimand: TiltedReference, model: GenerativeModel, noise: Noise, cond: Tensor | None) -> Way:
    sampler = model.sampler
    if not isinstance(sampler, Annealed):
        z = _draw(model, noise, cond)
        return Way([Frame("samples")], z[None])
    chains = sampler.run(estimand, noise, cond, keep=1)
    assert chains.earlier is not None
    ladder = [0.0, *sampler.ladder]
    rungs, moves = _spread(len(ladder), 24), _spread(chains.states.shape[1], 16)
    states = torch.cat([chains.earlier[:, rungs], chains.states[:, moves]], 1).transpose(0, 1)
    frames = [Frame(f"inverse temperature {ladder[i]:.2f}") for i in rungs]
    frames += [Frame(f"move {i + 1} of the chain") for i in moves[:-1]] + [Frame("samples: the last move", rest=5.0)]
    states = states.reshape(len(states), len(noise), *estimand.event)
    layers = [landscape(estimand, [ladder[i] for i in rungs], len(moves))] if estimand.event == (2,) else []
    return Way(frames, states, layers)


def landscape(energy: TiltedReference, ladder: Sequence[float], more: int) -> Layer:
    """``exp(-E_b)`` at each place, relative to its largest value, for each inverse temperature ``b``."""
    x, reference, fields = places(CELLS), energy.reference.at_rest(), []
    for b in ladder:
        log_p = -Bridge(energy, b, reference)(x)
        fields.append((log_p - log_p.max()).exp().view(CELLS, CELLS))
    return Layer("field", "exp(−E), the energy's landscape", torch.stack(fields + fields[-1:] * more), 8)


def _spread(count: int, most: int) -> list[int]:
    """``most`` of ``count`` indices, evenly spaced, with the first and the last."""
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)}) if count > most else [*range(count)]


# --- panels -----------------------------------------------------------------------------------------------------------


def _panels(model: GenerativeModel, way: Way, samples: Tensor, data: Tensor, density: bool) -> list[Panel]:
    """The planes of codes, where there are some, and the plane of the data or a wall of images."""
    x, planes, layers = _decoded(model, way.states, samples), list[Panel](), way.layers
    if isinstance(model.codec, LearnedCodec) and way.states.shape[2:] == (2,):
        codes = [_points("codes of data", _encoded(model.codec, data)), *layers]
        planes = [Panel("the codes", [*codes, Layer("points", "codes", way.states.float())])]
        layers = _decoded_grid(model) if samples.shape[1:] == (2,) else []
    elif way.codes:
        planes = [Panel("the codes", [*_behind_codes(model, data), *way.codes])]
    return [*planes, panel_of(model.space, model, x, data, layers, density)]


def _decoded_grid(model: GenerativeModel) -> list[Layer]:
    """A grid of the codes on the plane of the data."""
    grid = _grid_lines()
    x = _decoded(model, grid.flatten(0, 1)[None], None)[0]
    return [Layer("lines", "the decoded grid", _plane(model, x).view(1, *grid.shape))]


def _decoded(model: GenerativeModel, states: Tensor, samples: Tensor | None) -> Tensor:
    """The examples of codes, each the mean of its decoder, ``(F, N, *shape)``. The last are the samples."""
    codec = model.codec.variants().get("AsMean", model.codec)
    frames, count = states.shape[:2]
    x = codec.decode(states.flatten(0, 1), Noise(0, 0, frames * count)).view(frames, count, *model.space.shape)
    return x if samples is None else torch.cat([x[:-1], samples[None].to(x.dtype)])


@torch.no_grad()
def _behind_codes(model: GenerativeModel, data: Tensor) -> list[Layer]:
    """The codes that the encoder gives to data."""
    estimand, objective = model.estimand, model.objective
    if not (isinstance(estimand, CodeDecoder) and isinstance(objective, VariationalBound)):
        return []
    parameters = objective.encoder(_encoded(model.codec, data), None)
    return [_points("codes of data", estimand.posterior(parameters).mu)]


@singledispatch
def panel_of(
    space: Space, model: GenerativeModel, x: Tensor, data: Tensor, layers: Sequence[Layer], density: bool
) -> Panel:
    """The panel of raw examples ``(F, N, *shape)``: points of the plane, unless a space registers its own."""
    points = Layer("points", "samples", torch.stack([_plane(model, part) for part in x]))
    return Panel("the data", [_points("data", _plane(model, data[:600])), *_density(model, density), *layers, points])


@panel_of.register
def _(space: Images, model: GenerativeModel, x: Tensor, data: Tensor, layers: Sequence[Layer], density: bool) -> Panel:
    return Panel("the images", [Layer("images", "samples", x[:, :64].float() / (space.n_values - 1), 8)])


def _plane(model: GenerativeModel, x: Tensor) -> Tensor:
    """Raw points in the units of the plane: those of the innermost codec."""
    return innermost(model.codec).encode(x)[0]


def _raw(model: GenerativeModel, z: Tensor) -> Tensor:
    """Points of the plane as raw examples."""
    return innermost(model.codec).decode(z)


def _encoded(codec: Codec, data: Tensor) -> Tensor:
    """The codes of some examples, with draws of their own stream where the codec draws."""
    x = data[:600]
    return codec.encode(x, Noise(0, 0, len(x), "score"))[0]


def innermost(codec: Codec) -> Codec:
    """The codec of raw examples, below those that are learned."""
    return innermost(codec.autoencoder.codec) if isinstance(codec, LearnedCodec) else codec


def _density(model: GenerativeModel, density: bool) -> list[Layer]:
    """The likelihood of each place, of its kind. Nothing for a model without one."""
    if not density or model.likelihood.kind is Kind.NONE:
        return []
    result = model.log_prob(_raw(model, places(CELLS)), batch_size=2304)
    relative = (result.nats - result.nats.max()).exp().float()
    return [Layer("density", f"exp(log-likelihood), {result.kind.words}", relative.view(1, CELLS, CELLS), 8)]


def _points(name: str, z: Tensor) -> Layer:
    return Layer("data", name, z.float()[None])


def _axis(cells: int, reach: float = REACH) -> Tensor:
    """The middles of cells."""
    return (torch.arange(cells) + 0.5) / cells * 2 * reach - reach


def places(cells: int) -> Tensor:
    """The middles of cells of the plane, in rows from the bottom, ``(cells^2, 2)``."""
    y, x = torch.meshgrid(_axis(cells), _axis(cells), indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def _grid_lines(points: int = 49) -> Tensor:
    """Upright and level lines, ``(lines, points, 2)``."""
    at, along = torch.linspace(-2.4, 2.4, LINES), torch.linspace(-2.4, 2.4, points)
    upright = torch.stack(torch.meshgrid(at, along, indexing="ij"), -1)
    return torch.cat([upright, upright.flip(-1)])
