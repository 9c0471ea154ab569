"""How a term is called where several processes train: as it is, through DDP, or inside FSDP2.

PyTorch's wrappers average the gradients of the processes. They wrap a term, since its ``forward`` is all that
training calls: whatever a loss does inside (second derivatives, methods of a network) sees plain parameters.
"""

from __future__ import annotations

import copy
import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.modules import module as hooks
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from fourfold.core import Batch, GenerativeModel, Term
from fourfold.parallel.processes import Processes, local

__all__ = [
    "Alone",
    "Replicated",
    "Sharded",
    "Wrapper",
    "blocks",
    "building_shards",
    "is_sharded",
    "keep",
    "recompute",
    "twin",
]

BLOCK = 1 << 22
"""The least parameters of a block that is sharded, and computed again in the backward pass, on its own."""


class Wrapper(ABC):
    """Calls terms."""

    @abstractmethod
    def __call__(self, name: str, batch: Batch) -> Tensor:
        """The loss of each example of this process, ``(B,)``."""

    def last(self, name: str, is_last: bool) -> AbstractContextManager[object]:
        """Inside, forward and backward of one part of a batch; gradients may wait for the last part."""
        return nullcontext()

    def changed(self) -> None:
        """Called after the weights of the model were exchanged for others."""


@final
class Alone(Wrapper):
    """Terms as they are, compiled if asked for."""

    def __init__(self, terms: Mapping[str, Term], compiled: bool = False) -> None:
        self.calls: dict[str, Callable[[Batch], Tensor]] = {
            name: torch.compile(term) if compiled else term for name, term in terms.items()
        }

    def __call__(self, name: str, batch: Batch) -> Tensor:
        return self.calls[name](batch)


@final
class Replicated(Wrapper):
    """Terms inside ``DistributedDataParallel``: every process holds all weights.

    Args:
        terms: the terms.
        only: ``only(name)`` is a context in which that term's parameters alone require gradients.
        compiled: whether terms are compiled.
    """

    def __init__(
        self, terms: Mapping[str, Term], only: Callable[[str], AbstractContextManager[None]], compiled: bool = False
    ) -> None:
        self.terms, self.only = terms, only
        self.inner = Alone(terms, compiled)
        self.calls: dict[str, Any] = {}

    def __call__(self, name: str, batch: Batch) -> Tensor:
        return self._call(name)(batch)

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
                trained = any(p.requires_grad for p in self.terms[name].parameters())
                self.calls[name] = DistributedDataParallel(inner, **options) if trained else inner
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

    Blocks of at least :data:`BLOCK` parameters are brought together one at a time, everything else for as long as a
    term runs. Parameters without dimensions stay whole, as do those that no term trains.

    Args:
        terms: the terms of a :func:`twin`, or of a model that was built inside :func:`building_shards`.
        processes: the processes.
        low: whether networks compute in bfloat16; gradients are averaged in float32.
    """

    def __init__(self, terms: Mapping[str, Term], processes: Processes, low: bool = False) -> None:
        self.root: Any = _Terms(terms)
        trained = {p for term in terms.values() for p in term.trainable() if p.ndim}
        kept = set(self.root.parameters()) - trained
        for block in blocks(self.root):
            _shard(block, processes, low)
        _shard(self.root, processes, low, kept)

    def __call__(self, name: str, batch: Batch) -> Tensor:
        loss: Tensor = self.root(name, batch)
        if not loss.requires_grad:  # no backward pass will follow and share the weights out again
            self.root.reshard()
        return loss


def _shard(module: nn.Module, processes: Processes, low: bool, ignored: set[nn.Parameter] | None = None) -> None:
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    if isinstance(module, FSDPModule):
        return
    device = next((p.device.type for p in module.parameters()), "cpu")
    dtypes = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32} if low else {}
    policy = MixedPrecisionPolicy(**dtypes, cast_forward_inputs=False)
    mesh = init_device_mesh(device, (processes.world,))
    fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=ignored)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The large blocks of a model's networks: modules that say ``block = True`` and have enough parameters."""
    return [module for module in model.modules() if _is_block(module)]


def _is_block(module: nn.Module) -> bool:
    return getattr(module, "block", False) is True and sum(p.numel() for p in module.parameters()) >= BLOCK


def is_sharded(model: nn.Module) -> bool:
    """Whether parameters of a model are shared out between processes."""
    return any(hasattr(p, "to_local") for p in model.parameters())


@contextmanager
def building_shards(processes: Processes) -> Iterator[None]:
    """Inside, a large block is sharded as soon as it is built, so that a model is never whole in one process.

    Every process draws the initial weights of all blocks, and keeps its rows: they are those of one process.
    """

    def built(parent: nn.Module, name: str, child: nn.Module | None) -> None:
        if child is not None and _is_block(child):
            _shard(child, processes, low=False)

    handle = hooks.register_module_module_registration_hook(built)
    try:
        yield
    finally:
        handle.remove()


def twin(model: GenerativeModel) -> GenerativeModel:
    """A copy of a model to be sharded, since sharding cannot be undone; its layout in memory is the plain one."""
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor brought together, for which every process must ask; another tensor as it is."""
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return tensor.detach()
    held, world = local(tensor.detach()), mesh.size()
    part = held.new_zeros(-(-len(tensor) // world), *tensor.shape[1:])
    part[: len(held)] = held
    parts = [torch.empty_like(part) for _ in range(world)]
    dist.all_gather(parts, part, mesh.get_group())
    return torch.cat(parts)[: len(tensor)]


def recompute(modules: Sequence[nn.Module]) -> None:
    """Let modules keep only their inputs for the backward pass, and compute the rest again there.

    Chen, Xu, Zhang, Guestrin 2016, Training Deep Nets with Sublinear Memory Cost (https://arxiv.org/abs/1604.06174).
    """
    for module in modules:
        again = functools.partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
        module.__dict__["forward"] = again


def keep(modules: Sequence[nn.Module]) -> None:
    """Undo :func:`recompute`."""
    for module in modules:
        module.__dict__.pop("forward", None)
