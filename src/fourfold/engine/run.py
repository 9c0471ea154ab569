"""A run: a trained model, its folder and its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from fourfold.core import Condition, GenerativeModel, LogProb
from fourfold.engine.checkpoint import load_model, read_json
from fourfold.engine.distributed import join

if TYPE_CHECKING:
    from fourfold.data import Dataset

__all__ = ["Run"]


@final
@dataclass(frozen=True)
class Run:
    """A trained model with the record of its training.

    Attributes:
        model: in evaluation mode, with averaged weights.
        folder: where it is kept, or ``None``.
        card: data, split, seed, budget, hardware, versions, precision, seconds, steps.
        data: what it was trained on, where it is at hand.
    """

    model: GenerativeModel
    folder: Path | None = None
    card: dict[str, Any] = field(default_factory=dict)
    data: Dataset | None = field(default=None, repr=False)

    @classmethod
    def load(cls, folder: Path | str) -> Run:
        """Load a run folder; neither the data nor the code that trained it is needed.

        Raises:
            BrokenRun: naming the file that is missing or damaged.
        """
        folder = Path(folder)
        return cls(load_model(folder), folder, read_json(folder / "card.json"))

    def sample(self, n: int, cond: Condition = None, seed: int = 0, batch_size: int = 256) -> Tensor:
        """Draw raw examples, see :meth:`fourfold.core.GenerativeModel.sample`.

        Under ``torchrun`` every process draws its part of the indices and has all samples in the end.
        """
        processes = join()
        start, stop = processes.share(n)
        if n < processes.world or processes.world == 1:
            return self.model.sample(n, cond, seed, batch_size)
        each = (isinstance(cond, Tensor) and cond.ndim) or (isinstance(cond, Sequence) and not isinstance(cond, str))
        labels = cond[start:stop] if each else cond  # type: ignore[index]
        return processes.gather(self.model.sample(stop - start, labels, seed, batch_size, start))

    def log_prob(self, x: Tensor, cond: Condition = None, seed: int = 0, batch_size: int = 256) -> LogProb:
        """The typed log-probability of raw examples, see :meth:`fourfold.core.GenerativeModel.log_prob`."""
        return self.model.log_prob(x, cond, seed, batch_size)

    def evaluate(self, data: Dataset | None = None, n: int = 2000, seed: int = 0) -> Any:
        """Every metric that applies, against the test split.

        Args:
            data: by default what the run was trained on, loaded again by its name and seed.
            n: samples and references.
            seed: of the samples.

        Raises:
            DataError: if the data cannot be loaded.
            ValueError: if it is not what the run was trained on.
        """
        from fourfold.metrics import evaluate

        return evaluate(self.model, data or self.dataset(), n=n, seed=seed)

    def save_samples(self, path: Path | str, n: int = 64, cond: Condition = None, seed: int = 0) -> Path:
        """Draw samples into a file: ``.png`` (a grid), ``.npy``, ``.csv`` or ``.txt``."""
        from fourfold.engine.output import write_examples

        return write_examples(path, self.sample(n, cond, seed), self.model.space)

    def dataset(self) -> Dataset:
        """What the run was trained on, loaded again and compared by its digest.

        Raises:
            ValueError: if the data has changed.
        """
        if self.data is not None:
            return self.data
        from fourfold.data import load

        record = self.card["data"]
        data = load(record["name"], **record["options"])
        if data.digest != record["digest"]:
            raise ValueError(f"{record['name']} is not the data this run was trained on: its digest has changed")
        return data
