"""Requests to a model: samples as they come, texts and answers, codes in between, pictures with holes, scores."""

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
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from fourfold.codecs.learned import LearnedCodec
from fourfold.core import GenerativeModel, Noise, Space, view
from fourfold.core.evaluations import evaluating
from fourfold.data import Dataset
from fourfold.distributions.observations import located
from fourfold.engine import Run
from fourfold.estimands import Denoiser
from fourfold.pictures.panels import Rows
from fourfold.runs.services import Question, services
from fourfold.samplers.inverse import Decoded, ForwardMap, Inpainting, ParticlePosterior
from fourfold.tasks import Conditioning, complete
from fourfold.tasks.drawing import adjusted
from fourfold.tasks.language import Shaping, stream_text
from fourfold.tasks.scores import score_record
from fourfold_web.runs import Library, finite, takes_numbers
from fourfold_web.work import Turn

__all__ = [
    "Hole",
    "Samples",
    "Scoring",
    "Talk",
    "Way",
    "Writing",
    "answered",
    "between",
    "inpainted",
    "sampled",
    "scored",
    "written",
]

EXAMPLES = 200
"""Test and training examples that a score is set beside."""
SCORED = 512
"""Examples of a file that are scored."""
FIRST = 4
"""Samples of the first batch, so that something is seen soon. Each further batch has twice as many."""


HOLE_NOISE = 0.2
"""Deviation from the pixels around a hole, in encoded units: a smaller one leads the solver astray at high noise."""


class _Request:
    """A dataclass that is read from JSON, every field held against its type and its bounds."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The request.

        Raises:
            ValueError: naming the field, what it must be, and what it is.
        """
        settings = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
        for name, value in values.items():
            if name not in settings:
                raise ValueError(f"a request has no {name[:40]!r}; leave it out")
            _check(name, value, settings[name].default, BOUNDS.get(name))
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


UPLOADS = ("condition", "file")
"""Fields that hold a file: ``{"name": ..., "content": ...}``, the content in base64."""
UPLOAD = {"name": str, "content": str}


def _check(name: str, value: Any, default: Any, bounds: tuple[float, float] | None) -> None:
    if value is None and default is None:
        return
    if name in UPLOADS:
        if not isinstance(value, dict) or {key: type(item) for key, item in value.items()} != UPLOAD:
            raise ValueError(f"{name} must be a file with its name and content, got {type(value).__name__}")
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
    """Samples: their number, seed, conditions as texts or as a file, sampler, and requirements."""

    n: int = 16
    seed: int = 0
    given: tuple[str, ...] = ()
    condition: Mapping[str, str] | None = None
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
class Talk(_Request):
    """A question to a service of a run, see :mod:`fourfold.runs.services`."""

    service: str = ""
    texts: tuple[str, ...] = ()
    file: Mapping[str, str] | None = None
    length: int = 256
    seed: int = 0
    temperature: float | None = None
    top_p: float | None = None


@final
@dataclass(frozen=True)
class Way(_Request):
    """A path from the code of one seed to that of another."""

    n: int = 9
    seed: int = 0
    other: int = 1
    given: tuple[str, ...] = ()
    condition: Mapping[str, str] | None = None
    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None


@final
@dataclass(frozen=True)
class Hole(_Request):
    """A picture with a hole: sample ``index`` of a seed, or a file, and for each pixel 1 in the hole."""

    mask: tuple[int, ...] = ()
    n: int = 4
    seed: int = 0
    index: int = 0
    given: tuple[str, ...] = ()
    condition: Mapping[str, str] | None = None
    file: Mapping[str, str] | None = None


@final
@dataclass(frozen=True)
class Scoring(_Request):
    """The likelihood of the examples of a file."""

    file: Mapping[str, str] | None = None
    given: tuple[str, ...] = ()
    condition: Mapping[str, str] | None = None


