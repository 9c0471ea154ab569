"""The weights in training: float32 masters in one flat tensor, one optimizer per term, and the average of the weights.

All parameters that any term updates are views of one flat float32 tensor, in the order (term, kind of update). Hence
every element-wise pass (AdamW, momentum, clipping, averaging) is one large operation instead of one per parameter.

Where processes share the rows of parameters (``fsdp``), the flat tensor holds those of this process, and the networks
compute with copies of them. Element-wise updates work unchanged on the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Codec, Estimand, GenerativeModel, Objective, Part, Staged, Term, Training
from fourfold.engine.adamw import AdamW
from fourfold.engine.muon import MatrixPlace, Muon
from fourfold.estimands import Reference
from fourfold.parallel.processes import ALONE, Processes
from fourfold.parallel.shards import like, local, shard

__all__ = ["TermOptimizer", "Update", "Weights", "layout", "network_parameters"]


class Update(IntEnum):
    """The optimizer of a parameter."""

    DECAYED = 0
    """AdamW with weight decay: matrices and kernels that Muon does not train."""
    PLAIN = 1
    """AdamW without weight decay: biases, gains, everything with fewer than two dimensions."""
    MUON = 2
    """Muon: hidden matrices and kernels."""


@dataclass(frozen=True, eq=False)
class Slot:
    """The place of a parameter, or of this process's rows of it, in the flat tensor."""

    name: str
    parameter: nn.Parameter
    update: Update
    start: int
    stop: int
    shape: torch.Size
    stride: tuple[int, ...]

    @property
    def matrix(self) -> MatrixPlace:
        """The parameter as a matrix, with the outputs as its rows."""
        rows = self.parameter.shape[0]
        return MatrixPlace(self.start, self.stop, rows, self.parameter.numel() // rows)

    def view(self, flat: Tensor, first: int = 0) -> Tensor:
        """The parameter's part, with its shape and strides, of a flat tensor that begins at ``first``."""
        part = flat[self.start - first : self.stop - first]
        return part.as_strided(self.shape, self.stride, part.storage_offset())

    def tensor(self, flat: Tensor, first: int = 0) -> Tensor:
        """:meth:`view` as a part of the whole parameter, if this process holds some of its rows."""
        return like(self.parameter, self.view(flat, first))


def network_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The parameters of networks: of each ``Part`` but models, estimands, objectives, codecs and references."""
    kinds = (GenerativeModel, Estimand, Objective, Codec, Reference)
    networks = [m for m in model.modules() if isinstance(m, Part) and not isinstance(m, kinds)]
    return {p for network in networks if isinstance(network, nn.Module) for p in network.parameters()}


def _taught_by(model: nn.Module) -> set[nn.Parameter]:
    """The parameters of earlier stages' networks that the objective calls in training. They are not trained."""
    objective = getattr(model, "objective", None)
    stages = objective.stages() if isinstance(objective, Staged) else []
    return {p for stage in stages for p in network_parameters(stage.model)}


def _for_adamw(model: nn.Module) -> set[nn.Parameter]:
    """The parameters that Muon must not train: those of ``nn.Embedding``, and those that modules list in ``for_adamw``.

    Raises:
        TypeError: for a ``for_adamw`` that is not a tuple of names.
        AttributeError: for a listed name that the module does not have.
    """
    parameters = {p for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    for module in model.modules():
        names = getattr(module, "for_adamw", ())
        if not isinstance(names, tuple):
            owner = type(module).__name__
            raise TypeError(f"{owner}.for_adamw must be a tuple of names of its attributes, got {names!r}")
        for name in names:
            listed = getattr(module, name)
            parameters |= set(listed.parameters()) if isinstance(listed, nn.Module) else {listed} - {None}
    return parameters


@final
class Weights:
    """All trained parameters of a model as views of one flat float32 tensor, with gradient and average beside it.

    Muon is for hidden matrices and kernels. A module lists in ``for_adamw: ClassVar[tuple[str, ...]]`` those of its own
    layers and parameters that are something else: first and last layers, positions, tables. AdamW trains these, and
    every ``nn.Embedding``.

    Args:
        model: the model.
        terms: the terms of its objective. Their parameters are trained.
        dtype: dtype in which the networks hold their weights in training.
        muon: whether Muon trains hidden matrices.
    """

    def __init__(
        self, model: nn.Module, terms: Mapping[str, Term], dtype: torch.dtype = torch.float32, muon: bool = False
    ) -> None:
        self.terms = terms
        self.slots = layout(model, terms, muon)
        size = self.slots[-1].stop if self.slots else 0
        device = self.slots[0].parameter.device if self.slots else torch.device("cpu")
        self.flat, self.gradient = torch.empty(size, device=device), torch.zeros(size, device=device)
        for slot in self.slots:
            slot.view(self.flat).copy_(local(slot.parameter.data))
        self.average = self.flat.clone()
        low = network_parameters(model) if dtype != torch.float32 else set()
        shards = {slot: shard(slot.parameter) for slot in self.slots}
        self._shards = {slot: rows for slot, rows in shards.items() if rows is not None}
        self._whole = [slot for slot in self.slots if slot not in self._shards]
        self._train = [s.parameter.data.to(dtype) if s.parameter in low else s.view(self.flat) for s in self._whole]
        self._low = {slot: data for slot, data in zip(self._whole, self._train, strict=True) if slot.parameter in low}
        self._low |= self._shards
        self._masters = {slot: slot.view(self.flat) for slot in self.slots}
        self._gradients = {slot: slot.view(self.gradient) for slot in self.slots}
        parameters = {slot.parameter for slot in self.slots}
        teachers = _taught_by(model) - parameters if dtype != torch.float32 else set()
        self._teachers = [(p, p.data, p.data.to(dtype)) for p in teachers]
        self.lower()

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        """The parameters that no term trains, by name, in full precision."""
        parameters = {slot.parameter for slot in self.slots}
        full = {p: data for p, data, _ in self._teachers}
        return {name: full.get(p, p.data) for name, p in model.named_parameters() if p not in parameters}

    def lower(self) -> None:
        """Give the model its weights of training: low-precision copies in networks, masters elsewhere."""
        self.refresh(self.slots)
        for slot, data in zip(self._whole, self._train, strict=True):
            slot.parameter.data = data
        for p, _, low in self._teachers:
            p.data = low

    def show(self, flat: Tensor) -> None:
        """Give the model the weights of a flat float32 tensor: the masters or their average."""
        for slot in self.slots:
            slot.parameter.grad = None
            if slot in self._shards:
                self._shards[slot].copy_(slot.view(flat))
            else:
                slot.parameter.data = slot.view(flat)
        for p, whole, _ in self._teachers:
            p.data = whole

    @contextmanager
    def holding(self, flat: Tensor) -> Iterator[None]:
        """Inside, the model has the weights of a flat float32 tensor: the masters or their average."""
        self.show(flat)
        try:
            yield
        finally:
            self.lower()

    def refresh(self, slots: Sequence[Slot]) -> None:
        """Copy the masters to the low-precision weights."""
        low = [slot for slot in slots if slot in self._low]
        if low:
            torch._foreach_copy_([self._low[slot] for slot in low], [self._masters[slot] for slot in low])

    def gather(self, slots: Sequence[Slot]) -> None:
        """Move the gradients of parameters to the flat gradient. A missing gradient counts as 0."""
        places: list[Tensor] = []
        gradients: list[Tensor] = []
        for slot in slots:
            grad = slot.parameter.grad
            if grad is None:
                self._gradients[slot].zero_()
            else:
                places.append(self._gradients[slot])
                gradients.append(local(grad))
            slot.parameter.grad = None
        if gradients:
            torch._foreach_copy_(places, gradients)

    def by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """The parts of a flat tensor by the names of the parameters. They share its memory."""
        return {slot.name: slot.tensor(flat) for slot in self.slots}

    def update_average(self, step: int, half_life: float) -> None:
        """``average <- d average + (1 - d) flat`` with ``d = 2^(-1 / (half_life · step))`` after step 1, 2, ...

        A half-life that is a fraction of the steps so far forgets the start of training at every length of it (Karras
        et al. 2024, https://arxiv.org/abs/2312.02696). Half-life 0 keeps no average.
        """
        if half_life > 0:
            self.average.lerp_(self.flat, 1 - 2 ** (-1 / (half_life * step)))
        else:
            self.average = self.flat


def layout(model: nn.Module, terms: Mapping[str, Term], muon: bool) -> list[Slot]:
    """The slots, ordered by the first term that updates the parameter, then by its optimizer."""
    names = {p: name for name, p in model.named_parameters()}
    by_adamw = _for_adamw(model)
    slots: list[Slot] = []
    placed: set[nn.Parameter] = set()
    for name, term in terms.items():
        parameters = [p for p in dict.fromkeys(term.trainable()) if p not in placed]
        placed.update(parameters)
        kinds = {p: _update(p, muon and p not in by_adamw) for p in parameters}
        for i, p in enumerate(sorted(parameters, key=lambda p: kinds[p])):
            start, rows = slots[-1].stop if slots else 0, local(p.data)
            place = (start, start + rows.numel(), rows.shape, rows.stride())
            slots.append(Slot(names.get(p, f"{name}.{i}"), p, kinds[p], *place))
    return slots


def _update(p: nn.Parameter, muon: bool) -> Update:
    if p.ndim < 2:
        return Update.PLAIN
    return Update.MUON if muon else Update.DECAYED


def _runs(slots: Sequence[Slot]) -> list[slice]:
    """The slots as slices of the flat tensor, with neighbours joined."""
    runs: list[slice] = []
    for slot in slots:
        if runs and runs[-1].stop == slot.start:
            runs[-1] = slice(runs[-1].start, slot.stop)
        else:
            runs.append(slice(slot.start, slot.stop))
    return runs


@final
class TermOptimizer:
    """The optimizer of one term: clipping, AdamW and Muon, on slices of the flat tensors.

    Args:
        weights: the flat tensors.
        term: the term whose parameters are updated.
        training: rates, betas, decay, clipping.
    """

    def __init__(self, weights: Weights, term: Term, training: Training, processes: Processes = ALONE) -> None:
        self.weights, self.training, self.rate, self.processes = weights, training, term.rate, processes
        parameters = set(term.trainable())
        self.slots = [slot for slot in weights.slots if slot.parameter in parameters]
        self.runs = _runs(self.slots)
        decays = ((Update.DECAYED, training.weight_decay), (Update.PLAIN, 0.0))
        groups = [(_runs([s for s in self.slots if s.update is kind]), decay) for kind, decay in decays]
        self.adamw = AdamW(weights.flat, weights.gradient, groups, training.betas)
        self._by_adamw = [run for runs, _ in groups for run in runs]
        hidden = [slot.matrix for slot in self.slots if slot.update is Update.MUON]
        self.muon = Muon(weights.flat, weights.gradient, hidden, training.weight_decay, processes=processes)
        self.muon.dtype = processes.same(self.muon.dtype)  # it is timed, and all must take the same step

    def clip(self) -> float:
        """Scale the term's gradient to the largest allowed norm. Return the norm it had."""
        parts = [self.weights.gradient[run] for run in self.runs]
        common = (slot.view(self.weights.gradient) for slot in self.slots if shard(slot.parameter) is None)
        norm = self.processes.norm(parts, common) if parts else 0.0
        if 0 < self.training.clip < norm < float("inf"):
            for part in parts:
                part.mul_(self.training.clip / norm)
        return norm

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update the masters, with all rates multiplied by ``factor`` and by the rate of the term."""
        factor *= self.rate
        self.adamw.step(self.training.learning_rate * factor)
        if self.training.muon_rate is not None:
            self.muon.step(self.training.muon_rate * factor)

    def reset(self) -> None:
        """Forget all gradients so far."""
        for value in (*self.adamw.steps, *self.adamw.means, *self.adamw.squares, self.muon.momentum):
            value.zero_()

    def live(self) -> dict[str, Tensor]:
        """The state by names of parameters, in the memory that training works with."""
        hidden = [slot for slot in self.slots if slot.update is Update.MUON]
        tensors = {f"momentum.{s.name}": s.tensor(self.muon.momentum, self.muon.run.start) for s in hidden}
        for run, mean, square in zip(self._by_adamw, self.adamw.means, self.adamw.squares, strict=True):
            for slot in self.slots:
                if run.start <= slot.start and slot.stop <= run.stop and slot.update is not Update.MUON:
                    tensors[f"mean.{slot.name}"] = slot.tensor(mean, run.start)
                    tensors[f"square.{slot.name}"] = slot.tensor(square, run.start)
        return tensors

    def numbers(self) -> dict[str, Tensor]:
        """The rest of the state: the count of steps, and a tensor of Muon's dtype."""
        steps = self.adamw.steps[0] if self.adamw.steps else torch.zeros(())
        return {"steps": steps, "muon.dtype": torch.empty(0, dtype=self.muon.dtype)}

    def load_numbers(self, state: Mapping[str, Tensor]) -> None:
        """Take :meth:`numbers`, as they were when a state was saved."""
        self.muon.dtype = state["muon.dtype"].dtype
        for steps in self.adamw.steps:
            steps.copy_(state["steps"])
