"""Monitors that need more than one term's forward pass: the gap between held-out and training loss."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import final

import torch

from fourfold.core import Batch
from fourfold.data import Dataset
from fourfold.engine.loader import Batches, Loader
from fourfold.engine.loop import Loop, channels_last
from fourfold.vocabulary import FACTS

__all__ = ["Gap"]


@final
@dataclass
class Gap:
    """Held-out minus training loss of the first term under averaged weights, same draws, at a few points of training.

    Measured where the paradigm's failure modes name the monitor ``gap``; a gap that widens while the training loss
    falls is memorisation.

    Args:
        loop: what is trained.
        data: whose validation split is held out.
        points: how often at most, over the whole budget.
        share: the largest share of the training time that it may cost.
    """

    loop: Loop
    data: Dataset
    points: int = 12
    share: float = 0.05
    _next: float = 0.05
    _batches: tuple[Batches, Batches] = field(init=False)
    watches: bool = field(init=False)

    def __post_init__(self) -> None:
        modes = FACTS[self.loop.model.paradigm].failure_modes
        self.watches = any(mode.monitor == "gap" for mode in modes)
        space, seed = self.data.space, self.loop.seed
        if self.watches:
            size = min(self.loop.training.batch_size, 128)
            held_out, train = (Loader(s, space, size, seed) for s in (self.data.validation, self.data.train))
            self._batches = held_out, train

    def __call__(self, used: float) -> dict[str, float]:
        """The gap in the unit of the loss, where it is time to measure it."""
        if not self.watches or used < self._next:
            return {}
        start = time.monotonic()
        name = next(iter(self.loop.terms))
        with self.loop.weights.shown(self.loop.weights.average), torch.no_grad():
            held_out, train = (self._loss(name, batches) for batches in self._batches)
        whole = self.loop.progress.seconds / used
        self._next = used + max(1 / self.points, (time.monotonic() - start) / (self.share * whole))
        return {f"{name}/gap": held_out - train, f"{name}/held_out": held_out}

    def _loss(self, name: str, batches: Batches) -> float:
        """The mean loss of a fixed batch under fixed draws; what the term watches stays as training left it."""
        raw = batches(0)
        device, term = self.loop.device, self.loop.terms[name]
        watched = term.watched
        self.loop.model.eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            batch = self.loop.model.encode(raw.x.to(device), None if raw.cond is None else raw.cond.to(device))
            loss = float(term(Batch(channels_last(batch.x), batch.cond)).mean())
        self.loop.training_mode()
        term.watched = watched
        return loss