def sampled(library: Library, name: str, request: Samples, turn: Turn) -> Iterator[dict[str, Any]]:
    """Samples in batches, as pictures or as rows of a table."""
    run = library.run(name)
    start = time.monotonic()
    with _interruptible(turn), _remarks() as remarks:
        parts, space = _conditioning(run, request), run.model.space
        cond = _condition_rows(run, parts, request.n)
        for low, x in _batches(run, request, parts, cond):
            part = _view(space, x, library.data(name) if low == 0 else None)
            if cond is not None:
                part = _beside(space, cond[low : low + len(x)].cpu(), part)
            if low == 0 and request.condition is not None and space.given is not None and "conditions" not in part:
                yield {"given": _view(space.given, space.given.examples_of(parts.condition[: request.n]))}
            yield {"total": request.n, "start": low, **part, "seconds": time.monotonic() - start}
    yield {"notes": [str(remark.message) for remark in remarks], "seconds": time.monotonic() - start}


def _beside(space: Space, cond: Tensor, samples: dict[str, Any]) -> dict[str, Any]:
    """The columns that are given, then those that are drawn, where both are rows of a table."""
    if space.given is None or "rows" not in samples:
        return samples
    given = _view(space.given, space.given.examples_of(cond))
    if "rows" not in given:
        return samples
    rows = [[*first, *then] for first, then in zip(given["rows"], samples["rows"], strict=True)]
    return {"columns": [*given["columns"], *samples["columns"]], "rows": rows, "conditions": len(given["columns"])}


