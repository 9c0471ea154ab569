"""Trees in the place of networks: conditionals of columns, and denoisers of rows. They are grown at once.

    log p(x) = sum_i log p(x_o(i) | x_o(<i)),    by the trees of each column, in an order o of the columns

:class:`~fourfold.nn.trees.ColumnTrees` says how a tree is grown and smoothed, and which classical models stand beside
it. The trees of a column know the columns before it alone, so rows are scored and drawn in one order. Where some values
are given, the classical models propose the others in any order, and the distribution of rows accepts proposals
(:mod:`fourfold.tasks.proposals`).

:class:`TreeDenoiser` is ``E[x_0 | x_t]`` by an ensemble of each noise level and class, see
:class:`~fourfold.nn.noise_trees.NoiseTrees`. It is a denoiser like any other, for every sampler. As it is constant
between the thresholds of its trees, the divergence of its velocity is not that of the flow. So its likelihood is the
variational bound, which holds for any function in the place of the denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.codecs.table import CORNER, FAR, ColumnTokens
from fourfold.core import Codec, JointConditionals, Measure, Noise
from fourfold.core.conditions import unknown
from fourfold.estimands import SMALLEST, Conditionals, Denoiser, PartialRows
from fourfold.maths.categorical import categorical
from fourfold.maths.paths import Path, broadcast
from fourfold.nn.noise_trees import NoiseTrees
from fourfold.nn.reading.flat import FlatNumbers
from fourfold.nn.regression import ridge
from fourfold.nn.trees import ColumnTrees

__all__ = ["TreeConditionals", "TreeDenoiser"]


@final
class TreeConditionals(Conditionals, JointConditionals):
    """``p(x_i | x_<i, c)`` of the columns of a table, by trees and classical models.

    Args:
        net: the trees of each column.
        columns: how many there are.
    """

    measure = Measure.COUNTING
    fitted = True

    def __init__(self, net: ColumnTrees, columns: int) -> None:
        super().__init__()
        self.net, self.event = net, (columns,)

    @property
    def reads_condition(self) -> bool:  # type: ignore[override]
        """True if the trees have features of the condition."""
        return self.net.condition is not None

    @property
    def summary(self) -> str:
        beside = " beside mixtures of Gaussians" if self.net.mixtures else ""
        return f"{super().summary}: a mixture of {self.net.trees} trees for each column{beside}"

    @property
    def order(self) -> tuple[int, ...]:
        return self.net.order

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Grow the trees on the codes of training examples, and count the rows in their nodes."""
        source = codec.innermost
        assert isinstance(source, ColumnTokens)  # the codec of these models
        self.net.fit(codec.encode(x)[0], cond, source.token_masses(), source.token_edges())

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        masses: Tensor = self.net(x, cond)
        return masses

    def conditional(self, x: Tensor, observed_mask: Tensor, position: int, cond: Tensor | None = None) -> Tensor:
        return self.net.conditional(x, observed_mask, position, cond)

    def log_joint(self, x: Tensor, place: Tensor, cond: Tensor | None = None) -> Tensor:
        """``log p(x | c)`` in the order of the trees, in which rows are scored and drawn, ``(B,)``."""
        return self(x, cond).sum(1)

    def begin(self, batch: int, cond: Tensor | None = None) -> PartialRows:
        return PartialRows(torch.zeros(batch, *self.event, dtype=torch.long, device=self.net.counts.device), cond)

    def draw(self, state: PartialRows, noise: Noise, temperature: float = 1.0) -> tuple[Tensor, PartialRows]:
        """The next column. All are drawn in the order of the trees when the first is asked for."""
        for i in () if state.count else self.net.order:
            state.x[:, i] = categorical(self.net(state.x, state.cond, i) / temperature, noise.uniform())
        state.count += 1
        return state.x[:, state.count - 1], state


