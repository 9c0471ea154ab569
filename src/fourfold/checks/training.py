"""Checks of training: it is the same when it is resumed, watched, or shared between processes."""

from __future__ import annotations

import copy
import dataclasses
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing

from fourfold.checks.base import raw_examples, require
from fourfold.core import GenerativeModel
from fourfold.data import Split
from fourfold.engine.loader import Loader
from fourfold.engine.loop import Loop
from fourfold.parallel.processes import ALONE, Processes
from fourfold.parallel.shards import whole

__all__ = ["check_ranks", "check_resume", "check_watching"]

BATCH = 4
"""Examples in a batch of these checks."""


def _loop(model: GenerativeModel, processes: Processes | None = None, parts: int = 0) -> Loop:
    """A loop on random examples in batches of ``BATCH``, unclipped, for one of several processes or for all of them."""
    processes = processes or ALONE
    x, cond = raw_examples(model)
    split = Split(x if model.space.window is None else x.flatten(0, 1), cond)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a codec may draw, as in the engine
        model.fit_statistics(x, cond)
    training = dataclasses.replace(model.training_defaults, batch_size=BATCH, clip=0.0)
    loader = Loader(split, model.space, BATCH, 0, processes.rank, processes.world)
    return Loop(model, loader, training, processes=processes, parts=parts)


def check_resume(model: GenerativeModel, steps: int = 3, at: int = 2) -> None:
    """Training that is stopped, saved and resumed reaches the same weights to the bit.

    Args:
        model: an untrained model, which the check trains.
        steps: number of steps of the uninterrupted run.
        at: the step at which its state is saved, from which the other run goes on.
    """
    whole, second = _loop(copy.deepcopy(model)), _loop(model)
    for _ in range(at):
        whole.step(1.0)
    second.load(whole.state(), whole.progress)
    for _ in range(steps - at):
        whole.step(1.0)
        second.step(1.0)
    expected, resumed = whole.state(), second.state()
    changed = _changed(expected, resumed)
    require(not changed, f"after resuming, {', '.join(changed[:3])} differ from the uninterrupted run")


def check_watching(model: GenerativeModel, steps: int = 2) -> None:
    """Looking at the losses and saving between steps does not change training by a bit.

    Args:
        model: an untrained model, which the check trains.
        steps: number of steps. Every term is evaluated after each, and the state is copied.
    """
    alone, watched = _loop(copy.deepcopy(model)), _loop(model)
    with torch.random.fork_rng(devices=[]):
        batch = watched.model.encode(*raw_examples(model, 4, seed=1))
    for _ in range(steps):
        alone.step(1.0)
        watched.step(1.0)
        with watched.judging(), torch.enable_grad():
            for term in watched.terms.values():
                term(batch)
        watched.state()
    expected, state = alone.state(), watched.state()
    changed = _changed(expected, state)
    require(not changed, f"after looking at the losses, {', '.join(changed[:3])} differ: keep what counts in buffers")


def _changed(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that differ by a bit. NaN, an unknown condition, is equal to itself."""
    nans = {key: value.isnan() & second[key].isnan() for key, value in first.items()}
    return [key for key, value in first.items() if not bool(((value == second[key]) | nans[key]).all())]


def check_ranks(*models: GenerativeModel, world: int = 2, sharded: bool = False) -> None:
    """Several processes train as one does that takes the parts of each batch one after the other.

    Real processes that communicate through gloo take a few steps, by ``ddp`` or by ``fsdp``.
    Gradients of the first, and weights after all, are compared with those of one process, in float32. All models share
    the processes.

    Args:
        models: untrained models.
        world: number of processes, which divides ``BATCH``.
        sharded: whether each process holds a shard of every parameter.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.save([model.state_dict() for model in models], f"{folder}/models.pt")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch._dynamo"])  # DDP loads it: a second or two, once for all processes
        arguments = (world, sharded, folder, [model.configuration() for model in models])
        workers = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(world)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(600)
            worker.kill()
        require(all(worker.exitcode == 0 for worker in workers), f"a process of {world} failed")
        together = [torch.load(f"{folder}/{rank}.pt") for rank in range(world)]
    for model, *states in zip(models, *together, strict=True):
        name, alone = type(model.objective).__name__, _two_steps(_loop(copy.deepcopy(model), parts=world))
        for quantity, expected in alone.items():
            different = next(
                (state for state in states[1:] if not torch.equal(state[quantity], states[0][quantity])), None
            )
            require(different is None, f"{name}: the processes hold different {quantity}")
            gap = float((states[0][quantity] - expected).abs().max() / (1e-12 + expected.abs().max()))
            most = (
                1e-4 if quantity == "gradients" else 2e-3
            )  # an element whose gradient is rounding noise moves either way
            require(gap < most, f"{name}: the {quantity} of {world} processes differ from those of one by {gap:.2g}")


def _two_steps(loop: Loop) -> dict[str, Tensor]:
    """The gradients of a step that moves nothing, and the weights after two that do."""
    loop.step(0.0)
    gradients = _flat(whole(value) for value in loop.weights.by_name(loop.weights.gradient).values())
    loop.step(0.1)
    loop.step(0.1)
    return {
        "gradients": gradients,
        "weights": _flat(whole(value) for value in loop.weights.by_name(loop.weights.flat).values()),
        "averages": _flat(whole(value) for value in loop.weights.by_name(loop.weights.average).values()),
    }


def _flat(values: Iterable[Tensor]) -> Tensor:
    """The numbers of several tensors in the order of their dimensions, whatever that of their memory."""
    return torch.cat([value.reshape(-1) for value in values])


def _rank(rank: int, world: int, sharded: bool, folder: str, configurations: Sequence[Mapping[str, Any]]) -> None:
    """One of the processes of :func:`check_ranks`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    models, states = [GenerativeModel.from_configuration(parts) for parts in configurations], []
    for model, state in zip(models, torch.load(f"{folder}/models.pt"), strict=True):
        model.load_state_dict(state)
        states.append(_two_steps(_loop(model, Processes(rank, world, sharded))))
    torch.save(states, f"{folder}/{rank}.pt")
    with suppress(RuntimeError):  # the other may have passed it and be gone
        dist.barrier()
    os._exit(0)  # gloo's threads may outlive the interpreter and then abort a process that has done its work
