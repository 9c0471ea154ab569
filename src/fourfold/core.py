"""The nouns: every paradigm is trained, sampled and scored through the classes of this file, and nothing else.

A generative system is identified by two answers: its training objective (:class:`Objective`, which learns an
:class:`Estimand`) and its sampling procedure (:class:`Sampler`, which needs one). :class:`GenerativeModel` holds both,
and refuses to exist when they do not fit.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import inspect
import math
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from fourfold.uncertainty import pooled_error
from fourfold.vocabulary import COSTS, FACTS, Cost, Facts, Kind, Paradigm, Principle

__all__ = [
    "Batch",
    "CachedCodec",
    "Codec",
    "Condition",
    "Estimand",
    "Evaluations",
    "GenerativeModel",
    "Likelihood",
    "LogProb",
    "Measure",
    "Noise",
    "Objective",
    "Part",
    "Sampler",
    "Space",
    "Stage",
    "Staged",
    "Term",
    "Training",
    "configuration",
    "construct",
    "count_evaluations",
    "decode_captions",
    "encode_captions",
    "forgetful",
    "no_likelihood",
    "register_paradigm",
    "register_view",
    "strangers",
    "view",
]

E = TypeVar("E", bound="Estimand")


# --- configuration: a part is rebuilt from its constructor's arguments -------------------------------------------------


class Part:
    """Remembers its constructor's arguments, which are its whole configuration (see :func:`configuration`)."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _remembering(cls.__dict__["__init__"]))  # noqa: B010


def _remembering(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that the outermost call records its bound arguments."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        if "_arguments" not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            self.__dict__["_arguments"] = dict(list(bound.arguments.items())[1:])
        init(self, *args, **kwargs)

    return wrapper


def configuration(part: Any) -> Any:
    """Return the JSON value that :func:`construct` turns back into an equal part.

    A part is written as ``{"type": "module:Class", "args": {...}}``; numbers, strings, ``None`` and sequences as
    themselves. Tensors are no configuration: they belong into buffers, which are saved as weights.

    Raises:
        TypeError: for a value that is none of these.
    """
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, (list, tuple)):
        return [configuration(item) for item in part]
    if isinstance(part, Mapping):
        return {str(key): configuration(value) for key, value in part.items()}
    arguments = _arguments(part)
    kind = type(part)
    return {
        "type": f"{kind.__module__}:{kind.__qualname__}",
        "args": {key: configuration(value) for key, value in arguments.items()},
    }


def _arguments(part: Any) -> dict[str, Any]:
    """The constructor's arguments of a part or of a dataclass."""
    if isinstance(part, GenerativeModel):
        return {**{name: getattr(part, name) for name in _PARTS}, "training": part.training_defaults}
    if isinstance(part, Part) and "_arguments" in part.__dict__:
        return dict(part.__dict__["_arguments"])
    if dataclasses.is_dataclass(part):
        return {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
    if isinstance(part, Part):
        return {}
    raise TypeError(f"{type(part).__name__} cannot be written to model.json: make it a Part or a dataclass")


def construct(value: Any, trust: Sequence[type] = ()) -> Any:
    """Build the part that :func:`configuration` wrote; sequences become tuples.

    Only classes of fourfold, of packages registered under the entry-point group ``fourfold.paradigms``, and those of
    ``trust`` are called, so a ``model.json`` from elsewhere runs no foreign code.

    Args:
        value: a JSON value.
        trust: further classes that it may name: those of a script, or of a package that is not registered.

    Raises:
        ValueError: if the value names anything else.
    """
    if isinstance(value, list):
        return tuple(construct(item, trust) for item in value)
    if not isinstance(value, dict):
        return value
    if "type" not in value or "args" not in value:
        return {key: construct(item, trust) for key, item in value.items()}
    kind = _resolve(value["type"], trust)
    return kind(**{key: construct(item, trust) for key, item in value["args"].items()})


def _resolve(name: Any, trust: Sequence[type]) -> Any:
    """The part that ``module:Class`` names, if its package may be imported and defines it."""
    for kind in trust:
        if name in (f"{kind.__module__}:{kind.__qualname__}", f"__main__:{kind.__qualname__}"):
            return kind
    match = re.fullmatch(r"(\w+)((?:\.\w+)*):(\w+)", name, re.ASCII) if isinstance(name, str) else None
    if match is None or "__main__" in match[2]:
        raise ValueError(f"{name!r} does not name a class of a module")
    if match[1] == "__main__":
        raise ValueError(
            f"{name!r} is a class of the script that trained: give it, as in Run.load(folder, trust=[Net])"
        )
    if not _may_be_imported(match[1]):
        raise ValueError(
            f"{name!r} belongs neither to fourfold nor to a package that is registered under 'fourfold.paradigms': was "
            "the file changed, or is such a package missing? A class of your own is given by Run.load(folder, trust=[Net])"
        )
    found = getattr(importlib.import_module(match[1] + match[2]), match[3], None)
    if not (isinstance(found, type) and (issubclass(found, Part) or dataclasses.is_dataclass(found))):
        raise ValueError(f"{name!r} is not a part of a model")
    if found.__module__.partition(".")[0] != match[1]:  # such as a class of torch that a module of fourfold imports
        raise ValueError(f"{name!r} is defined elsewhere, in {found.__module__}")
    return found


def _may_be_imported(package: str) -> bool:
    """Whether classes of a package are constructed without being asked for."""
    return package == "fourfold" or package in _third_parties()


def strangers(value: Any) -> list[str]:
    """The classes of a :func:`configuration` that :func:`construct` builds only if they are trusted."""
    if isinstance(value, list):
        return [name for item in value for name in strangers(item)]
    if not isinstance(value, dict):
        return []
    own = []
    if "type" in value and "args" in value:
        package, _, name = value["type"].partition(":")
        known = "." not in name and _may_be_imported(package.partition(".")[0])
        own = [] if known else [value["type"]]
    return list(dict.fromkeys([*own, *strangers(list(value.values()))]))


def _third_parties() -> set[str]:
    """The top-level packages registered under the entry-point group ``fourfold.paradigms``."""
    return {point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="fourfold.paradigms")}


