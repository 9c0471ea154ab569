"""The generative model, a system that is identified by its parts, and the models that are trained before it."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fourfold.core.codec import Codec
from fourfold.core.conditions import Batch, Condition, unknown
from fourfold.core.edges import check_edges, paradigm_of, view
from fourfold.core.estimand import Estimand
from fourfold.core.evaluations import count_evaluations, evaluating
from fourfold.core.facts import facts_of
from fourfold.core.likelihood import Likelihood
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.core.objective import Objective, Term
from fourfold.core.parts import Part, configuration, construct, show
from fourfold.core.reading import Reading
from fourfold.core.sampler import Sampler
from fourfold.core.space import Space
from fourfold.core.training import DEFAULT, Training
from fourfold.vocabulary import Facts, Kind, Paradigm

__all__ = ["GenerativeModel", "Stage", "Staged"]


class Stage(NamedTuple):
    """A model that is trained before the model that holds it."""

    name: str
    model: GenerativeModel
    share: float
    """Its share of the whole budget, in (0, 1)."""


class Staged(ABC):
    """A codec or an objective that holds a model that is trained first, such as a learned codec or a teacher.

    Later stages do not change the weights of an earlier one.
    """

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The stages in the order of training, each on the raw examples of the model that holds them."""

    def ready(self, estimand: Estimand) -> None:
        """Called once between the stages and the training of ``estimand``: a student may take its teacher's weights.

        By default nothing is done.
        """


