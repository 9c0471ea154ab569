"""Requests to a model: samples as they come, text token by token, codes in between, pictures with holes, scores."""

from __future__ import annotations

import base64
import binascii
import math
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from fourfold.core import GenerativeModel, Noise, Space, view
from fourfold.core.evaluations import evaluating
from fourfold.engine import Run
from fourfold.estimands import Denoiser
from fourfold.pictures.panels import Rows
from fourfold.samplers.inverse import Inpainting, Posterior
from fourfold.tasks import complete
from fourfold.tasks.drawing import adjusted
from fourfold.tasks.language import Shaping, stream_text
from fourfold.tasks.scores import score_record
from fourfold_web.runs import Library, finite
from fourfold_web.work import Turn

__all__ = ["Hole", "Samples", "Way", "Writing", "between", "inpainted", "sampled", "scored", "written"]

EXAMPLES = 200
"""Test and training examples that a score is set beside."""
SCORED = 512
"""Examples of a file that are scored."""
FIRST = 4
"""Samples of the first batch, so that something is seen soon. Each further batch has twice as many."""


class _Request:
    """A dataclass that is read from JSON, every field held against its type and its bounds."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The request.

        Raises:
            ValueError: naming the field, what it must be, and what it is.
        """
        known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"a request has no {name[:40]!r}; leave it out")
            _check(name, value, known[name].default, BOUNDS.get(name))
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


BOUNDS: Mapping[str, tuple[float, float]] = {
    "n": (1, 1024),
    "seed": (0, 2**31),
    "other": (0, 2**31),
    "index": (0, 2**20),
    "steps": (1, 1000),
    "guidance": (0, 50),
    "length": (1, 4096),
    "temperature": (0, 10),
    "top_k": (1, 10**6),
    "top_p": (0, 1),
}


def _check(name: str, value: Any, default: Any, bounds: tuple[float, float] | None) -> None:
    if value is None and default is None:
        return
    if bounds is not None:
        whole = name not in ("guidance", "temperature", "top_p")
        if not isinstance(value, int if whole else int | float) or isinstance(value, bool):
            raise ValueError(f"{name} must be a number, got {str(value)[:40]!r}")
        if not bounds[0] <= value <= bounds[1]:
            raise ValueError(f"{name} must be {bounds[0]:g} to {bounds[1]:g}, got {value:g}")
    elif isinstance(default, tuple):
        if (
            not isinstance(value, list)
            or len(value) > 1 << 20
            or not all(isinstance(item, str | int) for item in value)
        ):
            raise ValueError(f"{name} must be a list of texts or numbers, got {type(value).__name__}")
    elif not isinstance(value, str) or len(value) > 1 << 20:
        raise ValueError(f"{name} must be a text, got {type(value).__name__}")


@final
@dataclass(frozen=True)
class Samples(_Request):
    """Samples: their number, seed, conditions as texts, sampler, and requirements."""

    n: int = 16
    seed: int = 0
    given: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None


@final
@dataclass(frozen=True)
class Writing(_Request):
    """A text that goes on."""

    prefix: str = ""
    length: int = 256
    seed: int = 0
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


@final
@dataclass(frozen=True)
class Way(_Request):
    """A path from the code of one seed to that of another."""

    n: int = 9
    seed: int = 0
    other: int = 1
    given: tuple[str, ...] = ()
    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None


@final
@dataclass(frozen=True)
class Hole(_Request):
    """A picture with a hole: sample ``index`` of a seed, or a file in base64, and for each pixel 1 in the hole."""

    mask: tuple[int, ...] = ()
    n: int = 4
    seed: int = 0
    index: int = 0
    given: tuple[str, ...] = ()
    upload: str | None = None


def sampled(library: Library, name: str, asked: Samples, turn: Turn) -> Iterator[dict[str, Any]]:
    """Samples in batches, as pictures or as rows of a table."""
    run = library.run(name)
    space = run.model.space
    start = time.monotonic()
    with _interruptible(turn), _remarks() as remarks:
        for low, x in _batches(run, asked):
            shown = _shown(space, x, low, library, name)
            yield {"total": asked.n, "start": low, **shown, "seconds": time.monotonic() - start}
    yield {"notes": [str(remark.message) for remark in remarks], "seconds": time.monotonic() - start}