# --- noise and batches ------------------------------------------------------------------------------------------------


class Noise:
    """The random stream of samples ``start .. stop``: sample *i* of a seed draws the same whatever its neighbours.

    Indices are grouped into aligned blocks of ``BLOCK``; each block has a generator of its own, always drawn whole and
    then cut, so neither the number of samples nor the batch size changes what an index receives.

    Args:
        seed: the user's seed.
        start, stop: the half-open range of sample indices.
        stream: names an independent stream of the same seed (``"sample"``, ``"score"``).
        device: where the draws are put; they are made on the CPU so that every device sees the same.
    """

    BLOCK: ClassVar[int] = 64

    def __init__(
        self, seed: int, start: int, stop: int, stream: str = "sample", device: torch.device | str = "cpu"
    ) -> None:
        self.start, self.stop, self.device = start, stop, device
        first, last = start // self.BLOCK, max(stop - 1, start) // self.BLOCK
        self._generators = [_generator(f"{stream}/{seed}/{block}") for block in range(first, last + 1)]

    def __len__(self) -> int:
        return self.stop - self.start

    def normal(self, *event: int) -> Tensor:
        """Standard normal draws, ``(n, *event)``."""
        return self._draw(torch.randn, event)

    def uniform(self, *event: int) -> Tensor:
        """Uniform draws on [0, 1), ``(n, *event)``."""
        return self._draw(torch.rand, event)

    def _draw(self, draw: Callable[..., Tensor], event: tuple[int, ...]) -> Tensor:
        blocks = torch.cat([draw(self.BLOCK, *event, generator=generator) for generator in self._generators])
        offset = self.start % self.BLOCK
        return blocks[offset : offset + len(self)].to(self.device)


def _generator(name: str) -> torch.Generator:
    """A generator seeded by a hash of its name."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


class Batch(NamedTuple):
    """Encoded examples and what they are conditioned on."""

    x: Tensor
    """``(B, *event)``, as the codec encodes them."""
    cond: Tensor | None = None
    """``(B,)`` class labels, where -1 is "unknown", or ``(B, L)`` bytes of captions padded with -1, where a row of only -1
    is "unknown"; ``None`` is "all unknown"."""


def forgetful(cond: Tensor | None, share: float) -> Tensor | None:
    """Labels or captions, each replaced by -1 ("unknown") with probability ``share``, so that one network learns both."""
    if cond is None or share == 0:
        return cond
    hidden = torch.rand(len(cond), *[1] * (cond.ndim - 1), device=cond.device) < share
    return torch.where(hidden, -1, cond)


Condition: TypeAlias = int | str | Sequence[str] | Tensor | None
"""What a sample is conditioned on: a label or caption for all, one for each, or nothing."""


def encode_captions(captions: Sequence[str], length: int) -> Tensor:
    """The UTF-8 bytes of captions, ``(B, length)`` int64, padded with -1; an empty caption is "unknown".

    Raises:
        ValueError: for a caption of more than ``length`` bytes.
    """
    codes = torch.full((len(captions), length), -1)
    for i, caption in enumerate(captions):
        content = caption.encode()
        if len(content) > length:
            raise ValueError(f"caption {caption[:40]!r}... has {len(content)} bytes, more than {length}: shorten it")
        codes[i, : len(content)] = torch.tensor(list(content), dtype=torch.long)
    return codes


def decode_captions(codes: Tensor) -> list[str]:
    """The captions whose bytes are the rows of ``(B, L)``; "unknown" is the empty string."""
    return [bytes(code for code in row if code >= 0).decode(errors="replace") for row in codes.tolist()]


# --- spaces and codecs ------------------------------------------------------------------------------------------------


class Space(ABC):
    """What one raw example is. Concrete spaces are frozen dataclasses in :mod:`fourfold.spaces`.

    A raw batch is one tensor, ``(B, *shape)``. Every space has ``classes``, the number of class labels it is
    conditional on, or ``None``, and ``caption``, the most bytes of a caption it is conditional on, or ``None``.
    """

    classes: int | None
    caption: int | None = None

    @property
    def conditional(self) -> bool:
        """Whether examples come with a label or a caption."""
        return self.classes is not None or self.caption is not None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one raw example."""

    @property
    def dims(self) -> int:
        """The number of scalar values in one raw example: what "per dimension" divides by."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        """The space in words; its ``repr`` is its configuration."""
        return f"examples of {type(self).__name__} of shape {self.shape}"

    @property
    @abstractmethod
    def unit(self) -> str:
        """The unit likelihoods of this space are told in: ``bits/dim``, ``nats/char``, ``bits/byte``, ``nats``."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Refuse a raw batch that does not belong to this space (``ValueError`` naming the row and the way out)."""


