"""The use of a model where some values of an example are given: complete it, score it, classify it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from fourfold.core.codec import PiecewiseCodec
from fourfold.core.completion import ArbitraryConditionals, arbitrary, complete_block, prob_block, score_given
from fourfold.core.conditions import Condition, condition_codes
from fourfold.core.evaluations import evaluating
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.core.rejection import search

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["Completing"]


class Completing:
    """The methods of :class:`~fourfold.core.GenerativeModel` for examples of which some values are given."""

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        allowed: Mapping[int, Tensor] | None = None,
        cond: Condition = None,
        seed: int = 0,
        batch_size: int = 1024,
    ) -> Tensor:
        """Draw the unknown values of each raw example given the known ones: ``x_U ~ p(. | x_K, x_i in allowed_i)``.

        ``p`` is the distribution that the model samples. A model of arbitrary conditionals proposes piece by piece, the
        restricted ones first, and its joint distribution accepts proposals: see :mod:`fourfold.core.completion`. Any
        other model of discrete values draws whole samples and keeps those that agree, within a limit.

        Args:
            x: raw examples ``(B, L)``; values that are not known may be any.
            known: which values are given, bool ``(B, L)``, or ``(L,)`` for all rows.
            allowed: raw values that an unknown one is drawn among, by its place.
            cond: class labels as in :meth:`sample`.
            seed: with a row's index, it fixes the draws.
            batch_size: rows per network call.

        Returns:
            ``(B, L)``, with the known values as they were given. A known value that the model has never seen says
            nothing about the others.

        Raises:
            ValueError: for shapes that differ, allowed values of which the model knows none, or if too few samples
                agree with the given values.
            TypeError: for a model of densities, of which no sample agrees exactly.
        """
        drawn = x.clone()
        for rows, some in self.completions(x, known, allowed, cond, seed, batch_size):
            drawn[rows] = some.to(x.device)
        return drawn

    def completions(
        self,
        x: Tensor,
        known: Tensor,
        allowed: Mapping[int, Tensor] | None = None,
        cond: Condition = None,
        seed: int = 0,
        batch_size: int = 1024,
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Complete rows as :meth:`complete` does; yield the numbers of some and these, as soon as they are complete.

        Between two of them the caller may stop, so that a long search ends in time; there may be none in between.

        Args:
            x: raw examples ``(B, L)``; values that are not known may be any.
            known: which values are given, bool ``(B, L)``, or ``(L,)`` for all rows.
            allowed: raw values that an unknown one is drawn among, by its place.
            cond: class labels as in :meth:`sample`.
            seed: with a row's index, it fixes the draws.
            batch_size: rows per network call.
            start: the index of the first row, for completing a long table in pieces.

        Raises:
            ValueError, TypeError: as :meth:`complete` does, once no more rows can be completed.
        """
        model = cast("GenerativeModel", self)
        known = self._checked(x, known)
        allowed = {i: cells.flatten() for i, cells in (allowed or {}).items()}
        labels = condition_codes(model.space, len(x), cond, model.device)
        if not isinstance(model.estimand, ArbitraryConditionals) or not isinstance(model.codec, PiecewiseCodec):
            if x.is_floating_point() or x.ndim != 2:
                arbitrary(model)
            yield from search(model, x, known, allowed, labels, seed)
            return
        for low, high in Noise.spans(start, start + len(x), batch_size):
            rows = torch.arange(low - start, high - start)
            noise, decoding = (Noise(seed, low, high, name, model.device) for name in ("complete", "decode"))
            with torch.no_grad(), evaluating(model):
                block = x[rows].to(model.device), known[rows].to(model.device), allowed
                drawn, possible = complete_block(
                    model, *block, noise, decoding, None if labels is None else labels[rows.to(labels.device)]
                )
            possible = possible.to(rows.device)
            yield rows[possible], drawn.to(rows.device)[possible]
            if not bool(possible.all()):
                raise ValueError(
                    f"row {int(rows[~possible][0])}: the model knows no row with the given and the allowed values: "
                    "allow others"
                )

    @torch.no_grad()
    def prob_given(
        self,
        x: Tensor,
        known: Tensor,
        values: Mapping[int, Tensor],
        cond: Condition = None,
        seed: int = 0,
        batch_size: int = 1024,
        start: int = 0,
    ) -> Tensor:
        """``P(x_i in values_i | x_K)`` of some places, ``(B, len(values))`` float64, by weighed draws of all unknown.

        At least 64 draws of each row tell it, so its standard error is .06 at most where draws are alike.

        Args:
            x: raw examples ``(B, L)``; values that are not known may be any.
            known: which values are given, bool ``(B, L)``, or ``(L,)`` for all rows.
            values: raw values, by their place.
            cond: class labels as in :meth:`sample`.
            seed: with a row's index, it fixes the draws.
            batch_size: rows per network call.
            start: the index of the first row, for a long table in pieces.

        Raises:
            TypeError: for a model that does not tell arbitrary conditionals.
            ValueError: for shapes that differ.
        """
        model = cast("GenerativeModel", self)
        known, parts = self._checked(x, known), []
        labels = condition_codes(model.space, len(x), cond, model.device)
        with evaluating(model):
            for low, high in Noise.spans(start, start + len(x), batch_size):
                rows, noise = slice(low - start, high - start), Noise(seed, low, high, "probability", model.device)
                block = x[rows].to(model.device), known[rows].to(model.device), values
                parts.append(prob_block(model, *block, noise, None if labels is None else labels[rows]))
        return torch.cat(parts).cpu()

    @torch.no_grad()
    def log_prob_given(self, x: Tensor, known: Tensor, cond: Condition = None, batch_size: int = 1024) -> LogProb:
        """``log q(x_U | x_K)`` of the values that are not known, given those that are, in nats per raw example.

        ``q`` is the chain rule over the conditionals that the network tells. Where nothing is known it is ``p(x)``;
        else it is ``p(x_U | x_K)`` only as far as conditionals of different orders agree.

        Args:
            x: raw examples ``(B, L)``.
            known: which values are given, bool ``(B, L)``, or ``(L,)`` for all rows.
            cond: class labels as in :meth:`sample`.
            batch_size: rows per network call.

        Raises:
            TypeError: for a model that does not tell arbitrary conditionals.
            ValueError: if ``x`` does not belong to the space, or for shapes that differ.
        """
        model = cast("GenerativeModel", self)
        estimand, codec = arbitrary(model)
        model.space.check(x)
        known = self._checked(x, known)
        labels = condition_codes(model.space, len(x), cond, model.device)
        with evaluating(model):
            parts = [
                score_given(
                    estimand,
                    codec,
                    x[i : i + batch_size].to(model.device),
                    known[i : i + batch_size].to(model.device),
                    None if labels is None else labels[i : i + batch_size],
                )
                for i in range(0, len(x), batch_size)
            ]
        result = LogProb.cat(parts)
        return dataclasses.replace(
            result, nats=result.nats.cpu(), dims=math.prod(x.shape[1:]), outside=model.space.outside(x)
        )

    @torch.no_grad()
    def conditional(
        self, x: Tensor, known: Tensor, piece: int, cond: Condition = None, batch_size: int = 1024
    ) -> Tensor:
        """``log q(x_piece | x_K)`` of each token of one place, ``(B, K)``: of a category, token ``k`` is level ``k``.

        It is the network's own conditional, as in :meth:`log_prob_given`.

        Args:
            x: raw examples ``(B, L)``.
            known: which values are given, bool ``(B, L)``, or ``(L,)`` for all rows.
            piece: the place; it counts as unknown.
            cond: class labels as in :meth:`sample`.
            batch_size: rows per network call.

        Raises:
            TypeError: for a model that does not tell arbitrary conditionals.
            ValueError: for shapes that differ.
        """
        model = cast("GenerativeModel", self)
        estimand, codec = arbitrary(model)
        known = self._checked(x, known).index_fill(1, torch.tensor([piece], device=known.device), False)
        labels = condition_codes(model.space, len(x), cond, model.device)
        parts = []
        with evaluating(model):
            for i in range(0, len(x), batch_size):
                rows = slice(i, i + batch_size)
                z, log_mass = codec.pieces(x[rows].to(model.device))
                seen = known[rows].to(model.device) & torch.isfinite(log_mass)
                parts.append(estimand.conditional(z, seen, piece, None if labels is None else labels[rows]))
        return torch.cat(parts)

    @staticmethod
    def _checked(x: Tensor, known: Tensor) -> Tensor:
        """The known values of each row.

        Raises:
            ValueError: for a shape or a dtype that does not fit.
        """
        if known.dtype != torch.bool or known.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"known is {known.dtype} of shape {tuple(known.shape)}: give bool of shape {tuple(x.shape)}, or "
                f"{tuple(x.shape[1:])} for all rows"
            )
        return known.expand(x.shape)