def _batches(run: Run, asked: Samples) -> Iterator[tuple[int, Tensor]]:
    """Samples with the index of the first, in batches that grow. Rows with given values are drawn together."""
    parts = run.conditioning(list(asked.given) or None)
    if parts.restrictions or asked.require:
        yield 0, run.sample(asked.n, list(asked.given) or None, asked.seed, require=asked.require)
        return
    model = adjusted(run.model, asked.sampler, asked.steps, asked.guidance)
    low, size = 0, FIRST
    cond = _condition(run, asked.given, asked.n)
    while low < asked.n:
        size = min(size, asked.n - low)
        rows = None if cond is None else cond[low : low + size]
        yield low, model.sample(size, rows, asked.seed, start=low).cpu()
        low, size = low + size, 2 * size


def _shown(space: Space, x: Tensor, low: int, library: Library, name: str) -> dict[str, Any]:
    """Examples as rows of a table, as points of one picture, or each as a picture of its own."""
    if tuple(space.shape) == (2,) and x.is_floating_point():
        data = library.data(name) if low == 0 else None
        return {"points": x.tolist(), "behind": None if data is None else data.test.x[:500].tolist()}
    if space.columns and isinstance(space.picture_of_one(x[0]), Rows):
        frame = space.table(x)
        return {"columns": list(map(str, frame.columns)), "rows": finite(frame.astype(object).to_numpy().tolist())}
    return {"pictures": [space.picture_of_one(row)._repr_html_() for row in x]}


def written(library: Library, name: str, asked: Writing, turn: Turn) -> Iterator[dict[str, Any]]:
    """A text in parts, as its tokens are drawn."""
    temperature = 1.0 if asked.temperature is None else asked.temperature
    shaping = Shaping(temperature=temperature, top_k=asked.top_k, top_p=asked.top_p)
    start, tokens = time.monotonic(), 0
    with _interruptible(turn):
        for part in stream_text(library.run(name).model, asked.prefix, asked.length, asked.seed, shaping):
            tokens += 1
            yield {"text": part}
    yield {"tokens": tokens, "seconds": time.monotonic() - start}


class _Between(Noise):
    """Noise on the way from one sample to another: each number on the path is a draw of the same distribution.

    Normal draws turn from the one to the other, ``cos(a) z_0 + sin(a) z_1``, which is normal at every angle. Uniform
    ones do so through the normal distribution.
    """

    def __init__(self, seeds: tuple[int, int], n: int, device: torch.device) -> None:
        super().__init__(seeds[0], 0, n, device=device)
        self._ends = [Noise(seed, 0, 1, device=device) for seed in seeds]
        self._angles = torch.linspace(0, math.pi / 2, n, device=device)

    def normal(self, *event: int) -> Tensor:
        return self._turned(*(end.normal(*event) for end in self._ends))

    def uniform(self, *event: int) -> Tensor:
        normal = [torch.special.ndtri(end.uniform(*event).clamp(1e-6, 1 - 1e-6)) for end in self._ends]
        return torch.special.ndtr(self._turned(*normal)).clamp(max=1 - 1e-6)

    def _turned(self, first: Tensor, last: Tensor) -> Tensor:
        angles = self._angles.view(-1, *(1 for _ in first.shape[1:]))
        return angles.cos() * first + angles.sin() * last


@torch.no_grad()
def between(library: Library, name: str, asked: Way, turn: Turn) -> Iterator[dict[str, Any]]:
    """Samples on the path between the codes of two seeds."""
    run = library.run(name)
    model = adjusted(run.model, asked.sampler, asked.steps, asked.guidance)
    cond = _condition(run, asked.given, asked.n)
    noise = _Between((asked.seed, asked.other), asked.n, model.device)
    with _interruptible(turn), evaluating(model):
        codes = model.sampler(view(model.estimand, model.sampler.needs), noise, cond)
        x = model.codec.decode(codes, noise).cpu()
    yield {"start": 0, **_shown(model.space, x, 0, library, name)}


def inpainted(library: Library, name: str, asked: Hole, turn: Turn) -> Iterator[dict[str, Any]]:
    """Draws of what stands in the hole of a picture.

    Raises:
        ValueError: for a mask of another size, or a model that cannot fill holes.
    """
    run = library.run(name)
    space = run.model.space
    if len(space.shape) != 3:
        raise ValueError(f"the model must be of pictures to fill holes, got one of {space}")
    size = space.shape[1] * space.shape[2]
    if len(asked.mask) != size or not 0 < sum(map(bool, asked.mask)) < size:
        raise ValueError(f"mask must have {size} pixels, with some in the hole and some outside")
    observed = ~torch.tensor(asked.mask, dtype=torch.bool).view(space.shape[1:])
    with _interruptible(turn), _remarks():
        x = _uploaded(run, asked.upload) if asked.upload else _sample_at(run, asked)
        filled = _filled(run.model, x, observed, asked.n, asked.seed, _condition(run, asked.given, asked.n))
    yield {"original": space.picture_of_one(x)._repr_html_(), "start": 0, **_shown(space, filled, 0, library, name)}