class Measure:
    """Names of the base measure an encoded example's probability refers to."""

    COUNTING: ClassVar[str] = "counting"
    LEBESGUE: ClassVar[str] = "lebesgue"


class Codec(Part, nn.Module, ABC):
    """A map between raw examples and what a network models: the only place where data is rescaled.

    ``measure`` says whether an encoded example has a mass or a density; ``dequantises`` whether encoding adds noise to
    integers, in which case an exact log-density of the reals is a lower bound on the log-mass of the integers. ``bound``
    gives the reason in words why an exact likelihood of codes only bounds that of raw examples from below, where it does.
    """

    measure: ClassVar[str]
    dequantises: ClassVar[bool] = False
    bound: ClassVar[str] = ""

    @property
    def decoding(self) -> str:
        """How a learned codec decodes, as a clause in plain English; empty for a map that is its own inverse."""
        return ""

    @property
    def faithful(self) -> bool:
        """Whether decoding draws ``x ~ p(x | z)``, as a likelihood supposes, and shows no mean or median instead."""
        return True

    def variants(self) -> Mapping[str, Codec]:
        """The same codec with other ways to decode, by name; most codecs have one way."""
        return {}

    @property
    def random(self) -> bool:
        """Whether :meth:`encode` draws: a likelihood is then drawn several times whole, codec included."""
        return self.dequantises

    @abstractmethod
    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """Encode raw ``(B, *shape)``; return the code and ``log |det d code / d x|`` of shape ``(B,)``, in nats.

        A learned codec draws ``z ~ q(z | x)`` and returns ``log p(x | z) - log q(z | x)``, which plays the same part.
        ``noise`` is the stream of what is drawn; without one, torch's generator is used.
        """

    @abstractmethod
    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        """Decode to raw examples, clipped and rounded to what the space allows.

        ``noise`` is the stream for a codec that draws ``x ~ p(x | z)``; most decode without.
        """

    @abstractmethod
    def fit(self, x: Tensor) -> None:
        """Set the codec's own statistics from raw training data; most codecs have none."""


class CachedCodec(Codec):
    """A codec whose costly part is the same whenever an example is met, so that training does it once and keeps it."""

    @abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """What is kept of raw examples, ``(B, *)``: a function of ``x`` alone, such as a posterior's parameters."""

    @abstractmethod
    def draw(self, kept: Tensor) -> Tensor:
        """Codes ``(B, *event)`` of what is kept, at little cost; whatever is drawn comes from torch's generator."""


# --- estimands and their views ----------------------------------------------------------------------------------------


class Estimand(Part, nn.Module, ABC):
    """A module with a mathematical meaning, independent of how it was learned.

    It reaches its network through a child module named ``net``, whose calls :func:`count_evaluations` counts, and
    ``event`` is the shape of one encoded example. Time ``t`` and labels come as ``(B,)``. ``cost`` is given where drawing
    a sample obeys another law than the sampler's; like that one, it is checked by counting.
    """

    event: tuple[int, ...]
    cost: ClassVar[Cost | None] = None

    @property
    def summary(self) -> str:
        """What it represents, as a noun in plain English: "the score of ..."; empty: what its paradigm's do."""
        return ""


_VIEWS: dict[tuple[type[Estimand], type[Estimand]], Callable[[Any], Estimand]] = {}
_PARADIGMS: dict[tuple[type[Estimand], Principle], Paradigm] = {}


def register_view(source: type[Estimand], target: type[Estimand]) -> Callable[[Callable[[Any], Estimand]], Any]:
    """Register the decorated callable as the view of ``source`` as ``target`` (compare ``register_kl`` in torch)."""

    def register(function: Callable[[Any], Estimand]) -> Callable[[Any], Estimand]:
        _VIEWS[source, target] = function
        return function

    return register


def _route(source: type, target: type) -> list[Callable[[Any], Estimand]] | None:
    """The shortest chain of views from one type to another, or ``None``."""
    queue: deque[tuple[type, list[Callable[[Any], Estimand]]]] = deque([(source, [])])
    seen: set[type] = {source}
    while queue:
        kind, chain = queue.popleft()
        if issubclass(kind, target):
            return chain
        for (start, end), function in _VIEWS.items():
            if issubclass(kind, start) and end not in seen:
                seen.add(end)
                queue.append((end, [*chain, function]))
    return None


def view(estimand: Estimand, needs: type[E]) -> E:
    """Return ``estimand`` seen as what is needed: itself, or a module that wraps it and shares its weights.

    Raises:
        TypeError: if no chain of registered views leads there; both names are in the message.
    """
    route = _route(type(estimand), needs)
    if route is None:
        raise TypeError(f"{type(estimand).__name__} cannot be seen as {needs.__name__}")
    for function in route:
        estimand = function(estimand)
    assert isinstance(estimand, needs)
    return estimand


