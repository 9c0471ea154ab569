"""How a term is called where several processes train: as it is, through DDP, or inside FSDP2.

PyTorch's wrappers average the gradients of the processes. They wrap a term, since its ``forward`` is all that
training calls: whatever a loss does inside (second derivatives, methods of a network) sees plain parameters.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fourfold.core import Batch, Occasional, Term, Uncompiled
from fourfold.parallel.blocks import blocks
from fourfold.parallel.processes import Processes
from fourfold.parallel.shards import is_sharded, shard_module

__all__ = ["Alone", "Replicated", "Sharded", "Wrapper", "wrap"]


class Wrapper(ABC):
    """Calls terms.

    Attributes:
        terms: the terms.
    """

    terms: Mapping[str, Term]

    @abstractmethod
    def __call__(self, name: str, batch: Batch) -> Tensor:
        """The loss of each example of this process, ``(B,)``."""

    def last(self, name: str, is_last: bool) -> AbstractContextManager[object]:
        """Inside, forward and backward of one part of a batch. Gradients may wait for the last part."""
        return nullcontext()

    def changed(self) -> None:
        """Called after the weights of the model were exchanged for others."""

    def align(self, weights: Tensor) -> None:
        """Give every process the weights of the first, in place. Rows that a process holds alone stay."""

    def average_rest(self, gradients: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Average over all processes those gradients, each after its parameter, that the backward pass left apart."""

    def storage(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype in which networks hold their weights if they compute in ``dtype``."""
        return dtype

    def loss(self, name: str, batch: Batch) -> Tensor:
        """The loss of each example, ``(B,)``, outside of a step. All processes must ask together."""
        return self.terms[name](batch)


def _compiled(term: Term) -> Callable[[Batch], Tensor]:
    """The term compiled, but for scalars that it measures now and then, counts, and code that cannot be compiled.

    Such code, as that of views which a loss builds, runs as it is. The compiler's warnings about it are not shown.
    """
    torch._dynamo.config.suppress_errors = True
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    for value in vars(term).values():
        if isinstance(value, Occasional):
            value.latest = torch.compiler.disable(value.latest)  # type: ignore[method-assign, no-untyped-call]
    for value in (value for module in term.modules() for value in vars(module).values()):
        if isinstance(value, Uncompiled):
            value.function = torch.compiler.disable(value.function)  # type: ignore[no-untyped-call]
    return torch.compile(term)


@final
class Alone(Wrapper):
    """Terms as they are, compiled if asked for."""

    def __init__(self, terms: Mapping[str, Term], compiled: bool = False) -> None:
        self.terms = terms
        self.calls: dict[str, Callable[[Batch], Tensor]] = {
            name: _compiled(term) if compiled else term for name, term in terms.items()
        }

    def __call__(self, name: str, batch: Batch) -> Tensor:
        return self.calls[name](batch)


@final
class Replicated(Wrapper):
    """Terms inside ``DistributedDataParallel``: every process holds all weights.

    Args:
        terms: the terms.
        processes: the processes.
        only: ``only(name)`` is a context in which that term's parameters alone require gradients.
        compiled: whether terms are compiled.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        processes: Processes,
        only: Callable[[str], AbstractContextManager[None]],
        compiled: bool = False,
    ) -> None:
        self.terms, self.processes, self.only = terms, processes, only
        self.inner = Alone(terms, compiled)
        self.calls: dict[str, Any] = {}

    def __call__(self, name: str, batch: Batch) -> Tensor:
        return self._call(name)(batch)

    def align(self, weights: Tensor) -> None:
        self.processes.broadcast(weights)

    @contextmanager
    def last(self, name: str, is_last: bool) -> Iterator[None]:
        call = self._call(name)
        waits = not is_last and call is not self.inner.calls[name]
        with warnings.catch_warnings(), call.no_sync() if waits else nullcontext():
            warnings.filterwarnings("ignore", "Grad strides do not match")  # kernels of one channel have two layouts
            yield

    def changed(self) -> None:
        self.calls.clear()  # weights of another dtype have lost the hooks that DDP put on their gradients

    def _call(self, name: str) -> Any:
        if name not in self.calls:
            inner: Any = self.inner.calls[name]
            options: Any = {"broadcast_buffers": False, "init_sync": False, "find_unused_parameters": True}
            with self.only(name), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the name that replaces broadcast_buffers still syncs
                trains = any(p.requires_grad for p in self.terms[name].parameters())
                self.calls[name] = DistributedDataParallel(inner, **options) if trains else inner
        return self.calls[name]


@final
class _Terms(nn.Module):
    """All terms as one module, whose forward calls one of them."""

    def __init__(self, terms: Mapping[str, Term]) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)

    def forward(self, name: str, batch: Batch) -> Tensor:
        loss: Tensor = self.terms[name](batch)
        return loss.clone()  # fully_shard hangs its backward pass on what is returned, which must not be a view


@final
class Sharded(Wrapper):
    """Terms inside ``fully_shard``: every process holds some rows of each parameter.

    Large blocks (:mod:`fourfold.parallel.blocks`) are brought together one at a time, everything else for as long as a
    term runs. Parameters without dimensions stay whole, as do those that no term trains.

    Args:
        terms: the terms of a model that may be changed (:func:`~fourfold.parallel.models.to_train`).
        processes: the processes.
        low: whether networks compute in bfloat16. Gradients are averaged in float32.
    """

    def __init__(self, terms: Mapping[str, Term], processes: Processes, low: bool = False) -> None:
        self.terms, self.processes, self.root = terms, processes, cast("Any", _Terms(terms))
        parameters = {p for term in terms.values() for p in term.trainable() if p.ndim}
        fixed = set(self.root.parameters()) - parameters
        for block in blocks(self.root):
            shard_module(block, processes, low)
        shard_module(self.root, processes, low, fixed)

    def __call__(self, name: str, batch: Batch) -> Tensor:
        loss: Tensor = self.root(name, batch)
        if not loss.requires_grad:  # no backward pass will follow and share the weights out again
            self.root.reshard()
        return loss

    def loss(self, name: str, batch: Batch) -> Tensor:
        return self(name, batch)

    def average_rest(self, gradients: Iterable[tuple[Tensor, Tensor]]) -> None:
        for parameter, gradient in gradients:
            if not is_sharded(parameter):  # one without dimensions
                self.processes.average(gradient)

    def storage(self, dtype: torch.dtype) -> torch.dtype:
        return torch.float32  # of which the networks compute with copies


def wrap(
    terms: Mapping[str, Term],
    only: Callable[[str], AbstractContextManager[None]],
    processes: Processes,
    low: bool = False,
    compiled: bool = False,
) -> Wrapper:
    """The wrapper of terms that suits the processes.

    Args:
        terms: the terms.
        only: ``only(name)`` is a context in which that term's parameters alone require gradients.
        processes: the processes.
        low: whether networks compute in bfloat16.
        compiled: whether terms are compiled. Those in shards are not.
    """
    if processes.sharded:
        return Sharded(terms, processes, low)
    return Replicated(terms, processes, only, compiled) if processes.world > 1 else Alone(terms, compiled)
