"""One peer of ``peers.py`` in its own environment: it reads train.npy, trains, and writes made.npy and about.json.

    python image_peers.py NAME FOLDER SECONDS SAMPLES SEED

Images are uint8 ``(N, 1, 28, 28)``. Training ends with the first step after SECONDS; importing the libraries does not
count, and neither does sampling. Nothing of fourfold is imported.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Draw = Callable[[int], Tensor]
"""Maps a number of samples to images in [0, 1]."""


def processor() -> float:
    """Seconds of processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Clock:
    """Counts steps, and says when the seconds are over."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps, self.used, self.start = seconds, 0, processor(), time.perf_counter()

    def over(self) -> bool:
        """Count one step, and tell whether it was the last."""
        self.steps += 1
        return time.perf_counter() - self.start > self.seconds

    def about(self) -> dict[str, float]:
        """The cost of the training."""
        return {
            "seconds": time.perf_counter() - self.start,
            "processor": processor() - self.used,
            "steps": self.steps,
        }


def batches(x: Tensor, size: int) -> Iterator[Tensor]:
    """Batches of images in [-1, 1], in a new order each epoch."""
    while True:
        for rows in torch.randperm(len(x)).split(size):
            if len(rows) == size:
                yield x[rows].float() / 127.5 - 1


def in_parts(draw: Draw, n: int, size: int = 250) -> Tensor:
    """Samples, a few at a time."""
    return torch.cat([draw(min(size, n - done)) for done in range(0, n, size)])


# --- the peers --------------------------------------------------------------------------------------------------------


def pythae(x: Tensor, seconds: float, seed: int) -> tuple[Draw, dict[str, float], str]:
    """pythae's variational autoencoder of perceptrons, with the settings of training that its documentation shows."""
    from pythae.models import VAE, VAEConfig
    from pythae.pipelines import TrainingPipeline
    from pythae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Stop(TrainingCallback):
        def on_train_step_end(self, training_config: BaseTrainerConfig, **_: object) -> None:
            if clock.over():
                raise TimeoutError

    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=10))
    images = x.float() / 255
    with tempfile.TemporaryDirectory() as place:
        training = BaseTrainerConfig(
            output_dir=place,
            num_epochs=1_000_000,
            learning_rate=1e-3,
            per_device_train_batch_size=200,
            optimizer_cls="AdamW",
            optimizer_params={"weight_decay": 0.05, "betas": (0.91, 0.995)},
            scheduler_cls="ReduceLROnPlateau",
            scheduler_params={"patience": 5, "factor": 0.5},
            keep_best_on_train=True,
            seed=seed,
        )
        pipeline = TrainingPipeline(training_config=training, model=model)
        clock = Clock(seconds)
        with contextlib.suppress(TimeoutError):
            pipeline(train_data=images, callbacks=[Stop()])
    cost = clock.about()
    model.eval()
    sampler = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=10))
    sampler.fit(images)
    return sampler.sample, cost, "MLP, 10 codes, batches of 200"


def dcgan(x: Tensor, seconds: float, seed: int) -> tuple[Draw, dict[str, float], str]:
    """DCGAN: Radford, Metz, Chintala 2016, https://arxiv.org/abs/1511.06434, narrowed for images of 28 pixels."""
    noise, width = 100, 64
    generator = nn.Sequential(
        *(nn.ConvTranspose2d(noise, 2 * width, 7, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Tanh()),
    )
    critic = nn.Sequential(
        *(nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(2 * width, 1, 7), nn.Flatten(0)),
    )
    for module in [*generator.modules(), *critic.modules()]:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    players = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, critic)]
    loss, clock = nn.BCEWithLogitsLoss(), Clock(seconds)
    for real in batches(x, 64):
        true, false = torch.ones(len(real)), torch.zeros(len(real))
        images = generator(torch.randn(len(real), noise, 1, 1))
        _update(players[1], loss(critic(real), true) + loss(critic(images.detach()), false))
        _update(players[0], loss(critic(images), true))
        if clock.over():
            break
    cost = clock.about()
    generator.eval()
    return lambda n: generator(torch.randn(n, noise, 1, 1)) / 2 + 0.5, cost, "128 and 64 channels, batches of 64"


def diffusers(x: Tensor, seconds: float, seed: int) -> tuple[Draw, dict[str, float], str]:
    """The U-Net of diffusers trained as its tutorial does, narrowed, with a rate that suits its width."""
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel

    net = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )
    schedule, rate, clock = DDPMScheduler(1000), 1e-3, Clock(seconds)
    optimizer = torch.optim.AdamW(net.parameters(), rate)
    for clean in batches(x, 32):
        noise, times = torch.randn_like(clean), torch.randint(1000, (len(clean),))
        prediction = net(schedule.add_noise(clean, noise, times), times, return_dict=False)[0]
        _update(optimizer, (prediction - noise).square().mean(), net)
        if clock.over():
            break
    cost = clock.about()
    solver = DPMSolverMultistepScheduler(1000, algorithm_type="dpmsolver++")

    def draw(n: int) -> Tensor:
        solver.set_timesteps(20)
        x_t = torch.randn(n, 1, 28, 28)
        for t in solver.timesteps:
            x_t = solver.step(net(x_t, t, return_dict=False)[0], t, x_t, return_dict=False)[0]
        return x_t / 2 + 0.5

    net.eval()
    return draw, cost, "16, 32, 32 channels, batches of 32"


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, clipped: nn.Module | None = None) -> None:
    optimizer.zero_grad()
    loss.backward()
    if clipped is not None:
        nn.utils.clip_grad_norm_(clipped.parameters(), 1.0)
    optimizer.step()


PEERS = {"pythae": pythae, "DCGAN": dcgan, "diffusers": diffusers}


def main() -> None:
    """Train, draw and write."""
    name, folder, seconds, n, seed = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    torch.manual_seed(int(seed))
    np.random.seed(int(seed))  # the mixture of pythae draws from it
    draw, cost, note = PEERS[name](torch.from_numpy(np.load(folder / "train.npy")), seconds, int(seed))
    start = time.perf_counter()
    with torch.no_grad():
        images = in_parts(draw, n)
    drawing = time.perf_counter() - start
    values = (images.clamp(0, 1) * 255).round().to(torch.uint8).reshape(n, 1, 28, 28)
    np.save(folder / "made.npy", values.numpy())
    (folder / "about.json").write_text(json.dumps({**cost, "drawing": drawing, "note": note}), encoding="utf-8")


if __name__ == "__main__":
    main()
