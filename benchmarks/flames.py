"""A flame graph of one training step: which module, and which operation in it, takes how much of the time.

    python benchmarks/flames.py FOLDER [--recipes diffusion,flow,...] [--sizes s/2,s,m] [--threads 1] [--steps 3]

Each picture stands on its base: the whole step. Above it lie its parts, each as wide as its share of the time: the
modules of the networks on the way forward, the nodes of the graph on the way back, and the operations of torch in them.
The three parts with the longest time of their own are printed for each picture. ``profile_steps.py`` holds the products
of a step against the rate that they reach alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from markupsafe import Markup
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from fourfold import build
from fourfold.core import GenerativeModel
from fourfold.data import Dataset, load
from fourfold.engine.training import begin
from fourfold.pictures.markup import element, svg

RECIPES = "autoregressive,latent-variable,adversarial,diffusion,flow,energy,few-step,latent-diffusion"
WIDTH, ROW, LEAST = 1200, 18, 0.004
"""Pixels of a picture and of a level, and the smallest share that is drawn."""
BACKWARD = "autograd::engine::evaluate_function: "


@final
@dataclass
class Box:
    """A part of a step.

    Attributes:
        seconds: the time of it and of all above it.
        parts: the boxes above it by name.
    """

    seconds: float = 0.0
    parts: dict[str, Box] = field(default_factory=dict)

    @property
    def own(self) -> float:
        """The time that no part of it takes."""
        return max(self.seconds - sum(part.seconds for part in self.parts.values()), 0.0)

    def owns(self) -> Iterator[tuple[str, float]]:
        """Every name above this box with its own time there."""
        for name, part in self.parts.items():
            yield name, part.own
            yield from part.owns()

    @property
    def depth(self) -> int:
        """Levels above this one."""
        return max((1 + part.depth for part in self.parts.values()), default=0)


@contextmanager
def named_modules(model: GenerativeModel) -> Iterator[None]:
    """Inside, the profiler sees modules by the names of their classes."""
    handles, running = [], list[Any]()

    def enter(module: nn.Module, args: Any) -> None:
        running.append(record_function(type(module).__name__))
        running[-1].__enter__()

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        running.pop().__exit__(None, None, None)

    for module in model.modules():
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def measured(recipe: str, size: str, data: Dataset, steps: int) -> Box:
    """The mean of some steps of a recipe, after a first one."""
    torch.manual_seed(0)
    model = build(recipe, data.space, size)
    loop = begin(model, data, model.training_defaults, seed=0)
    loop.step(0.01)
    with named_modules(model), profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            with record_function("step"):
                loop.step(0.01)
    whole = Box()
    for event in profiler.events():
        if event.cpu_parent is None and event.name == "step":
            _add(whole, event, 1e-6 / steps)
    return whole.parts["step"]


def _add(box: Box, event: Any, scale: float) -> None:
    """Add an event of the profiler and those within it."""
    part = box.parts.setdefault(event.name.removeprefix(BACKWARD).removeprefix("aten::"), Box())
    part.seconds += event.cpu_time_total * scale
    for child in event.cpu_children:
        _add(part, child, scale)


def drawn(whole: Box, title: str) -> Markup:
    """The picture."""
    height = (whole.depth + 3) * ROW
    boxes = list(_boxes("step", whole, whole.seconds, 0.0, height - ROW))
    words = element("text", title, x=4, y=14, font_size=14)
    return svg(WIDTH, height, words, *boxes, font_family="system-ui,sans-serif", font_size=11, xmlns=XMLNS)


XMLNS = "http://www.w3.org/2000/svg"


def _boxes(name: str, box: Box, total: float, x: float, y: float) -> Iterator[Markup]:
    width = WIDTH * box.seconds / total
    if box.seconds < LEAST * total:
        return
    hue = 20 + sum(map(ord, name)) % 40
    shape = element("rect", x=x, y=y, width=max(width - 0.5, 0.5), height=ROW - 1, fill=f"hsl({hue} 85% 65%)")
    hint = element("title", f"{name}: {1e3 * box.seconds:.3g} ms, {box.seconds / total:.1%}")
    letters = int(width / 7)
    word = element("text", name[:letters], x=x + 3, y=y + 13) if letters > 2 else ""
    yield element("g", hint, shape, word)
    for part_name, part in sorted(box.parts.items(), key=lambda pair: -pair[1].seconds):
        yield from _boxes(part_name, part, total, x, y - ROW)
        x += WIDTH * part.seconds / total


def losses(whole: Box, most: int = 3) -> str:
    """The parts with the longest time of their own, as shares of the step."""
    own: dict[str, float] = {}
    for name, seconds in whole.owns():
        own[name] = own.get(name, 0.0) + seconds
    longest = sorted(own.items(), key=lambda pair: -pair[1])[:most]
    return ", ".join(f"{name} {seconds / whole.seconds:.2f}" for name, seconds in longest)


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipes", default=RECIPES)
    parser.add_argument("--sizes", default="s/2,s,m")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    data = load(options.data)
    for recipe in options.recipes.split(","):
        for size in options.sizes.split(","):
            whole = measured(recipe, size, data, options.steps)
            title = f"{recipe}, {size}, {options.data}, {options.threads} threads: {1e3 * whole.seconds:.0f} ms a step"
            name = f"{recipe}-{size}-{options.threads}".replace("/", "_")
            (options.folder / f"{name}.svg").write_text(drawn(whole, title), encoding="utf-8")
            print(f"{title}; longest: {losses(whole)}", flush=True)


if __name__ == "__main__":
    main()