def register_paradigm(estimand: type[Estimand], principle: Principle, paradigm: Paradigm) -> None:
    """Enter a cell of the table from which a model's paradigm follows."""
    _PARADIGMS[estimand, principle] = paradigm


# --- objectives, samplers, likelihoods --------------------------------------------------------------------------------


class Term(nn.Module, ABC):
    """One loss with its own optimizer: ``forward`` returns the unreduced loss, ``updates`` what it trains.

    Terms run one after the other within a step, each on the same batch. ``watched`` holds scalars of the latest
    forward (detached), which the engine logs; they are how failure modes are seen while training. ``rate`` multiplies
    the learning rates of :class:`Training` for this term alone (two time scales: Heusel et al. 2017,
    https://arxiv.org/abs/1706.08500).

    ``judges`` says whether its loss on held-out examples tells how good the weights are, whatever the step: so it does
    where the target is fixed, and not where it moves with the weights, as in a game or a contrast with own samples.
    """

    judges: ClassVar[bool] = False

    def __init__(self, updates: Sequence[nn.Module], rate: float = 1.0) -> None:
        super().__init__()
        self.updates, self.rate = nn.ModuleList(updates), rate
        self.watched: dict[str, Tensor] = {}

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """The loss of each example, ``(B,)``, in float32; random draws come from torch's generator."""

    def trainable(self) -> list[nn.Parameter]:
        """The parameters this term's optimizer updates."""
        return [p for p in self.updates.parameters() if p.requires_grad]


class Objective(Part, nn.Module, ABC):
    """What is minimised: hyper-parameters of the loss, and modules that only training needs (a critic, an encoder)."""

    learns: ClassVar[type[Estimand]]
    principle: ClassVar[Principle]

    @property
    def summary(self) -> str:
        """What training does, as an imperative in plain English: "regress the clean example ..."."""
        return ""

    @property
    def formula(self) -> str:
        """What is minimised or maximised, as a formula of one line."""
        return ""

    @abstractmethod
    def terms(self, estimand: Any) -> Mapping[str, Term]:
        """The terms by name, in the order in which a step runs them."""


class Sampler(ABC):
    """How a sample is drawn: a frozen dataclass of settings, without weights and without a device."""

    needs: ClassVar[type[Estimand]]

    @property
    def summary(self) -> str:
        """How a sample is drawn, as an imperative in plain English: "draw noise and map it once"."""
        return ""

    @property
    def formula(self) -> str:
        """The same as a formula of one line."""
        return ""

    @property
    def cost(self) -> Cost | None:
        """How the network evaluations of one sample grow; ``None``: as its paradigm's do. Checked by counting."""
        return None

    @property
    def faithful(self) -> bool:
        """Whether samples are draws of the distribution that a likelihood scores, and no means or medians instead."""
        return True

    def variants(self) -> Mapping[str, Sampler]:
        """The same sampler with other ways to show what it draws, by name; most samplers have one way."""
        return {}

    @abstractmethod
    def __call__(self, estimand: Any, noise: Noise, cond: Tensor | None = None) -> Tensor:
        """Draw ``len(noise)`` encoded examples; every random number comes from ``noise``."""