class GenerativeModel(Part, nn.Module):
    """Space, codec, estimand, objective, sampler and likelihood: a system, identified by its parts.

    Args:
        space, codec, estimand, objective, sampler, likelihood: the parts, as their classes describe them.
        training: the preset's settings of training.

    Raises:
        TypeError: if the estimand is not of the kind that the objective learns, or has no view as the kind that sampler
            or likelihood need, with both names. An estimand of a more special kind than the objective learns is refused
            too, since its views would show something that was never learned.
    """

    def __init__(
        self,
        space: Space,
        codec: Codec,
        estimand: Estimand,
        objective: Objective,
        sampler: Sampler,
        likelihood: Likelihood,
        training: Training = DEFAULT,
    ) -> None:
        super().__init__()
        self.training_defaults = training
        self.space, self.codec, self.estimand, self.objective = space, codec, estimand, objective
        self.sampler, self.likelihood = sampler, likelihood
        check_edges(codec, estimand, objective, sampler, likelihood)

    @property
    def paradigm(self) -> Paradigm:
        """The paradigm of this model, which follows from its estimand and the principle of its objective.

        Raises:
            LookupError: if that cell of the table is empty.
        """
        return paradigm_of(type(self.estimand), self.objective.principle)

    @property
    def facts(self) -> Facts:
        """The two answers and their consequences, each in the words of its part, else of its paradigm.

        Raises:
            LookupError: if the parts belong to no known paradigm.
        """
        earlier = {stage.name: stage.model.objective.summary_of(stage.model.estimand) for stage in self.stages()}
        return facts_of(self.codec, self.estimand, self.objective, self.sampler, self.likelihood, earlier)

    @property
    def device(self) -> torch.device:
        """Where the estimand's weights are."""
        return next((p.device for p in self.estimand.parameters()), torch.device("cpu"))

    @property
    def rows_at_once(self) -> int:
        """Samples per network call unless a caller says otherwise. Small ones cost Python more than arithmetic."""
        return self.estimand.rows_at_once or (1024 if math.prod(self.space.shape) <= 64 else 256)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"training": self.training_defaults}

    def _with(self, **parts: Any) -> GenerativeModel:
        return GenerativeModel(**self.arguments() | parts).train(self.training)

    def with_parts(self, *, sampler: Sampler | None = None, likelihood: Likelihood | None = None) -> GenerativeModel:
        """The same model with another sampler or likelihood. Weights are shared."""
        return self._with(sampler=sampler or self.sampler, likelihood=likelihood or self.likelihood)

    def variants(self) -> Mapping[str, GenerativeModel]:
        """The same model with other ways to show samples, by name. Weights are shared.

        A model that shows medians (``AsMedian``) can draw (``AsDraw``) or show means (``AsMean``) instead.
        """
        samplers, codecs = self.sampler.variants(), self.codec.variants()
        return {
            name: self._with(sampler=samplers.get(name, self.sampler), codec=codecs.get(name, self.codec))
            for name in dict.fromkeys([*samplers, *codecs])
        }

    def drawing(self) -> GenerativeModel | None:
        """The variant that draws from the distribution that the likelihood scores. ``None`` if this model does."""
        if self.sampler.faithful and self.codec.faithful:
            return None
        return next(
            (model for model in self.variants().values() if model.sampler.faithful and model.codec.faithful), None
        )

    @property
    def reads_conditions(self) -> bool:
        """True if the estimand depends on conditions."""
        return self.estimand.reads_condition or any(isinstance(part, Reading) for part in self.estimand.modules())

    def fit_statistics(self, x: Tensor, cond: Tensor | None = None) -> None:
        """Take the statistics of raw training examples and their conditions that are not learned by steps."""
        self.codec.fit(x)
        self.estimand.fit(x, cond, self.codec)
        if cond is not None:
            readings = [part for part in self.modules() if isinstance(part, Reading)]
            inside = {part for reading in readings for part in reading.modules() if part is not reading}
            for reading in readings:
                if reading not in inside:  # the one around it hands it its share
                    reading.fit(cond[~unknown(cond)])

    def terms(self) -> Mapping[str, Term]:
        """The objective's terms for this estimand."""
        return self.objective.terms(self.estimand)

    def staged(self) -> list[Staged]:
        """The parts that hold a model that is trained before this one: the codec first, then the objective."""
        return [part for part in (self.codec, self.objective) if isinstance(part, Staged)]

    def stages(self) -> list[Stage]:
        """The stages that are trained before this model, in order. The rest of the budget is its own."""
        return [stage for part in self.staged() for stage in part.stages()]

    def encode(self, x: Tensor, cond: Tensor | None = None) -> Batch:
        """Encode a raw batch for training."""
        return Batch(self.codec.encode(x)[0], cond)

    @torch.no_grad()
    def sample(
        self, n: int, cond: Condition = None, seed: int = 0, batch_size: int | None = None, start: int = 0
    ) -> Tensor:
        """Draw raw examples ``(n, *shape)``.

        Args:
            n: number of samples.
            cond: a class label for all, or one per sample ``(n,)``; where the space has captions, a caption for all, or
                a sequence of ``n``, or their bytes ``(n, L)``; ``None`` is unconditional.
            seed: with a sample's index, it fixes that sample.
            batch_size: rows per network call, by default :attr:`rows_at_once`. Changes nothing but speed and memory.
            start: the index of the first sample, for drawing a long series in parts.

        Raises:
            ValueError: for n < 1, or labels or captions the space does not have.
        """
        labels = self.space.encode_condition(cond, n, self.device)
        estimand = view(self.estimand, self.sampler.needs)
        parts = []
        with evaluating(self):
            for low, high in Noise.spans(start, start + n, batch_size or self.rows_at_once):
                noise = Noise(seed, low, high, device=self.device)
                z = self.sampler(estimand, noise, None if labels is None else labels[low - start : high - start])
                parts.append(self.codec.decode(z, noise))
        return torch.cat(parts)

    def log_prob(
        self,
        x: Tensor,
        cond: Condition = None,
        seed: int = 0,
        batch_size: int = 256,
        draws: int = 2,
        start: int = 0,
    ) -> LogProb:
        """The typed log-probability of raw examples, codec included.

        Args:
            x: ``(B, *shape)`` raw examples.
            cond: class labels or captions as in :meth:`sample`.
            seed: fixes probes, importance samples and dequantisation.
            batch_size: rows per network call.
            draws: how often to draw from a codec that draws, with a new likelihood each time. One draw leaves the error
                of a single example unknown. The mean over examples needs no more.
            start: the index of the first example, for scoring a long series in parts.

        Raises:
            ValueError: if ``x`` does not belong to the space, or for draws < 1.
        """
        if draws < 1:
            raise ValueError(f"draws must be at least 1, got {draws}")
        self.space.check(x)
        labels = self.space.encode_condition(cond, len(x), self.device)
        parts = []
        with evaluating(self):
            for low, high in Noise.spans(start, start + len(x), batch_size):
                rows, noise = slice(low - start, high - start), Noise(seed, low, high, "score", self.device)
                parts.append(self._score(x[rows], None if labels is None else labels[rows], noise, draws))
        return LogProb.cat(parts)

    def _score(self, x: Tensor, cond: Tensor | None, noise: Noise, draws: int) -> LogProb:
        """The log-probability of one block of raw examples. Where the codec draws, the mean over draws."""
        with count_evaluations(self.estimand) as count:
            result = self._score_code(x.to(self.device), cond, noise)
            if self.codec.random and result.kind is not Kind.NONE:
                more = [self._score_code(x.to(self.device), cond, noise) for _ in range(draws - 1)]
                result = LogProb.of_whole_draws([result, *more])
        kind, note = self.codec.kind_of_raw(result.kind, result.note)
        return dataclasses.replace(
            result,
            nats=result.nats.cpu(),
            variance=None if result.variance is None else result.variance.cpu(),
            kind=kind,
            note=note,
            byte_counts=self.space.byte_counts(x.cpu()),
            row_counts=self.space.row_counts(x.cpu()),
            outside=self.space.outside(x.cpu()),
            dims=math.prod(x.shape[1:]),
            evaluations=count.rows / max(len(noise), 1),
        )

    def _score_code(self, x: Tensor, cond: Tensor | None, noise: Noise) -> LogProb:
        """The likelihood of one draw of the code, with the log-determinant of the codec."""
        with torch.no_grad():
            z, log_det = self.codec.encode(x, noise)
        estimand = view(self.estimand, self.likelihood.needs)
        result = self.likelihood(estimand, Batch(z, cond), noise, self.objective)
        return dataclasses.replace(result, nats=result.nats + log_det)

    def configuration(self) -> dict[str, Any]:
        """The JSON value of ``model.json``: constructor arguments of every part."""
        return {name: configuration(part) for name, part in self.arguments().items()}

    @classmethod
    def from_configuration(cls, value: Mapping[str, Any], trust: Sequence[type] = ()) -> GenerativeModel:
        """Build the untrained model that :meth:`configuration` describes. ``trust`` is as in :func:`construct`."""
        return cls(**{name: construct(part, trust) for name, part in value.items()})

    def __repr__(self) -> str:
        lines = [f"  {name}={show(part)}," for name, part in super().arguments().items() if name != "training"]
        return "\n".join(["GenerativeModel(", *lines, ")"])
