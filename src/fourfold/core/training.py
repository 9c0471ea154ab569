"""Settings of training that belong to a preset."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Training"]


@dataclass(frozen=True)
class Training:
    """The settings of training of a preset. Every field can be overridden when fitting.

    Attributes:
        batch_size: examples per step.
        learning_rate: peak rate of AdamW, which trains everything that Muon does not.
        muon_rate: peak rate of Muon for hidden matrices and kernels. ``None`` trains all with AdamW. A network lists
            its other layers (first, last, positions, tables) in ``for_adamw``, see
            :class:`~fourfold.engine.weights.Weights`.
        betas: decay rates of AdamW's two averages.
        weight_decay: decoupled weight decay of matrices.
        warmup: fraction of the budget in which the rate rises linearly from 0.
        cooldown: last fraction of the budget in which the rate falls to ``floor`` (1: cosine from the start).
        floor: final rate as a fraction of the peak.
        ema: half-life of the weight average as a fraction of the steps so far. 0 keeps no average.
        clip: largest norm of a term's gradient. 0 clips nothing.
        smoothing: standard deviation of the Gaussian noise on encoded vectors at the start of training, for small data.
            It falls to a 25th in the first four fifths of the budget and then ends (see :meth:`noise`).

    Raises:
        ValueError: for a learning rate or a batch size that is not positive.
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
                f"learning_rate, muon_rate and batch_size must be positive, got {self.learning_rate}, "
                f"{self.muon_rate} and {self.batch_size}"
            )

    def schedule(self, fraction: float) -> float:
        """The factor of the rate at a ``fraction`` of the budget: rising, flat, then half a cosine down."""
        if fraction < self.warmup:
            return fraction / self.warmup
        start = max(1 - self.cooldown, self.warmup)
        progress = min(max((fraction - start) / max(1 - start, 1e-9), 0.0), 1.0)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2

    def noise(self, fraction: float) -> float:
        """The noise's standard deviation at a ``fraction`` of the budget: ``smoothing 25^(-fraction / 0.8)``.

        Noise smooths the density of examples by a kernel. With the noise of a good kernel density estimate, no training
        overfits few examples (Bishop 1995, https://doi.org/10.1162/neco.1995.7.1.108). The right amount depends on the
        data: falling noise tries every amount, and the held-out loss chooses.
        """
        return self.smoothing * 25 ** (-fraction / 0.8) if fraction < 0.8 else 0.0


DEFAULT = Training()
"""The settings of a model that was built without any."""