@final
class TreeDenoiser(Denoiser):
    """``E[x_0 | x_t]`` of the rows of each class, or of a mixture of the classes.

    Numbers of a condition ``c`` are features of the trees. Rows are centred on their linear regression on them, ``x = A
    c + y``. These residuals ``y`` are one class. The rows themselves are another, for an unknown condition. A label is
    the class itself, or the class stands at the start of the code: a corner of :class:`~fourfold.codecs.RealRows`.
    Then the shares of the classes are those given both parts of the noised code, ``c_t`` and ``y``,

        r_k ~ p_k N(c_t; FAR e_k, s^2 + w^2) N(y; mu_k, S_k + s^2 I),    s = sigma_t / alpha_t,

    with the width ``w`` of a corner. As corners are far from each other, a class is drawn before most of a row's
    numbers, which are then drawn by the trees of that class.

    Args:
        net: the denoisers of each class.
        path: the noise process.
        classes: corners at the start of the code. 0: there are none.
        labels: of the condition. 0: there is none. A row of an unknown label has a class of its own, that of all rows.
        given: of each value of a condition that is no label, the number of its categories, and 0 for a number. Then
            ``labels`` is 1.
    """

    fitted = True
    masses: Tensor
    slopes: Tensor
    middle: Tensor

    def __init__(
        self, net: NoiseTrees, path: Path, classes: int = 0, labels: int = 0, given: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.given, self.numbers = tuple(given), FlatNumbers(given) if given else None
        if self.numbers is not None:
            self.register_buffer("slopes", torch.zeros(self.numbers.width, net.dim))
            self.register_buffer("middle", torch.zeros(self.numbers.width))
        self.net, self.path, self.classes, self.labels = net, path, classes, labels
        self.event = (classes + net.dim,)
        self.register_buffer("masses", torch.full((classes,), 1 / max(classes, 1)))

    @property
    def reads_condition(self) -> bool:  # type: ignore[override]
        """True if there are trees of each label, or with features of the condition."""
        return self.labels > 0

    @property
    def summary(self) -> str:
        return f"{super().summary}: trees at {self.net.levels} noise levels beside a Gaussian, for each class"

    def fit(self, x: Tensor, cond: Tensor | None, codec: Codec) -> None:
        """Fit the Gaussian of each class and grow the trees, on the codes of training examples."""
        z = codec.encode(x, Noise(0, 0, len(x)))[0]
        label = z[:, : self.classes].argmax(1) if self.classes else z.new_zeros(len(z), dtype=torch.long)
        counts = torch.bincount(label, minlength=self.classes)[: self.classes] + 0.5
        self.masses.copy_(counts / counts.sum())
        beside = self._beside(None, len(z))
        if self.labels:
            every, label = self._labels(None, len(z)), self._labels(cond, len(z))
            if self.numbers is not None and cond is not None:
                self._regress(z, cond)
            z, label = torch.cat([z - self._centre(cond, len(z)), z]), torch.cat([label, every])
            beside = torch.cat([self._beside(cond, len(beside)), beside])
        self.net.fit(z[:, self.classes :], label, beside)

    def _regress(self, z: Tensor, cond: Tensor) -> None:
        """Fit the linear regression of codes on their conditions."""
        assert self.numbers is not None
        z, cond = z[~unknown(cond)], cond[~unknown(cond)]
        if len(z):
            self.numbers.fit(cond)
            c = self.numbers(cond, len(z)).double()
            self.slopes.copy_(ridge(c - c.mean(0), z.double() - z.double().mean(0)))
            self.middle.copy_(c.mean(0))

    def _labels(self, cond: Tensor | None, batch: int) -> Tensor:
        """The class of each condition, ``(B,)``. The last one is of those that are unknown."""
        every = torch.full((batch,), self.labels, device=self.masses.device)
        if cond is None:
            return every
        if self.numbers is not None:
            return every.where(unknown(cond), 0)
        return torch.where(cond < 0, every, cond)

    def _beside(self, cond: Tensor | None, batch: int) -> Tensor:
        """The numbers of conditions, ``(B, numbers)``."""
        return self.masses.new_zeros(batch, 0) if self.numbers is None else self.numbers(cond, batch)

    def _centre(self, cond: Tensor | None, batch: int) -> Tensor:
        """``A c``, ``(B, dim)``, or zeros ``(B, 1)`` where there is no regression. 0 for unknown conditions."""
        if self.numbers is None or cond is None:
            return self.masses.new_zeros(batch, 1)
        linear = (self.numbers(cond, batch) - self.middle) @ self.slopes
        return linear.masked_fill(unknown(cond)[:, None], 0.0)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        alpha = self.path.alpha(t).clamp(min=SMALLEST)
        noise, y = (self.path.sigma(t) / alpha).to(x_t), x_t / broadcast(alpha, x_t)
        corner, row = y[:, : self.classes], y[:, self.classes :]
        variance, width = noise.square().unsqueeze(1), (FAR * CORNER) ** 2
        if self.classes:
            evidence = FAR * corner / (variance + width) + self.masses.log()
        else:
            evidence = F.one_hot(self._labels(cond, len(y)), self.labels + 1).to(y).log()
        centre = self._centre(cond, len(y)).to(y)
        denoised, share = self.net(row - centre, noise, evidence, self._beside(cond, len(y)).to(y))
        clean = (variance * FAR * share[:, : self.classes] + width * corner) / (variance + width)
        return torch.cat([clean, denoised + centre], 1)