class Likelihood(ABC):
    """How p(x) is obtained: a frozen dataclass of settings."""

    needs: ClassVar[type[Estimand]]

    @property
    def kind(self) -> Kind | None:
        """What kind of number it is with respect to the codec's measure; ``None``: that of its paradigm."""
        return None

    @property
    def summary(self) -> str:
        """How the number comes about, as a clause in plain English."""
        return ""

    @abstractmethod
    def __call__(self, estimand: Any, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        """The typed log-probability of encoded examples, with respect to the codec's measure.

        ``objective`` is what training left behind: a bound may need its encoder; most likelihoods ignore it.
        """


@dataclass(frozen=True)
class LogProb:
    """Log-probabilities in nats per raw example, with what kind of number they are.

    Attributes:
        nats: ``(B,)``.
        kind: exact, lower bound, estimate, estimated bound, unnormalised, none.
        dims: scalar values per example, the divisor of "per dimension".
        variance: ``(B,)`` unbiased estimate of the variance of each figure, from its own draws; ``None`` where nothing
            random remains, NaN where it is unknown (one draw).
        draws: whatever was drawn for each example: probes, codes, noises (0 if none).
        evaluations: network evaluations per example.
        note: one line: what was done, and what the codec did to the kind.
        freedom: degrees of freedom of ``variance``; infinite where it is known.
        solver_error: by how much the solver's steps make the figures too high, in nats, the mean over a few examples, as
            estimated from half the steps; NaN without a solver. It is no part of ``std_error``.
        half_steps: how much higher the same figures are at half the steps, which the error stays below if the solver converges.
    """

    nats: Tensor
    kind: Kind
    dims: int = 1
    variance: Tensor | None = None
    draws: int = 0
    evaluations: float = 0.0
    note: str = ""
    freedom: float = math.inf
    solver_error: float = math.nan
    half_steps: float = math.nan

    @classmethod
    def of_draws(cls, draws: Tensor, kind: Kind, note: str = "") -> LogProb:
        """The mean of independent draws ``(n, B)``, with the variance of that mean; of one draw it is unknown (NaN)."""
        n = len(draws)
        variance = draws.var(0) / n if n > 1 else torch.full_like(draws[0], math.nan)
        return cls(draws.mean(0), kind, variance=variance, draws=n, note=note, freedom=max(n - 1, 1))

    @classmethod
    def of_whole_draws(cls, draws: Sequence[LogProb]) -> LogProb:
        """The mean of likelihoods that were each drawn whole, codec included: their spread alone is the error."""
        n, first = len(draws), draws[0]
        mean = cls.of_draws(torch.stack([draw.nats for draw in draws]), first.kind)
        note = f"{first.note}; {n} draw{'s' * (n > 1)} of the codec for each example".lstrip("; ")
        error, half = (sum(getattr(draw, name) for draw in draws) / n for name in ("solver_error", "half_steps"))
        return dataclasses.replace(mean, draws=n * max(first.draws, 1), note=note, solver_error=error, half_steps=half)

    @property
    def std_error(self) -> Tensor | None:
        """``(B,)``: two of these on either side hold 95 % of cases; ``None`` where nothing random remains.

        Few draws know little of their own spread, so variances are pooled over all examples of this object and the error is
        widened by Student's t (:func:`fourfold.uncertainty.pooled_error`): it is larger than the root of ``variance``
        where examples are few.
        """
        return None if self.variance is None else pooled_error(self.variance, self.freedom)

    def __len__(self) -> int:
        return len(self.nats)

    @property
    def bits_per_dim(self) -> Tensor:
        """``-log2 p(x) / dims``, ``(B,)``."""
        return -self.nats / (self.dims * math.log(2.0))

    @property
    def nats_per_token(self) -> Tensor:
        """``-log p(x) / dims``, ``(B,)``: for text, where a dimension is a token."""
        return -self.nats / self.dims

    @property
    def bits_per_byte(self) -> Tensor:
        """``-log2 p(x) / dims``, ``(B,)``: for text in bytes, where a dimension is a byte."""
        return self.bits_per_dim

    def mean(self) -> tuple[float, float]:
        """The mean over examples in nats, and its standard error (spread of examples; estimation error included)."""
        nats = self.nats.double()
        spread = nats.std().item() / math.sqrt(len(nats)) if len(nats) > 1 else math.nan
        return nats.mean().item(), spread

    def in_unit(self, unit: str) -> Tensor:
        """Per-example values in ``bits/dim``, ``nats/char``, ``bits/byte`` or ``nats``.

        Raises:
            ValueError: for another unit.
        """
        table = {
            "bits/dim": "bits_per_dim",
            "bits/byte": "bits_per_byte",
            "nats/char": "nats_per_token",
            "nats": "nats",
        }
        if unit not in table:
            raise ValueError(f"unknown unit {unit!r}: choose one of {', '.join(table)}")
        value: Tensor = getattr(self, table[unit])
        return value

    def told(self, unit: str = "nats") -> str:
        """The note in one line, with the solver's error in a unit of :meth:`in_unit` where there is one."""
        if math.isnan(self.solver_error):
            return self.note
        errors = torch.tensor([self.solver_error, self.half_steps])
        error, half = dataclasses.replace(self, nats=errors).in_unit(unit).tolist()
        told = f"the solver's error is about {error:+.2g} {unit} (half the steps change it by {half:+.2g})"
        return f"{self.note}; {told}".lstrip("; ")

    @classmethod
    def cat(cls, parts: Sequence[LogProb]) -> LogProb:
        """Join log-probabilities of batches; all must be of one kind.

        Raises:
            ValueError: for no parts or for several kinds.
        """
        if len({part.kind for part in parts}) != 1:
            raise ValueError(f"log-probabilities of kinds {[str(part.kind) for part in parts]} cannot be joined")
        variances = [part.variance for part in parts if part.variance is not None]

        def mean(name: str) -> float:
            return sum(getattr(part, name) * len(part) for part in parts) / max(sum(map(len, parts)), 1)

        return dataclasses.replace(
            parts[0],
            nats=torch.cat([part.nats for part in parts]),
            variance=torch.cat(variances) if len(variances) == len(parts) else None,
            evaluations=mean("evaluations"),
            freedom=mean("freedom"),
            solver_error=mean("solver_error"),
            half_steps=mean("half_steps"),
        )


def no_likelihood(n: int, reason: str) -> LogProb:
    """The answer of a model without a density: NaN for each of ``n`` examples, kind ``none``, and the reason."""
    return LogProb(torch.full((n,), math.nan), Kind.NONE, note=reason)


class Evaluations:
    """Counts rows sent through an estimand's network: divided by samples, the network evaluations of one sample.

    A network of which one call runs a part says which, by an attribute ``share`` in (0, 1].
    """

    def __init__(self) -> None:
        self.rows = 0.0
        self.calls = 0


@contextmanager
def count_evaluations(estimand: nn.Module) -> Iterator[Evaluations]:
    """Count the evaluations of every ``net`` inside an estimand by a forward hook, while the context is open."""
    count = Evaluations()

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        tensors = [a for a in args if isinstance(a, Tensor)]
        count.rows += tensors[0].shape[0] * getattr(module, "share", 1.0) if tensors else 0
        count.calls += 1

    nets = {getattr(module, "net", None) for module in estimand.modules() if isinstance(module, Estimand)}
    handles = [
        net.register_forward_hook(hook) for net in nets if isinstance(net, nn.Module) and not isinstance(net, Estimand)
    ]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Training:
    """How a preset is best trained; every field can be overridden when fitting. No paradigm is known here.

    Attributes:
        batch_size: examples per step.
        learning_rate: peak rate of AdamW, which trains everything that Muon does not.
        muon_rate: peak rate of Muon for the hidden matrices and kernels; ``None`` trains all with AdamW.
        betas: AdamW's.
        weight_decay: decoupled, for matrices only.
        warmup: fraction of the budget in which the rate rises linearly from 0.
        cooldown: last fraction of the budget in which the rate falls to ``floor`` (1: cosine from the start).
        floor: final rate as a fraction of the peak.
        ema: half-life of the weight average as a fraction of the steps so far; 0 keeps no average.
        clip: largest norm of a term's gradient; 0 clips nothing.
        smoothing: standard deviation of Gaussian noise on encoded vectors at the start of training, if the data is small;
            it falls to a 25th of that in the first four fifths of the budget, then there is none (see :meth:`noise`).
    """

    batch_size: int = 128
    learning_rate: float = 1e-3
    muon_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup: float = 0.02
    cooldown: float = 1.0
    floor: float = 0.0
    ema: float = 0.05
    clip: float = 1.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        rates = (self.learning_rate, 1.0 if self.muon_rate is None else self.muon_rate)
        if not all(0 < rate < math.inf for rate in rates) or self.batch_size < 1:
            raise ValueError(
                f"learning rate {self.learning_rate}, rate of Muon {self.muon_rate}, batch of {self.batch_size}: "
                "give positive numbers"
            )

    def schedule(self, used: float) -> float:
        """The rate's factor when the fraction ``used`` of the budget is used: up, flat, then half a cosine down."""
        if used < self.warmup:
            return used / self.warmup
        start = max(1 - self.cooldown, self.warmup)
        progress = min(max((used - start) / max(1 - start, 1e-9), 0.0), 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2

    def noise(self, used: float) -> float:
        """The standard deviation of the noise when the fraction ``used`` of the budget is used: ``smoothing 25^(-used / 0.8)``.

        A density of noised examples is one smoothed by a kernel: with as much noise as a kernel density estimate of few
        examples wants, no training overfits them (Bishop 1995, https://doi.org/10.1162/neco.1995.7.1.108). How much that
        is depends on the data; falling noise tries every amount, and the held-out loss chooses.
        """
        return self.smoothing * 25 ** (-used / 0.8) if used < 0.8 else 0.0


# --- the model --------------------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """A model that is trained before another one which holds it."""

    name: str
    model: GenerativeModel
    share: float
    """Of the whole budget, in (0, 1)."""


class Staged(ABC):
    """A codec or an objective that holds a model which is trained first: a learned codec, a teacher.

    What a stage has trained stays as it is: the later stages' terms do not update it.
    """

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages in their order; they are trained on the raw examples of the model that holds them."""

    @abstractmethod
    def ready(self, estimand: Estimand) -> None:
        """Called once, when the stages are trained and before ``estimand`` is: a student may take a teacher's weights."""


_PARTS = ("space", "codec", "estimand", "objective", "sampler", "likelihood")


class GenerativeModel(Part, nn.Module):
    """Space, codec, estimand, objective, sampler and likelihood: a system, identified by its parts.

    Raises:
        TypeError: when what the objective learns is not what the estimand is, or not what the sampler or the
            likelihood needs after views; both names are in the message. An estimand may not claim to be more than what
            the objective learns either, since its views would then show what was never learned.
    """

    def __init__(
        self,
        space: Space,
        codec: Codec,
        estimand: Estimand,
        objective: Objective,
        sampler: Sampler,
        likelihood: Likelihood,
        training: Training = Training(),
    ) -> None:
        super().__init__()
        self.training_defaults = training
        self.space, self.codec, self.estimand, self.objective = space, codec, estimand, objective
        self.sampler, self.likelihood = sampler, likelihood
        self._check()

    def _check(self) -> None:
        learns = self.objective.learns
        if not isinstance(self.estimand, learns):
            raise TypeError(
                f"{type(self.objective).__name__} learns a {learns.__name__}, but got a {type(self.estimand).__name__}"
            )
        for source, target in _VIEWS:
            if isinstance(self.estimand, source) and not issubclass(learns, source):
                raise TypeError(
                    f"{type(self.objective).__name__} learns a {learns.__name__}, but {type(self.estimand).__name__} claims "
                    f"to be a {source.__name__}, whose view as {target.__name__} would not be what was learned"
                )
        for part in (self.sampler, self.likelihood):
            if _route(type(self.estimand), part.needs) is None:
                raise TypeError(
                    f"{type(part).__name__} needs a {part.needs.__name__}, but {type(self.objective).__name__} "
                    f"learns a {learns.__name__}, which cannot be seen as one"
                )

    @property
    def paradigm(self) -> Paradigm:
        """Where this model stands on the map: it follows from (estimand, principle of the objective).

        Raises:
            LookupError: if that cell of the table is empty.
        """
        for kind in type(self.estimand).__mro__:
            if (kind, self.objective.principle) in _PARADIGMS:
                return _PARADIGMS[kind, self.objective.principle]
        raise LookupError(f"no paradigm is known for ({type(self.estimand).__name__}, {self.objective.principle})")

    @property
    def facts(self) -> Facts:
        """The two answers and what follows from them, each in the words of the part that it is about.

        Where a part says nothing, its paradigm's words stand.

        Raises:
            LookupError: if the parts belong to no known paradigm.
        """
        common, stages, decoding = FACTS[self.paradigm], self.stages(), self.codec.decoding
        cost = self.estimand.cost or self.sampler.cost or common.cost
        kind, note = self._of_raw(
            self.likelihood.kind or common.likelihood, self.likelihood.summary or common.likelihood_note
        )
        earlier = "".join(f"first the {s.name}: {s.model.objective.summary}; then " for s in stages)
        of_code = ",  x: the code of an example" if decoding else ""
        return dataclasses.replace(
            common,
            represents=self.estimand.summary or common.represents,
            objective=earlier + (self.objective.summary or common.objective),
            objective_formula=(self.objective.formula or common.objective_formula) + of_code,
            sampling=(self.sampler.summary or common.sampling) + (f"; then {decoding}" if decoding else ""),
            sampling_formula=(self.sampler.formula or common.sampling_formula) + of_code,
            likelihood=kind,
            likelihood_note=note,
            cost=cost,
            cost_note=COSTS[cost] + (", and one evaluation of the decoder" if decoding else ""),
            parts=tuple(stage.name for stage in stages),
        )

    @property
    def device(self) -> torch.device:
        """Where the estimand's weights are."""
        return next((p.device for p in self.estimand.parameters()), torch.device("cpu"))

    def with_parts(self, *, sampler: Sampler | None = None, likelihood: Likelihood | None = None) -> GenerativeModel:
        """The same weights with another sampler or likelihood."""
        return GenerativeModel(
            self.space,
            self.codec,
            self.estimand,
            self.objective,
            sampler or self.sampler,
            likelihood or self.likelihood,
            self.training_defaults,
        ).train(self.training)

    def variants(self) -> Mapping[str, GenerativeModel]:
        """The same weights with other ways to show what is drawn, by name.

        A model that shows medians (``AsMedian``) can draw (``AsDraw``) or show means (``AsMean``) instead.
        """
        samplers, codecs = self.sampler.variants(), self.codec.variants()
        parts = (self.estimand, self.objective)
        return {
            name: GenerativeModel(
                self.space,
                codecs.get(name, self.codec),
                *parts,
                samplers.get(name, self.sampler),
                self.likelihood,
                self.training_defaults,
            ).train(self.training)
            for name in dict.fromkeys([*samplers, *codecs])
        }

    def drawing(self) -> GenerativeModel | None:
        """The same weights, drawing from the distribution that the likelihood scores, where this model shows another.

        ``None`` where its samples are draws already, or where it has no such variant.
        """
        if self.sampler.faithful and self.codec.faithful:
            return None
        return next((one for one in self.variants().values() if one.sampler.faithful and one.codec.faithful), None)

    def terms(self) -> Mapping[str, Term]:
        """The objective's terms for this estimand."""
        return self.objective.terms(self.estimand)

    def staged(self) -> list[Staged]:
        """The parts that hold a model which is trained before this one: the codec first, then the objective."""
        return [part for part in (self.codec, self.objective) if isinstance(part, Staged)]

    def stages(self) -> list[Stage]:
        """What is trained before this model, in order; what is left of the budget is its own."""
        return [stage for part in self.staged() for stage in part.stages()]

    def encode(self, x: Tensor, cond: Tensor | None = None) -> Batch:
        """Encode a raw batch for training."""
        return Batch(self.codec.encode(x)[0], cond)

    @torch.no_grad()
    def sample(self, n: int, cond: Condition = None, seed: int = 0, batch_size: int = 256, start: int = 0) -> Tensor:
        """Draw raw examples ``(n, *shape)``.

        Args:
            n: how many.
            cond: a class label for all, or one per sample ``(n,)``; where the space has captions, a caption for all, or a
                sequence of ``n``, or their bytes ``(n, L)``; ``None`` is unconditional.
            seed: with a sample's index, it fixes that sample.
            batch_size: rows per network call; changes nothing but speed and memory.
            start: the index of the first sample, for drawing a long series in pieces.

        Raises:
            ValueError: for n < 1, or labels or captions the space does not have.
        """
        labels = self._labels(n, cond)
        estimand = view(self.estimand, self.sampler.needs)
        step = max(Noise.BLOCK, batch_size // Noise.BLOCK * Noise.BLOCK)
        parts = []
        with _evaluating(self):
            for first in range(start // step * step, start + n, step):
                low, high = max(first, start), min(first + step, start + n)
                noise = Noise(seed, low, high, device=self.device)
                z = self.sampler(estimand, noise, None if labels is None else labels[low - start : high - start])
                parts.append(self.codec.decode(z, noise))
        return torch.cat(parts)

    def log_prob(
        self, x: Tensor, cond: Condition = None, seed: int = 0, batch_size: int = 256, draws: int = 2
    ) -> LogProb:
        """The typed log-probability of raw examples, codec included.

        Args:
            x: ``(B, *shape)`` raw examples.
            cond: class labels or captions as in :meth:`sample`.
            seed: fixes probes, importance samples and dequantisation.
            batch_size: rows per network call.
            draws: how often a codec that draws is drawn from, the likelihood anew each time. Of one draw no example's error
                is known; the mean over examples needs no more.

        Raises:
            ValueError: if ``x`` does not belong to the space, or for draws < 1.
        """
        if draws < 1:
            raise ValueError(f"draws must be at least 1, not {draws}")
        self.space.check(x)
        labels = self._labels(len(x), cond)
        step = max(Noise.BLOCK, batch_size // Noise.BLOCK * Noise.BLOCK)
        with _evaluating(self):
            parts = [self._log_prob(x, labels, seed, i, min(i + step, len(x)), draws) for i in range(0, len(x), step)]
        return dataclasses.replace(LogProb.cat(parts), dims=math.prod(x.shape[1:]))

    def _log_prob(self, x: Tensor, labels: Tensor | None, seed: int, start: int, stop: int, draws: int) -> LogProb:
        noise = Noise(seed, start, stop, "score", self.device)
        raw, cond = x[start:stop].to(self.device), None if labels is None else labels[start:stop]
        with count_evaluations(self.estimand) as count:
            result = self._draw(raw, cond, noise)
            if self.codec.random and result.kind is not Kind.NONE:
                others = [self._draw(raw, cond, noise) for _ in range(draws - 1)]
                result = LogProb.of_whole_draws([result, *others])
        kind, note = self._of_raw(result.kind, result.note)
        rows = max(stop - start, 1)
        return dataclasses.replace(
            result,
            nats=result.nats.cpu(),
            variance=None if result.variance is None else result.variance.cpu(),
            kind=kind,
            note=note,
            evaluations=count.rows / rows,
        )

    def _draw(self, x: Tensor, cond: Tensor | None, noise: Noise) -> LogProb:
        """One draw of the codec and of the likelihood of what it gave."""
        with torch.no_grad():
            z, log_det = self.codec.encode(x, noise)
        result = self.likelihood(view(self.estimand, self.likelihood.needs), Batch(z, cond), noise, self.objective)
        return dataclasses.replace(result, nats=result.nats + log_det)

    def _of_raw(self, kind: Kind, note: str) -> tuple[Kind, str]:
        """What the codec makes of a kind: an exact likelihood of codes may only bound that of raw examples."""
        if not self.codec.bound or kind in (Kind.NONE, Kind.UNNORMALISED):
            return kind, note
        return kind.bounded, f"{note}; {self.codec.bound}".lstrip("; ")

    def _labels(self, n: int, cond: Condition) -> Tensor | None:
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        if cond is None:
            return None
        if self.space.caption is not None:
            return _captions(n, cond, self.space.caption).to(self.device)
        if self.space.classes is None:
            raise ValueError("cond was given, but this model is unconditional: leave cond out")
        return _class_labels(n, cond, self.space.classes).to(self.device)

    def configuration(self) -> dict[str, Any]:
        """The JSON value of ``model.json``: constructor arguments of every part."""
        return {name: configuration(part) for name, part in _arguments(self).items()}

    @classmethod
    def from_configuration(cls, value: Mapping[str, Any], trust: Sequence[type] = ()) -> GenerativeModel:
        """Build the untrained model that :meth:`configuration` describes; ``trust`` is as in :func:`construct`."""
        return cls(**{name: construct(part, trust) for name, part in value.items()})

    def __repr__(self) -> str:
        lines = [f"  {name}={_show(getattr(self, name))}," for name in _PARTS]
        return "\n".join(["GenerativeModel(", *lines, ")"])


def _class_labels(n: int, cond: Condition, classes: int) -> Tensor:
    """``n`` labels, ``(n,)`` int64."""
    if isinstance(cond, str) or (isinstance(cond, Sequence) and any(isinstance(c, str) for c in cond)):
        raise ValueError(f"this model is conditioned on class labels 0 .. {classes - 1}, not on text: give numbers")
    labels = torch.as_tensor(cond, dtype=torch.long)
    labels = labels.expand(n) if labels.ndim == 0 else labels
    if labels.shape != (n,) or int(labels.min()) < -1 or int(labels.max()) >= classes:
        raise ValueError(f"cond must be a label or {n} labels between 0 and {classes - 1} (-1: unknown)")
    return labels


def _captions(n: int, cond: Condition, length: int) -> Tensor:
    """The bytes of ``n`` captions, ``(n, length)`` int64."""
    if isinstance(cond, str):
        return encode_captions([cond], length).expand(n, -1)
    if isinstance(cond, Tensor) and cond.ndim == 2 and len(cond) == n and not cond.is_floating_point():
        if cond.shape[1] <= length and (not cond.numel() or (int(cond.min()) >= -1 and int(cond.max()) <= 255)):
            return cond.long()
    elif isinstance(cond, Sequence) and len(cond) == n and all(isinstance(c, str) for c in cond):
        return encode_captions(cond, length)
    raise ValueError(
        f"this model is conditioned on captions: give cond a text, or {n} texts, of at most {length} bytes"
    )


def _show(part: Any) -> str:
    """A part as the call that makes it."""
    if isinstance(part, Part):
        arguments = ", ".join(f"{key}={_show(value)}" for key, value in _arguments(part).items())
        return f"{type(part).__name__}({arguments})"
    return repr(part)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the earlier mode after."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)