def _sample_at(run: Run, asked: Hole) -> Tensor:
    """One sample of a seed by its index."""
    cond = _condition(run, asked.given, asked.index + 1)
    return run.model.sample(1, None if cond is None else cond[-1:], asked.seed, start=asked.index)[0].cpu()


def _uploaded(run: Run, content: str) -> Tensor:
    """The first example of a picture in base64."""
    try:
        raw = base64.b64decode(content, validate=True)
    except binascii.Error:
        raise ValueError("the picture must be in base64, got something else; choose it again") from None
    return _examples(run, "picture.png", raw)[0]


def _filled(model: GenerativeModel, x: Tensor, observed: Tensor, n: int, seed: int, cond: Tensor | None) -> Tensor:
    """Pictures ``(n, C, H, W)`` that agree with one where it is observed, bool ``(H, W)``."""
    try:
        view(model.estimand, Denoiser)
    except TypeError:
        mask = observed.expand(x.shape).reshape(-1)
        rows = complete(model, x.reshape(1, -1).repeat(n, 1), mask, cond=cond, seed=seed)
        return rows.view(n, *x.shape)
    code = model.codec.encode(x[None].to(model.device), Noise(seed, 0, 1, "score", model.device))[0]
    if code.shape[-2:] != observed.shape:
        raise ValueError("the model must draw pixels to fill holes, got one of codes behind an autoencoder")
    mask = observed.to(code)
    drawn = model.with_parts(sampler=Posterior(Inpainting(mask), code * mask)).sample(n, cond, seed).cpu()
    return torch.where(observed, x.to(drawn), drawn)


def scored(library: Library, name: str, file: str, content: bytes, turn: Turn) -> Iterator[dict[str, Any]]:
    """The likelihood of each example of a file, its kind, and its place among test and training examples."""
    run = library.run(name)
    space = run.model.space
    with _interruptible(turn), _remarks() as remarks:
        x = _examples(run, file, content)
        result = run.log_prob(x)
        yield {
            "nats": finite(result.nats.tolist()),
            "values": finite(result.in_unit(space.unit).tolist()),
            "errors": None if result.std_error is None else finite(result.std_error.tolist()),
            "kind": result.kind.words,
            "summary": finite(score_record(result, space.unit)),
            **_shown(space, x[:16], 0, library, name),
        }
        for part, rows in _others(library, name).items():
            values = run.log_prob(rows).in_unit(space.unit)
            yield {"part": part, "values": finite(values.tolist())}
    yield {"notes": [str(remark.message) for remark in remarks]}


def _examples(run: Run, file: str, content: bytes) -> Tensor:
    """The examples of an uploaded file, which is written to a folder that is thrown away."""
    suffix = Path(file).suffix[:10]
    if not suffix[1:].isalnum():
        raise ValueError(f"the file must have an ending that says its format, got {file[:80]!r}; rename it")
    with tempfile.TemporaryDirectory(prefix="fourfold-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        part, _ = run.examples(path, limit=SCORED)
    return part.x[:SCORED]


def _others(library: Library, name: str) -> dict[str, Tensor]:
    """Test and training examples, where the data is at hand and needs no condition."""
    data = library.data(name)
    if data is None or data.space.conditional:
        return {}
    return {"test": data.space.rows(data.test.x)[:EXAMPLES], "training": data.space.rows(data.train.x)[:EXAMPLES]}


def _condition(run: Run, given: Sequence[str], n: int) -> Tensor | None:
    """The encoded conditions of ``n`` samples, which take turns where several are given."""
    space = run.model.space
    if not given:
        return space.encode_condition(None, n)
    several = len(given) if space.given is not None and space.given.names else 1
    cond = space.encode_condition(run.conditioning(list(given)).condition, several)
    return None if cond is None else cond[torch.arange(n) % several]


@contextmanager
def _interruptible(turn: Turn) -> Iterator[None]:
    """Stop at the next call of a network once the client is gone or the time is over."""
    thread = threading.get_ident()

    def check(module: Any, args: Any) -> None:
        if threading.get_ident() == thread:  # models of other threads go on
            turn.check()

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _remarks() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of a task, for the page."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", UserWarning)
        yield remarks
