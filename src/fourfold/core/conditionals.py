"""Estimands of conditional distributions: of some tokens given others, of a caption given a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["ArbitraryConditionals", "JointConditionals"]


class ArbitraryConditionals(ABC):
    """An estimand of ``p(x_i | x_S, c)`` for every position ``i`` and every set ``S`` of other positions.

    Several tokens are scored by the chain rule in their order, ``prod_i p(x_i | x_S, x_<i, c)``, and drawn so, unless
    the estimand has a joint distribution: see :class:`JointConditionals`.
    """

    @property
    def order(self) -> tuple[int, ...] | None:
        """The order of all positions in the chain rule. ``None``: their own."""
        return None

    @abstractmethod
    def conditional(self, x: Tensor, observed_mask: Tensor, position: int, cond: Tensor | None = None) -> Tensor:
        """Return ``log p(x_position | x_S, c)`` of each token, ``(B, sizes[position])`` float32.

        Args:
            x: codes ``(B, L)``. Codes outside ``S`` may be any.
            observed_mask: true for the positions in ``S``, bool ``(B, L)``.
            position: the token that is asked for. It is not in ``S``.
            cond: labels ``(B,)``.
        """


class JointConditionals(ArbitraryConditionals):
    """Arbitrary conditionals beside the distribution of samples, ``p(x | c) = E_sigma p(x | sigma, c)``.

    ``sigma`` is an order of the positions: all orders are equally likely, or the order is always the same. Draws given
    some tokens follow the conditional distribution of this joint distribution.
    """

    @abstractmethod
    def log_joint(self, x: Tensor, place: Tensor, cond: Tensor | None = None) -> Tensor:
        """Return ``log p(x | sigma, c)``, ``(B,)``.

        Args:
            x: codes ``(B, L)``.
            place: uniform numbers ``(B, L)``, whose ranks are a random order, if orders are drawn.
            cond: labels ``(B,)``.
        """
