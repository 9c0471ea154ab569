"""The loss on held-out examples decides which weights are kept and when training stops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from fourfold.core import Batch, Space
from fourfold.data import Dataset, Split
from fourfold.engine.batch_parts import channels_last, reseed
from fourfold.engine.loader import Loader
from fourfold.engine.loop import SLOWER, Loop
from fourfold.runs.budget import Budget
from fourfold.runs.shards import fill

__all__ = ["HeldOut"]


@final
class _Examples:
    """Encoded examples, the same at every measurement. A small split is repeated, so each example gets more draws."""

    def __init__(self, loop: Loop, split: Split, rows: int) -> None:
        raw = _inside(loop.model.space, Loader(split, loop.model.space, min(rows, len(split.x)), loop.seed)(0))
        self.count = len(raw.x)
        self.owner = torch.arange(max(rows, self.count)) % self.count
        cond = None if raw.cond is None else raw.cond[self.owner].to(loop.device)
        encoded = loop.model.encode(raw.x[self.owner].to(loop.device), cond)
        self.batch = Batch(channels_last(encoded.x), encoded.cond)

    def parts(self, size: int) -> Iterator[Batch]:
        """The rows in batches of at most ``size``."""
        x, cond = self.batch
        for i in range(0, len(x), size):
            yield Batch(x[i : i + size], None if cond is None else cond[i : i + size])

    def means(self, losses: Tensor) -> Tensor:
        """The mean loss of each example over the rows that repeat it, ``(count,)`` float64."""
        total = torch.zeros(self.count, dtype=torch.float64).index_add(0, self.owner, losses.double().cpu())
        return total / torch.bincount(self.owner, minlength=self.count)


def _inside(space: Space, batch: Batch) -> Batch:
    """A batch without the examples that hold a value which the space does not have, unless all of them do."""
    outside = space.outside(batch.x)
    if outside is None or bool(outside.all()):
        return batch
    return Batch(batch.x[~outside], None if batch.cond is None else batch.cond[~outside])


class Lowest(NamedTuple):
    """The lowest held-out loss of a training: which training it is, the step, and the losses by example."""

    training: int
    step: int
    losses: Tensor


@final
class HeldOut:
    """Measures the held-out loss of the averaged weights, keeps the best, and says when training is over.

    The loss is that of the terms that judge (:attr:`fourfold.core.Term.judges`), on the same examples with the same
    draws every time. It is measured at steps that are known beforehand, so a resumed run chooses as an uninterrupted
    one does. The first ones cost at most ``FIRST`` of the time and follow each other at 1.5 times the step. Later ones
    are at least an eighth of the steps apart, and so far apart that they cost less than ``SHARE`` of the time.

    Weights are worse than the best if their loss is higher by more than ``NOISE`` standard errors of the difference,
    paired by example. The last weights are kept unless they are worse. Training is over after ``PATIENCE`` worse
    measurements in a row, but not before it has taken twice the steps of the best weights, ``LEAST`` steps and two
    passes over the data: a loss that rises earlier is not a sign of overfitting.

    Where a training is over and at least ``REST`` of what it took is left of the budget, another one begins with the
    first weights and a third of the learning rates (:meth:`restarts`), and so on while each is better than those before
    it. The weights with the lowest held-out loss of all are kept. Models that are fitted before the first step, such as
    trees, are trained once.

    Args:
        loop: the training.
        data: the data set whose validation split is held out.
        on: whether weights are chosen. Otherwise the loss is only measured.
    """

    SHARE: ClassVar[float] = 0.02
    FIRST: ClassVar[float] = 0.1
    NOISE: ClassVar[float] = 0.5
    PATIENCE: ClassVar[int] = 5
    LEAST: ClassVar[int] = 100
    REST: ClassVar[float] = 0.5

    def __init__(self, loop: Loop, data: Dataset, on: bool = True) -> None:
        self.loop, self.on = loop, on
        self.judges = {name: term for name, term in loop.terms.items() if term.judges and loop.rule.measures}
        self.best = self.latest = self.due = self.worse = self.count = 0
        self.seconds = 0.0
        self.weights, self.buffers = torch.empty(0), dict[str, Tensor]()
        self.best_losses = self.latest_losses = torch.empty(0, dtype=torch.float64)
        self.best_train = self.latest_train = self.best_losses
        self.earlier: Lowest | None = None
        if self.judges:
            if on and not loop.model.estimand.fitted:  # steps only refine what was fitted
                loop.remember()
            batch = min(loop.training.batch_size, len(data.train.x))
            rows = min(max(batch, 64), 256)
            steps = 2 * rows / (3 * batch) + 0.5  # two losses of a third of a step, and what small models add
            self.first, self.every = math.ceil(steps / self.FIRST), math.ceil(steps / self.SHARE)
            self.due = self.first
            with loop.judging():
                reseed(0, loop.model.device)
                self._held_out, self._train = (_Examples(loop, part, rows) for part in (data.validation, data.train))

    @property
    def over(self) -> bool:
        """True if the present training only makes the model worse."""
        before = self.loop.progress.steps_before
        least = max(2 * (self.best - before), 2 * self.loop.progress.per_epoch, self.LEAST)
        return self.on and self.worse >= self.PATIENCE and self.latest - before >= least

    @property
    def keeps_best(self) -> bool:
        """True if the weights with the lowest loss are kept, not the last."""
        return self.on and (self.worse > 0 or self.earlier is not None)

    @property
    def leads(self) -> bool:
        """True if the best weights of the present training are better than those of all before it."""
        return self.earlier is None or float(self.best_losses.mean()) < float(self.earlier.losses.mean())

    def restarts(self, budget: Budget) -> bool:
        """Begin another training if this one is over, was better than those before it, and left enough of a budget."""
        if not (self.over and self.leads and self.loop.beginning):
            return False
        progress = self.loop.progress = self.loop.processes.same(self.loop.progress)
        used, before = budget.fraction(progress), budget.fraction(progress.before)
        if 1 - used < self.REST * (used - before):
            return False
        self.earlier = self._lowest()
        self.loop.restart()
        self.best_losses = self.best_train = self.latest_train = self.best_losses.new_empty(0)
        self.best, self.worse, self.due = 0, 0, progress.steps + self.first
        return True

    def _lowest(self) -> Lowest:
        """The lowest held-out loss of all trainings."""
        if self.earlier is not None and not self.leads:
            return self.earlier
        return Lowest(self.loop.progress.trainings, self.best, self.best_losses)

    def __call__(self, last: bool = False) -> dict[str, float]:
        """Measure after a step, if a measurement is due. Return the losses by the names under which they are logged.

        Args:
            last: whether training ends here, so that a measurement is due in any case.
        """
        step = self.loop.progress.steps
        if not self.judges or step == self.latest or (step < self.due and not last):
            return {}
        start = time.monotonic()
        losses, train = self.loop.processes.same((self._losses(self._held_out), self._losses(self._train)))
        self.latest, self.latest_losses, self.latest_train, self.count = step, losses, train, self.count + 1
        self._compare()
        self.due = self._following(step)
        self.seconds += time.monotonic() - start
        name, loss = next(iter(self.judges)), float(losses.mean())
        return {f"{name}/gap": loss - float(train.mean()), f"{name}/held_out": loss}

    def _losses(self, examples: _Examples) -> Tensor:
        with self.loop.judging():
            reseed(0, self.loop.model.device)
            size = self.loop.training.batch_size
            parts = [torch.stack([self.loop.loss(name, part) for name in self.judges]) for part in examples.parts(size)]
            return examples.means(torch.cat(parts, 1).sum(0))

    @torch.no_grad()
    def _compare(self) -> None:
        """Take the latest weights as the best, or count them if they are worse."""
        least = float(self.best_losses.mean())  # NaN at first
        if not math.isfinite(least) or float(self.latest_losses.mean()) < least:
            self.best, self.best_losses, self.best_train, self.worse = (
                self.latest,
                self.latest_losses,
                self.latest_train,
                0,
            )
            if self.on and self.leads:
                self.weights = self.loop.weights.average.clone()
                self.buffers = {name: b.clone() for name, b in self._saved_buffers().items()}
            return
        difference = self.latest_losses - self.best_losses
        noise = self.NOISE * float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
        self.worse = 0 if float(difference.mean()) <= noise else self.worse + 1

    def _saved_buffers(self) -> Mapping[str, Tensor]:
        """The buffers that belong to a saved model."""
        saved = self.loop.model.state_dict()
        return {name: b for name, b in self.loop.model.named_buffers() if name in saved}

    def _following(self, step: int) -> int:
        """The step of the next measurement."""
        before = self.loop.progress.steps_before
        step -= before
        if step < self.every:
            return before + max(math.ceil(1.5 * step), step + self.first)
        return before + step + max(self.every, math.ceil(step / 8))

    # --- the weights that are kept ------------------------------------------------------------------------------------

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Inside, the model has the weights that would be kept if training ended here."""
        before = {name: b.clone() for name, b in self._saved_buffers().items()}
        with self.loop.weights.holding(self.loop.weights.average):
            self.show()
            try:
                yield
            finally:
                self._load_buffers(before)

    def show(self) -> None:
        """Give the model the weights that are kept."""
        self.loop.weights.show(self.weights if self.keeps_best else self.loop.weights.average)
        if self.keeps_best:
            self._load_buffers(self.buffers)

    def _load_buffers(self, buffers: Mapping[str, Tensor]) -> None:
        for name, b in self._saved_buffers().items():
            b.copy_(buffers[name])

    def record(self) -> dict[str, Any]:
        """The choice as ``card.json`` records it."""
        steps, trainings, lowest = self.loop.progress.steps, self.loop.progress.trainings, self._lowest()
        measured = {
            "best_step": lowest.step,
            "best_loss": float(lowest.losses.mean()),
            "last_loss": float(self.latest_losses.mean()),
            "examples": len(lowest.losses),
            "measurements": self.count,
            "seconds": round(self.seconds, 3),
        }
        return {
            "on": self.on,
            "judged_by": list(self.judges),
            "kept_step": lowest.step if self.keeps_best else steps,
            "stopped": self.over,
            **({} if self.earlier is None else {"training": lowest.training, "trainings": trainings}),
            **(measured if self.count else {}),
            "note": self.note(),
        }

    def note(self) -> str:
        """The choice in one sentence."""
        if not self.loop.rule.measures:
            return "the last weights are kept: a choice would look at held-out rows, which are as private as the others"
        if not self.judges:
            return "nothing is chosen: no loss of this objective measures on held-out examples how good the weights are"
        if not self.on:
            return "the last weights are kept, as asked"
        if not self.keeps_best:
            return "the last weights are kept: no earlier ones had a lower held-out loss beyond its noise"
        refines = self.loop.model.estimand.fitted  # no setting of steps helps what was fitted before them
        return self._kept() + (self._advice() if self.worse and not refines else "")

    def _kept(self) -> str:
        """The step of the weights that are kept, and the reason."""
        if self.earlier is not None:
            lowest = self._lowest()
            of, loss = f"training {lowest.training} of {self.loop.progress.trainings}", float(lowest.losses.mean())
            return (
                f"the weights of step {lowest.step}, of {of}, are kept: their held-out loss is the lowest, {loss:.4g}; "
                f"each training began anew, at 1/{SLOWER} of the rate of the one before"
            )
        if self.over:
            return (
                f"stopped at step {self.latest}: the held-out loss has not fallen since step {self.best}; "
                f"the weights of step {self.best} are kept"
            )
        losses = f"{float(self.best_losses.mean()):.4g} against {float(self.latest_losses.mean()):.4g}"
        return f"the weights of step {self.best} are kept: their held-out loss is lower than at the end, {losses}"

    def _advice(self) -> str:
        """A clause with a setting to try, by the losses of training examples. Empty where these are not known.

        Where training examples gained nothing, the steps were too large. Where they were not yet ahead of held-out
        ones at the kept step, beyond twice its error, the model could take in more. Else it learned them by heart.
        """
        best, held_out = self.best_train, self.best_losses
        if len(best) < 2 or len(held_out) < 2 or len(self.latest_train) < 2:
            return ""
        error = math.sqrt(float(best.var()) / len(best) + float(held_out.var()) / len(held_out))
        if float(self.latest_train.mean()) >= float(best.mean()):
            setting = "a smaller learning rate, since training examples gained nothing either"
        elif float(held_out.mean() - best.mean()) <= 2 * error:
            setting = "a wider model, since training examples were no better until then"
        else:
            setting = "more regularisation or more examples, since only training examples gained"
        return f"; try {setting}"

    # --- state --------------------------------------------------------------------------------------------------------

    def live(self) -> dict[str, Tensor]:
        """The weights that are kept by the names of their parameters, if any are."""
        weights = self.loop.weights.by_name(self.weights) if self.weights.numel() else {}
        return {f"choice.weights.{name}": value for name, value in weights.items()}

    def numbers(self) -> dict[str, Tensor]:
        """The other tensors that the choice needs to go on."""
        numbers = torch.tensor([self.best, self.latest, self.due, self.worse, self.count])
        tensors = {"numbers": numbers, "seconds": torch.tensor(self.seconds, dtype=torch.float64)}
        tensors |= {"best_losses": self.best_losses, "latest_losses": self.latest_losses}
        tensors |= {"best_train": self.best_train, "latest_train": self.latest_train}
        if self.earlier is not None:
            tensors |= {"earlier": torch.tensor(self.earlier[:2]), "earlier_losses": self.earlier.losses}
        tensors |= {f"buffer.{name}": b for name, b in self.buffers.items()}
        return {f"choice.{name}": value.clone() for name, value in tensors.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved state. Without it, or without weights in it, the choice begins here."""
        names = {f"choice.weights.{slot.name}" for slot in self.loop.weights.slots}
        flat = state["choice.weights"] if "choice.weights" in state else torch.empty(0)  # from an older run
        tensors = {k.removeprefix("choice."): state[k] for k in state if k.startswith("choice.")}
        has_weights = bool(flat.numel()) or (bool(names) and all(name in state for name in names))
        if not tensors or (self.on and not has_weights):
            return
        self.best, self.latest, self.due, self.worse, self.count = tensors["numbers"].tolist()
        self.seconds = float(tensors["seconds"])
        self.weights = flat.to(self.loop.device)
        if has_weights and not flat.numel():
            self.weights = torch.empty_like(self.loop.weights.flat)
            fill(self.live(), state)
        self.best_losses, self.latest_losses = tensors["best_losses"], tensors["latest_losses"]
        nothing = torch.empty(0, dtype=torch.float64)  # in an older run
        self.best_train, self.latest_train = (tensors.get(name, nothing) for name in ("best_train", "latest_train"))
        if "earlier" in tensors:
            training, step = tensors["earlier"].tolist()
            self.earlier = Lowest(training, step, tensors["earlier_losses"])
        buffers = {k.removeprefix("buffer."): v for k, v in tensors.items() if k.startswith("buffer.")}
        self.buffers = {name: b.to(self.loop.device) for name, b in buffers.items()}
