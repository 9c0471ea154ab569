"""The protection of the rows of one training: its guarantee, its secret, and the part of the budget for counts."""

from __future__ import annotations

import functools
import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from fourfold.privacy.accounting import Spending, gaussian_multiplier
from fourfold.privacy.guarantee import Guarantee

__all__ = ["Protection", "new_secret"]

COUNTS = 4.0
"""Counts have so many times the noise of a single release that spends the whole budget: a 16th of it, by squares."""
LEVELS = 0.1
"""The part of delta that pays for the names of levels: one that a single row has must not show."""
SECRET = 16
"""Bytes of a secret."""


def new_secret() -> bytes:
    """A secret of the operating system's."""
    return secrets.token_bytes(SECRET)


@final
@dataclass(frozen=True, repr=False)
class Protection:
    """The guarantee for the units of one training, each a row or the rows of a person, and how it is kept.

    Attributes:
        guarantee: with the delta that was asked for, if one was.
        public: what the user declares public of each column, as :func:`fourfold.data.private.read_public` reads it.
        secret: draws batches and noise. Whoever knows it can take the noise away, so it is in ``resume/`` alone.
        unit: whose presence is protected, in words.
        facts: what is public without a declaration.
        share: the part of the budget of counts, by squares of the noise, and of names of levels, that this training has
            among those that share the guarantee.
        beside: the gradients of the others of them: what they release, or what is kept for them.
    """

    guarantee: Guarantee
    public: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secret: bytes = field(default_factory=new_secret)
    unit: str = "one row"
    facts: tuple[str, ...] = ("names of columns", "number of rows")
    share: float = 1.0
    beside: tuple[Spending, ...] = ()

    def __repr__(self) -> str:
        """The guarantee as a user writes it."""
        return repr(str(self.guarantee))

    def record(self) -> dict[str, Any]:
        """The entries of the card from which a run goes on: everything but the secret."""
        public = {name: dict(hint) for name, hint in self.public.items()}
        return {"guarantee": str(self.guarantee), "public": public}

    def stream(self, *name: str | int) -> np.random.Generator:
        """A stream of random numbers of the secret. The same name gives the same numbers."""
        key = hashlib.sha256(self.secret + repr(name).encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

    def digest(self, digest: str) -> str:
        """The digest of data that may be shown: nobody can compare it with that of a guess."""
        return hashlib.sha256(self.secret + digest.encode()).hexdigest()

    def of_gradients(self, rows: int) -> Guarantee:
        """The guarantee of counts and gradients together, without the part of delta for the names of levels."""
        whole = self.guarantee.for_rows(rows)
        assert whole.delta is not None
        return Guarantee(whole.epsilon, (1 - LEVELS) * whole.delta)

    def level_delta(self, rows: int) -> float:
        """The probability with which a level that one row alone has may show."""
        return self.share * LEVELS * (self.guarantee.for_rows(rows).delta or 0.0)

    def all_counts(self, rows: int) -> float:
        """The noise of all counts together over the most that a row changes them, those of other trainings included."""
        return COUNTS * _single(self.of_gradients(rows))

    def counts(self, rows: int) -> float:
        """The noise of the counts of this training over the most that a row changes them."""
        return self.all_counts(rows) / math.sqrt(self.share)

    def reserve(self, rows: int) -> Spending:
        """The part of the budget for the gradients of this training, as one release while its steps are not planned."""
        return Spending(counts=_single(self.of_gradients(rows)) / math.sqrt((1 - COUNTS**-2) * self.share))


@functools.cache
def _single(guarantee: Guarantee) -> float:
    return gaussian_multiplier(guarantee)
