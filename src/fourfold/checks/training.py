"""Checks of training: it is the same when it is resumed, watched, or shared between processes."""

from __future__ import annotations

import copy
import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fourfold.checks.base import raw_examples, require
from fourfold.core import GenerativeModel

if TYPE_CHECKING:
    from fourfold.engine.loop import Loop

__all__ = ["check_ranks", "check_resume", "check_watching"]


def _loop(model: GenerativeModel, rank: int = 0, world: int = 1, together: bool = False) -> Loop:
    """A loop on random examples in small batches, unclipped, for one rank of ``world``, together or on its own."""
    from fourfold.data import Split
    from fourfold.engine.distributed import Processes
    from fourfold.engine.loader import Loader
    from fourfold.engine.loop import Loop

    x, cond = raw_examples(model)
    split = Split(x if model.space.window is None else x.flatten(0, 1), cond)
    model.codec.fit(x)
    training = dataclasses.replace(model.training_defaults, batch_size=4, clip=0.0)
    loader = Loader(split, model.space, 4, 0, rank, world)
    return Loop(model, loader, training, processes=Processes(rank, world if together else 1))


def check_resume(model: GenerativeModel, steps: int = 4, at: int = 2) -> None:
    """Training that is stopped, saved and resumed reaches the same weights to the bit.

    Args:
        model: an untrained model, which the check trains.
        steps: number of steps of the uninterrupted run.
        at: the step at which the other run is cut.
    """
    whole, first = _loop(copy.deepcopy(model)), _loop(copy.deepcopy(model))
    for _ in range(steps):
        whole.step(1.0)
    for _ in range(at):
        first.step(1.0)
    second = _loop(model)
    second.load(first.state(), first.progress)
    for _ in range(steps - at):
        second.step(1.0)
    expected, found = whole.state(), second.state()
    changed = [key for key, value in expected.items() if not torch.equal(value, found[key])]
    require(not changed, f"after resuming, {', '.join(changed[:3])} differ from the uninterrupted run")


def check_watching(model: GenerativeModel, steps: int = 3) -> None:
    """Looking at the losses between steps does not change training by a bit.

    Args:
        model: an untrained model, which the check trains.
        steps: number of steps; every term is evaluated after each.
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
    expected, found = alone.state(), watched.state()
    changed = [key for key, value in expected.items() if not torch.equal(value, found[key])]
    require(not changed, f"after looking at the losses, {', '.join(changed[:3])} differ: keep what counts in buffers")


def check_ranks(*models: GenerativeModel) -> None:
    """Two processes compute the gradient that one process computes from both halves of the batch.

    One process computes both halves with the seeds of their ranks and averages them, in float32. Two real processes
    that communicate through gloo are compared with it. Several models share the two processes.
    """
    from torch import multiprocessing

    with tempfile.TemporaryDirectory() as folder:
        torch.save([model.state_dict() for model in models], f"{folder}/models.pt")
        context = multiprocessing.get_context("spawn")
        arguments = (folder, [model.configuration() for model in models])
        workers = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(300)
            worker.kill()
        require(all(worker.exitcode == 0 for worker in workers), "a process of two failed")
        together = [torch.load(f"{folder}/{rank}.pt") for rank in range(2)]
    for model, first, second in zip(models, *together, strict=True):
        name = type(model.objective).__name__
        require(torch.equal(first, second), f"{name}: the two processes hold different gradients")
        halves = [_first_gradient(_loop(copy.deepcopy(model), rank, 2)) for rank in range(2)]
        gap = float((first - (halves[0] + halves[1]) / 2).abs().max() / (1e-12 + first.abs().max()))
        require(gap < 1e-4, f"{name}: two processes' gradient differs from one's with both halves by {gap:.2g}")


def _first_gradient(loop: Loop) -> Tensor:
    """The gradient of the first term at the first step."""
    loop.step(0.0)
    return loop.gradients()[0]


def _rank(rank: int, folder: str, configurations: Sequence[Mapping[str, Any]]) -> None:
    """One of the two processes of :func:`check_ranks`."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    models = [GenerativeModel.from_configuration(parts) for parts in configurations]
    for model, state in zip(models, torch.load(f"{folder}/models.pt"), strict=True):
        model.load_state_dict(state)
    torch.save([_first_gradient(_loop(model, rank, 2, together=True)) for model in models], f"{folder}/{rank}.pt")
    with suppress(RuntimeError):  # the other may have passed it and be gone
        dist.barrier()
    os._exit(0)  # gloo's threads may outlive the interpreter and then abort a process that has done its work
