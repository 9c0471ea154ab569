"""Models in several processes: how they are built, laid out in memory, copied and brought together.

In one process, and where every process holds all weights, these functions leave a model as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.modules import module as hooks

from fourfold.core import GenerativeModel
from fourfold.parallel.blocks import is_block
from fourfold.parallel.processes import Processes
from fourfold.parallel.shards import is_sharded, shard_module, whole

__all__ = ["arrange", "brought_together", "building", "channels_last", "copied", "to_train"]


@contextmanager
def building(
    processes: Processes, has_stages: Callable[[], object], device: torch.device | None = None
) -> Iterator[None]:
    """Inside, a large block is sharded as soon as it is built, so that a model is never whole in one process.

    Every process draws the initial weights of all blocks, and keeps its rows: they are those of one process. A model
    with stages is built whole, because its stages are trained before it.

    Args:
        processes: the processes.
        has_stages: whether the model has stages. Asked only where processes hold shards.
        device: where blocks are built, if they are sharded.
    """

    def register(parent: nn.Module, name: str, child: nn.Module | None) -> None:
        if child is not None and is_block(child):
            shard_module(child, processes, low=False)

    with ExitStack() as stack:
        if processes.sharded and not has_stages():
            stack.callback(hooks.register_module_module_registration_hook(register).remove)
            if device is not None:
                stack.enter_context(device)
        yield


def arrange(model: nn.Module, processes: Processes) -> None:
    """Lay out the kernels of a model channels-last, which is the faster way. Shards stay as they are."""
    if not processes.sharded:
        channels_last(model)


def channels_last(model: nn.Module) -> None:
    """Lay out every tensor of four dimensions with its channels last. :meth:`torch.nn.Module.to` fails at five."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


def to_train(model: GenerativeModel, processes: Processes) -> GenerativeModel:
    """The model itself, or a copy to be sharded, since sharding cannot be undone."""
    if not processes.sharded or _has_shards(model):
        return model
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def copied(model: GenerativeModel, processes: Processes) -> GenerativeModel:
    """A copy of a model.

    Raises:
        ValueError: if processes share its weights.
    """
    if not processes.copies:
        raise ValueError(
            "parallel must be none or ddp to count the operations of a step, which takes a copy of the model, got "
            f"{processes.way}; give a budget in steps or in seconds"
        )
    return copy.deepcopy(model)


def brought_together(
    source: GenerativeModel, model: GenerativeModel, build: Callable[[], GenerativeModel]
) -> GenerativeModel:
    """The trained model with whole weights, in every process.

    Args:
        source: the trained model of :func:`to_train`.
        model: the model from which that was made.
        build: builds a whole model of the same configuration. It is called if ``model`` has no room for whole weights.
    """
    if source is model and not _has_shards(model):
        return model
    model = build() if _has_shards(model) else model
    target = model.state_dict()
    for name, value in source.state_dict(keep_vars=True).items():
        target[name].copy_(whole(value))
    return model.eval()


def _has_shards(model: nn.Module) -> bool:
    return any(map(is_sharded, model.parameters()))
