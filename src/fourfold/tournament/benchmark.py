"""The data, references and protocol by which all models of a comparison are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from fourfold.data import Dataset
from fourfold.metrics import Measurement, References
from fourfold.tasks import evaluation
from fourfold.tasks.conditional_quality import measure_pairs
from fourfold.tournament.settings import Protocol

__all__ = ["Benchmark"]


@final
@dataclass(frozen=True)
class Benchmark:
    """The measurement that all models of a comparison share.

    Attributes:
        dataset: the data.
        references: the examples that samples are compared with.
        protocol: features, number of scored test examples, and limits of time.
        n: number of samples of each model.
        seed: seed of samples that are drawn for it.
    """

    dataset: Dataset
    references: References
    protocol: Protocol
    n: int
    seed: int = 0

    def quality(self, x: Tensor) -> list[Measurement]:
        """All measures of samples, the headline first, and those of pairs with their conditions."""
        scores = evaluation.quality(x, self.dataset, self.references, self.protocol.features)
        return scores + measure_pairs(x, self.dataset, self.references)

    def headline(self, x: Tensor) -> Measurement:
        """The first measure of samples."""
        return evaluation.headline(x, self.dataset, self.references, self.protocol.features)
