"""Train a diffusion model of digits with a loop of one's own, guided by a class label.

Run it: ``python examples/own_loop.py`` (about half a minute on two cores); writes ``sevens.png``.
"""

import torch
from PIL import Image

import fourfold
from fourfold.core import view
from fourfold.estimands import Denoiser
from fourfold.estimands.guidance import Guided
from fourfold.samplers.ode import DPMSolver


def main() -> None:
    """Train for 20 s, then draw sevens with classifier-free guidance."""
    data = fourfold.load("digits", given="labels")
    model = fourfold.build("diffusion", data.space, size="xs")
    for step in fourfold.train(model, data, budget="20s"):
        if step.index % 50 == 0:
            print(
                f"step {step.index:4d}  {step.used:4.0%}  " + "  ".join(f"{k} {v:.3f}" for k, v in step.losses.items())
            )
    guided = Guided(view(model.estimand, Denoiser), scale=1.5)  # guidance is an estimand that wraps one
    noise, sevens = fourfold.Noise(seed=0, start=0, stop=32), torch.full((32,), 7)
    with torch.no_grad():
        x = model.codec.decode(DPMSolver(steps=20)(guided, noise, sevens))
    grid = x.reshape(4, 8, 8, 8).permute(0, 2, 1, 3).reshape(32, 64) * (255 // 16)
    Image.fromarray(grid.numpy()).resize((512, 256), Image.Resampling.NEAREST).save("sevens.png")


if __name__ == "__main__":
    main()
