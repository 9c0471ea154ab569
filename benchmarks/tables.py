"""Tables as densities: nats per test row of plotnine's diamonds after a fixed time of training.

    python benchmarks/tables.py [--seconds 60] [--recipe flow] [--size s] [--seed 0] [--zuko]

Protocol: the seven numeric columns; to each is added uniform noise within its resolution (carat, x, y, z 0.01; depth
0.1; table, price 1), drawn once; 80/10/10 split by the seed; columns standardised by the training rows. The figure is
the mean log-density of the standardised test rows in nats (higher is better; its negative is the usual negative
log-likelihood), which is the log-density of the raw row plus the sum of the logarithms of the columns' standard
deviations.

With ``--zuko`` the script also trains zuko's neural spline flow by a plain loop under the same protocol. Needs plotnine
for its data, and zuko where asked for. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

import fourfold
from fourfold.data.dataset import Dataset, digest
from fourfold.data.splits import Split
from fourfold.spaces import Vectors

RESOLUTION = {"carat": 0.01, "depth": 0.1, "table": 1.0, "price": 1.0, "x": 0.01, "y": 0.01, "z": 0.01}


def diamonds(seed: int) -> Dataset:
    """Dequantised, split and standardised."""
    from plotnine.data import diamonds as table

    x = torch.tensor(table[list(RESOLUTION)].to_numpy(float))
    generator = torch.Generator().manual_seed(seed)
    x = x + torch.tensor(list(RESOLUTION.values())) * torch.rand(x.shape, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(x), generator=generator)
    parts = torch.tensor_split(x[order], [int(0.8 * len(x)), int(0.9 * len(x))])
    mean, std = parts[0].mean(0), parts[0].std(0)
    train, validation, test = (Split(((part - mean) / std).float()) for part in parts)
    space = Vectors(len(RESOLUTION), tuple(RESOLUTION))
    return Dataset("diamonds", space, train, validation, test, digest(train.x), "plotnine", seed=seed)


def report(name: str, nats: Tensor, steps: int, seconds: float) -> None:
    error = nats.std().item() / len(nats) ** 0.5
    mean = nats.mean().item()
    print(f"{name}: {mean:.3f} ± {error:.3f} nats/row of {len(nats)} test rows, {steps} steps in {seconds:.0f} s")


def zuko_flow(data: Dataset, seconds: float, seed: int) -> None:
    """zuko's NSF, three transforms of two hidden layers of 128, Adam at 1e-3, batches of 512."""
    import zuko

    torch.manual_seed(seed)
    flow = zuko.flows.NSF(7, transforms=3, hidden_features=(128, 128))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-3)
    start, steps, x = time.perf_counter(), 0, data.train.x
    while time.perf_counter() - start < seconds:
        loss = -flow().log_prob(x[torch.randint(len(x), (512,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    with torch.no_grad():
        nats = torch.cat([flow().log_prob(part) for part in torch.split(data.test.x, 1024)])
    report("zuko NSF", nats, steps, time.perf_counter() - start)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--recipe", default="flow")
    parser.add_argument("--size", default="s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default=None)
    parser.add_argument("--zuko", action="store_true")
    options = parser.parse_args()
    data = diamonds(options.seed)
    if options.zuko:
        zuko_flow(data, options.seconds, options.seed)
    run = fourfold.fit(
        options.recipe,
        data,
        budget=f"{options.seconds}s",
        size=options.size,
        seed=options.seed,
        precision=options.precision,
    )
    scale = run.model.codec.scale.log().sum().item()
    for name, split in (("training", data.train.x[:5000]), ("test", data.test.x)):
        nats = run.model.log_prob(split, batch_size=1024).nats
        label = f"{options.recipe} {options.size} {run.card['precision']['name']} {name}"
        report(label, nats, run.card["steps"], run.card["seconds"])
    print(f"standardised again by the codec: {scale:+.4f} nats already counted; {run.card['parameters']} parameters")
    drawn = run.sample(1000)
    print(f"round trip: {(run.model.sample(4) - run.model.sample(4)).abs().max():.0g}; sample means {drawn.mean(0)}")


if __name__ == "__main__":
    main()
