"""The use of a model where some values of an example are given: complete it, score it, classify it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from fourfold.core.codec import PiecewiseCodec
from fourfold.core.completion import ArbitraryConditionals, arbitrary, complete_block, score_given
from fourfold.core.conditions import Condition, condition_codes
from fourfold.core.evaluations import evaluating
from fourfold.core.log_prob import LogProb
from fourfold.core.noise import Noise
from fourfold.core.rejection import reject

if TYPE_CHECKING:
    from fourfold.core.model import GenerativeModel

__all__ = ["Completing"]


class Completing:
    """The methods of :class:`~fourfold.core.GenerativeModel` for examples of which some values are given."""

    @torch.no_grad()
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

        A model of arbitrary conditionals draws piece by piece, the restricted ones first; where several are
        restricted, a draw is accepted with the probability that the later ones are allowed, which is exact. Any other
        model of discrete values draws whole samples and keeps those that agree, within a limit.

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
        model = cast("GenerativeModel", self)
        known = self._checked(x, known)
        allowed = {i: cells.flatten() for i, cells in (allowed or {}).items()}
        if not isinstance(model.estimand, ArbitraryConditionals) or not isinstance(model.codec, PiecewiseCodec):
            if x.is_floating_point() or x.ndim != 2:
                arbitrary(model)
            return reject(model, x, known, allowed, condition_codes(model.space, len(x), cond, model.device), seed)
        labels = condition_codes(model.space, len(x), cond, model.device)
        parts = []
        with evaluating(model):
            for low, high in Noise.spans(0, len(x), batch_size):
                rows, noise = slice(low, high), Noise(seed, low, high, "complete", model.device)
                block = x[rows].to(model.device), known[rows].to(model.device), allowed
                parts.append(complete_block(model, *block, noise, None if labels is None else labels[rows]))
        return torch.cat(parts)

    @torch.no_grad()
    def log_prob_given(self, x: Tensor, known: Tensor, cond: Condition = None, batch_size: int = 1024) -> LogProb:
        """``log p(x_U | x_K)`` of the values that are not known, given those that are, in nats per raw example.

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
        """``log p(x_piece | x_K)`` of each token of one place, ``(B, K)``: of a category, token ``k`` is level ``k``.

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