def _batches(run: Run, request: Samples, parts: Conditioning, cond: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    """Samples with the index of the first, in batches that grow. Rows with given values are drawn together."""
    if parts.restrictions or request.require:
        given = list(request.given) if parts.restrictions else cond
        yield 0, run.sample(request.n, given, request.seed, require=request.require)
        return
    model = adjusted(run.model, request.sampler, request.steps, request.guidance)
    low, size = 0, FIRST
    while low < request.n:
        size = min(size, request.n - low)
        rows = None if cond is None else cond[low : low + size]
        yield low, model.sample(size, rows, request.seed, start=low).cpu()
        low, size = low + size, 2 * size


def _view(space: Space, x: Tensor, data: Dataset | None = None) -> dict[str, Any]:
    """Examples as rows of a table, as points of one picture over those of the data, or each as a picture of its own."""
    if tuple(space.shape) == (2,) and x.is_floating_point():
        return {"points": x.tolist(), "behind": None if data is None else data.test.x[:500].tolist()}
    if space.columns and isinstance(space.picture_of_one(x[0]), Rows):
        frame = space.table(x)
        return {"columns": list(map(str, frame.columns)), "rows": finite(frame.astype(object).to_numpy().tolist())}
    return {"pictures": [space.picture_of_one(row)._repr_html_() for row in x]}


def written(library: Library, name: str, request: Writing, turn: Turn) -> Iterator[dict[str, Any]]:
    """A text in parts, as its tokens are drawn."""
    temperature = 1.0 if request.temperature is None else request.temperature
    shaping = Shaping(temperature=temperature, top_k=request.top_k, top_p=request.top_p)
    start, tokens = time.monotonic(), 0
    with _interruptible(turn):
        for part in stream_text(library.run(name).model, request.prefix, request.length, request.seed, shaping):
            tokens += 1
            yield {"text": part}
    yield {"tokens": tokens, "seconds": time.monotonic() - start}


def answered(library: Library, name: str, request: Talk, turn: Turn) -> Iterator[dict[str, Any]]:
    """The answer of a service in pieces.

    Raises:
        ValueError: for a service that the run does not have.
    """
    run, service = library.run(name), services().get(request.service)
    if service is None or not service.fits(run):
        raise ValueError(f"the run {name} must have the service, got {request.service[:40]!r}; choose another")
    temperature = 1.0 if request.temperature is None else request.temperature
    shaping = Shaping(temperature=temperature, top_p=request.top_p)
    with _interruptible(turn), _remarks() as remarks, _upload_file(request.file) as path:
        for piece in service.answer(run, Question(request.texts, path, request.length, request.seed, shaping)):
            yield {key: value for key, value in asdict(piece).items() if value is not None}
    yield {"notes": [str(remark.message) for remark in remarks]}


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
def between(library: Library, name: str, request: Way, turn: Turn) -> Iterator[dict[str, Any]]:
    """Samples on the path between the codes of two seeds."""
    run = library.run(name)
    model = adjusted(run.model, request.sampler, request.steps, request.guidance)
    cond = _condition_rows(run, _conditioning(run, request), request.n)
    noise = _Between((request.seed, request.other), request.n, model.device)
    with _interruptible(turn), evaluating(model):
        codes = model.sampler(view(model.estimand, model.sampler.needs), noise, cond)
        x = model.codec.decode(codes, noise).cpu()
    yield {"start": 0, **_view(model.space, x, library.data(name))}


def inpainted(library: Library, name: str, request: Hole, turn: Turn) -> Iterator[dict[str, Any]]:
    """Draws of what stands in the hole of a picture.

    Raises:
        ValueError: for a mask of another size, or a model that cannot fill holes.
    """
    run = library.run(name)
    space = run.model.space
    if len(space.shape) != 3:
        raise ValueError(f"the model must be of pictures to fill holes, got one of {space}")
    size = space.shape[1] * space.shape[2]
    if len(request.mask) != size or not 0 < sum(map(bool, request.mask)) < size:
        raise ValueError(f"mask must have {size} pixels, with some in the hole and some outside")
    observed = ~torch.tensor(request.mask, dtype=torch.bool).view(space.shape[1:])
    with _interruptible(turn), _remarks():
        x = _examples(run, request)[0][0] if request.file else _sample_at(run, request)
        cond = _condition_rows(run, _conditioning(run, request), request.n)
        filled = _filled(run.model, x, observed, request.n, request.seed, cond)
    yield {"original": space.picture_of_one(x)._repr_html_(), "start": 0, **_view(space, filled)}


def _sample_at(run: Run, request: Hole) -> Tensor:
    """One sample of a seed by its index."""
    cond = _condition_rows(run, _conditioning(run, request), request.index + 1)
    return run.model.sample(1, None if cond is None else cond[-1:], request.seed, start=request.index)[0].cpu()


def _filled(model: GenerativeModel, x: Tensor, observed: Tensor, n: int, seed: int, cond: Tensor | None) -> Tensor:
    """Pictures ``(n, C, H, W)`` that agree with one where it is observed, bool ``(H, W)``."""
    try:
        view(model.estimand, Denoiser)
    except TypeError:
        mask = observed.expand(x.shape).reshape(-1)
        rows = complete(model, x.reshape(1, -1).repeat(n, 1), mask, cond=cond, seed=seed)
        return rows.view(n, *x.shape)
    y, measurement = _measured(model, x[None].to(model.device), observed.to(model.device))
    sampler = ParticlePosterior(measurement, y, HOLE_NOISE, particles=8, steps=30)
    samples = model.with_parts(sampler=sampler).sample(n, cond, seed).cpu()
    return torch.where(observed, x.to(samples), samples)


def _measured(model: GenerativeModel, x: Tensor, observed: Tensor) -> tuple[Tensor, ForwardMap]:
    """The observed pixels of a picture ``(1, C, H, W)``, and how they follow from the codes of a model."""
    codec = model.codec
    inner = codec.autoencoder.codec if isinstance(codec, LearnedCodec) else codec
    code = inner.encode(x, Noise(0, 0, 1, "score", model.device))[0]
    if code.shape[-2:] != observed.shape:
        raise ValueError("the model must draw pixels to fill holes, got one of other codes")
    pixels = Inpainting(observed.to(code))
    if isinstance(codec, LearnedCodec):
        return pixels(code), Decoded(pixels, lambda z: located(codec.observation(z)).centre())
    return pixels(code), pixels


def scored(library: Library, name: str, request: Scoring, turn: Turn) -> Iterator[dict[str, Any]]:
    """The likelihood of each example of a file, its kind, and its place among test and training examples.

    Raises:
        ValueError: where there is no file.
    """
    run = library.run(name)
    space = run.model.space
    if request.file is None:
        raise ValueError("the file must hold examples to score, got none; choose one")
    with _interruptible(turn), _remarks() as remarks:
        x, cond = _examples(run, request)
        result = run.log_prob(x, cond)
        yield {
            "nats": finite(result.nats.tolist()),
            "values": finite(result.in_unit(space.unit).tolist()),
            "errors": None if result.std_error is None else finite(result.std_error.tolist()),
            "kind": result.kind.words,
            "summary": finite(score_record(result, space.unit)),
            **_view(space, x[:16]),
        }
        for part, split in _references(library, name).items():
            values = run.log_prob(*split).in_unit(space.unit)
            yield {"part": part, "values": finite(values.tolist())}
    yield {"notes": [str(remark.message) for remark in remarks]}


@contextmanager
def _upload_file(upload: Mapping[str, str] | None) -> Iterator[Path | None]:
    """The file of an upload, in a folder that is thrown away."""
    if upload is None:
        yield None
        return
    suffix = Path(upload["name"]).suffix[:10]
    if not suffix[1:].isalnum():
        raise ValueError(f"the file must have an ending that says its format, got {upload['name'][:80]!r}; rename it")
    try:
        content = base64.b64decode(upload["content"], validate=True)
    except binascii.Error:
        raise ValueError("the file must be in base64, got something else; choose it again") from None
    with tempfile.TemporaryDirectory(prefix="fourfold-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        try:
            yield path
        except ValueError as error:  # a person knows the file by its own name
            raise ValueError(str(error).replace(str(path), Path(upload["name"]).name[:80])) from error


def _examples(run: Run, request: Hole | Scoring) -> tuple[Tensor, Tensor | None]:
    """The examples of an uploaded file and their conditions: of the same file, of another, or one for all."""
    with _upload_file(request.file) as path, _upload_file(request.condition) as given:
        part, _ = run.examples(path, limit=SCORED, given=given if isinstance(request, Scoring) else None)
    x, cond = part.x[:SCORED], part.cond
    if cond is None and request.given:
        return x, _condition_rows(run, _conditioning(run, request), len(x))
    return x, None if cond is None else cond[:SCORED]


def _references(library: Library, name: str) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Test and training examples with their conditions, where the data is at hand."""
    data = library.data(name)
    if data is None:
        return {}
    parts = {"test": data.test, "training": data.train}
    rows = {part: (data.space.rows(split.x), split.cond) for part, split in parts.items()}
    return {
        part: (x[:EXAMPLES], None if cond is None else cond[:EXAMPLES])
        for part, (x, cond) in rows.items()
        if cond is None or len(cond) == len(x)
    }


def _conditioning(run: Run, request: Samples | Way | Hole | Scoring) -> Conditioning:
    """The conditions of a request: texts, numbers or a file."""
    with _upload_file(request.condition) as path:
        if path is not None:
            return run.conditioning([*request.given, path])
    given = run.model.space.given
    if given is not None and takes_numbers(given) and request.given:
        return run.conditioning(_numbers(request.given))
    return run.conditioning(list(request.given) or None)


def _numbers(texts: Sequence[str]) -> list[float]:
    """The numbers of a condition that a person wrote.

    Raises:
        ValueError: for a text that is none.
    """
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise ValueError(f"the condition must be numbers, got {' '.join(texts)[:40]!r}; write them as 0.5, 1") from None


def _condition_rows(run: Run, parts: Conditioning, n: int) -> Tensor | None:
    """The encoded conditions of ``n`` samples, which take turns where several are given."""
    value, space = parts.condition, run.model.space
    if value is None or space.given is None:
        return space.encode_condition(value, n)
    several = len(value) if isinstance(value, Tensor) and value.ndim > len(space.given.shape) else 1
    if space.given.names and isinstance(value, list):
        several = len(value)
    cond = space.encode_condition(value, several)
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
