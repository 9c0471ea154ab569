"""What the ranks of ``test_parallel`` do: each is a process forked from the server of ``dying``."""

import contextlib
import dataclasses
import os
import signal
import time
from pathlib import Path

import torch

from fourfold.codecs import TextTokens
from fourfold.core import GenerativeModel, Training
from fourfold.engine import Interrupted, Run, fit
from fourfold.engine.heldout import HeldOut
from fourfold.engine.training import begin
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms import build
from fourfold.paradigms.autoregressive import Ancestral, ChainRule, MaximumLikelihood, TokenConditionals
from fourfold.parallel import blocks
from fourfold.parallel.models import building
from fourfold.parallel.processes import ALONE, LostProcess, Processes, join, restarted
from fourfold.parallel.shards import whole
from fourfold.spaces import Text, Vectors

from . import test_restarts
from .dying import MOONS, alone
from .toys import TRAINING, game_model, linear_model

WORKS = ("ddp", "fsdp")
GAME = dataclasses.replace(TRAINING, muon_rate=0.02, clip=0.5, ema=0.1, batch_size=32)


def text_model() -> GenerativeModel:
    """A transformer whose blocks count as large, as :data:`fourfold.parallel.blocks.BLOCK` is 0 here."""
    space = Text("abcdefghijklmnop", length=12)
    net = TokenTransformer(space.tokens, space.length, 16, 2, 2)
    parts = (TextTokens(space), TokenConditionals(net, space.length), MaximumLikelihood(), Ancestral(), ChainRule())
    return GenerativeModel(space, *parts, Training(batch_size=8, muon_rate=0.02))


def text_batches(rank: int = 0, world: int = 1):
    """Random texts of every step, of which a rank gets its share."""
    from fourfold.core import Batch

    def batches(step):
        x = torch.randint(16, (8, 12), generator=torch.Generator().manual_seed(step))
        return Batch(x.chunk(world)[rank])

    return batches


def flow() -> GenerativeModel:
    """A model that scores by an estimate that draws."""
    torch.manual_seed(0)
    return build("diffusion", Vectors(2), "xs").eval()


def steps(loop, n: int = 3) -> dict:
    """The losses and norms of some steps, and the weights and their average after them."""
    for optimizer in loop.optimizers.values():
        optimizer.muon.dtype = torch.float32
    losses = [loop.step(0.5) for _ in range(n)]
    by_name = loop.weights.by_name
    return {
        "losses": torch.tensor([list(step.losses.values()) for step in losses]),
        "norms": torch.tensor([list(step.norms.values()) for step in losses]),
        **{name: whole(value).clone() for name, value in by_name(loop.weights.flat).items()},
        **{f"average.{name}": whole(value).clone() for name, value in by_name(loop.weights.average).items()},
    }


def game_steps(processes: Processes | None = None, parts: int = 0) -> dict:
    model = game_model(seed=0)
    if processes is None:
        return steps(begin(model, MOONS, GAME, parts=parts))
    return steps(begin(model, MOONS, GAME, processes=processes, parts=parts))


def text_steps(processes: Processes | None = None, parts: int = 0) -> dict:
    torch.manual_seed(0)
    with building(processes or ALONE, lambda: False):
        model = text_model()
    share = (0, 1) if processes is None else (processes.rank, processes.world)
    settings = {} if processes is None else {"processes": processes}
    return steps(begin(model, text_batches(*share), model.training_defaults, parts=parts, recomputes=True, **settings))


def meet(rank: int, world: int, port: int) -> None:
    """Make this process a rank."""
    alone()
    os.environ |= {"WORLD_SIZE": str(world), "RANK": str(rank), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}


def train_both(rank: int, world: int, port: int, folder: Path) -> None:
    """Steps of the game and of the text in both ways, and samples and scores; everything is compared by the test."""
    meet(rank, world, port)
    blocks.BLOCK = 0
    results = {}
    for way in WORKS:
        processes = join().sharing(way == "fsdp")
        results[way] = {"game": game_steps(processes, 4), "text": text_steps(processes, 4)}
    run = Run(linear_model(seed=0).eval())
    results["samples"] = run.sample(150, seed=3)
    results["scores"] = Run(flow()).log_prob(MOONS.test.x[:75], seed=3)
    torch.save(results, folder / f"{rank}.pt")
    leave()


def train_again(rank: int, world: int, port: int, folder: Path) -> None:
    """A run that begins again after an early stop, in both ways; in shards it stops in between and goes on."""
    meet(rank, world, port)
    HeldOut.PATIENCE, HeldOut.LEAST = 2, 20
    test_restarts.trained(folder / "ddp", parallel="ddp")
    with contextlib.suppress(Interrupted):
        test_restarts.trained(folder / "fsdp", parallel="fsdp", observe=lambda step: step.index == 80)
    test_restarts.trained(folder / "fsdp", parallel="fsdp", resume=True)
    leave()


def start_again(rank: int, world: int, port: int, late: float) -> None:
    """Join the others as ``torchrun`` lets the processes of a machine that lost none: by the store of its agent."""
    meet(rank, world, port)
    time.sleep(late * rank)
    again = int(late > 0 and rank == 0)
    os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": str(again)}
    assert restarted() == (late > 0)
    assert join().all(rank) == list(range(world))
    leave()


def fit_game(rank: int, world: int, port: int, folder: Path, steps: int, resume: bool, kill: int | None) -> None:
    """A run of the game in shards; the last rank is killed at a step. The status says how this process ended."""
    meet(rank, world, port)

    def observe(step):
        if rank == world - 1 and step.index == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = {} if resume else {"training": GAME, "parallel": "fsdp"}
    try:
        run = fit(
            game_model(),
            MOONS,
            budget=f"{steps} steps",
            out=folder,
            resume=resume,
            precision="float32",
            checkpoint_every=0.0,
            observe=observe,
            **settings,
        )
    except LostProcess as error:
        (folder / f"lost{rank}.txt").write_text(str(error))
        os._exit(1)
    assert not any(hasattr(p, "to_local") for p in run.model.parameters())
    leave()


def leave() -> None:
    with contextlib.suppress(RuntimeError):  # the other may have passed it and be gone
        torch.distributed.barrier()
    os._exit(0)
