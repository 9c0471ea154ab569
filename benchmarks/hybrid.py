"""Latent diffusion against pixel diffusion on the same data in the same time: Frechet distances, floors,
reconstructions.

    python benchmarks/hybrid.py --data emoji --budget 600s
    python benchmarks/hybrid.py --data emoji --budget 600s --given captions --recipes latent-diffusion
    --grid /tmp/latent --out runs

Each recipe is trained for the budget, all its stages included; then as many samples as there are test images (at most
2,000) are drawn and held against the test images. The floor is what training images reach at the same number. For a
model behind a learned codec the test images are also encoded and decoded: their distance is the ceiling of whatever
models the codes. With ``--given captions`` a recipe is trained with the labels or captions, and samples are drawn for
those of the test images.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Staged
from fourfold.data import Dataset, load
from fourfold.data.writers import write_examples
from fourfold.engine import Run, fit, inference
from fourfold.metrics import draw, examples, headline, likelihood

sys.path.append(str(Path(__file__).parent.parent / "examples"))
from emoji import load_emoji


@torch.no_grad()
def reconstructed(model: GenerativeModel, x: Tensor) -> Tensor:
    """Images after the codec, there and back."""
    model.eval()
    return torch.cat([model.codec.decode(model.codec.encode(part)[0]) for part in torch.split(x, 128)])


def trained(recipe: str, data: Dataset, arguments: argparse.Namespace) -> Run:
    """A run of the recipe: that of the folder, if it is finished, or a new one."""
    folder = Path(arguments.out) / recipe.replace("/", "-") if arguments.out else None
    if folder is not None and (folder / "card.json").exists():
        return Run.load(folder)
    return fit(
        recipe,
        data,
        budget=arguments.budget,
        size=arguments.size,
        seed=arguments.seed,
        precision=arguments.precision,
        out=folder,
        data_options={"given": arguments.given} if arguments.given else {},
    )


def measure(recipe: str, data: Dataset, arguments: argparse.Namespace) -> None:
    """Train, draw, score, and print one line for each figure."""
    start = time.monotonic()
    run = trained(recipe, data, arguments)
    card, references = run.card, examples(data, arguments.n)
    stages = ", ".join(f"{s['name']} {s['steps']} steps in {s['seconds']:.0f} s" for s in card.get("stages", []))
    print(f"{recipe}: {card['steps']} steps in {card['seconds']:.0f} s, {card['parameters']:,} parameters")
    print(f"  stages: {stages or 'one'}; {time.monotonic() - start:.0f} s with measuring precision", flush=True)
    if arguments.train:
        return
    run.model.eval()
    with inference(run.model, arguments.inference):
        drawn = draw(run.model, len(references.test), arguments.seed, references.cond)
    print(f"  {headline(drawn.x, data, references, None)}", flush=True)
    for score in drawn.scores():
        print(f"  {score}")
    if isinstance(run.model.codec, Staged):
        back = reconstructed(run.model, references.test)
        error = (back.float() - references.test.float()).square().mean().sqrt()
        print(f"  reconstructions of test images: {headline(back, data, references, None)}; RMSE {error:.1f} levels")
    if arguments.score:
        print(f"  {likelihood(run.model, data, arguments.score, arguments.seed, 120.0)}")
    if arguments.grid:
        name = recipe.replace("/", "-")
        write_examples(Path(arguments.grid) / f"{name}.png", drawn.x[:100], data.space)
        if isinstance(run.model.codec, Staged):
            both = torch.stack([references.test[:50], back[:50]], 1).flatten(0, 1)
            write_examples(Path(arguments.grid) / f"{name}-reconstructions.png", both, data.space)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="emoji")
    parser.add_argument("--data-dir")
    parser.add_argument("--given", help="labels or captions")
    parser.add_argument("--budget", default="600s")
    parser.add_argument("--size", default="s")
    parser.add_argument("--recipes", default="latent-diffusion,diffusion")
    parser.add_argument("--precision")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=2000, help="samples and references, at most")
    parser.add_argument("--score", type=int, default=0, help="test images whose likelihood is measured")
    parser.add_argument("--grid", help="a folder for pictures")
    parser.add_argument("--out", help="a folder for run folders; finished ones are measured")
    parser.add_argument("--train", action="store_true", help="train only: measure later, with the same --out")
    parser.add_argument("--inference", default="bf16", help="precision of the networks while drawing")
    arguments = parser.parse_args()
    if arguments.data == "emoji":
        data = load_emoji(arguments.data_dir, arguments.given)
    else:
        data = load(arguments.data, given=arguments.given, data_dir=arguments.data_dir)
    print(f"{data.name}: {len(data.train)} training, {len(data.test)} test images, {torch.get_num_threads()} threads")
    for recipe in arguments.recipes.split(","):
        measure(recipe, data, arguments)


if __name__ == "__main__":
    main()
