"""Sequences and texts given anything: masses for each condition, and samples that the right condition explains."""

import pytest
import torch

from fourfold.core.conditions import Batch
from fourfold.paradigms import build
from fourfold.spaces import (
    Categorical,
    Categories,
    Identifier,
    Lines,
    Numeric,
    Sequences,
    Table,
    Text,
    Together,
    Vectors,
)

ROW = Table((Categorical("kind", categories=("a", "b"), missing=True), Numeric("price", low=0, high=9)))
GIVEN = Together((Vectors(1), ROW, Categories(("low", "high"))))
KEYED = Sequences(
    (Identifier("user"), Numeric("when", low=0, high=2), Categorical("kind", categories=("a", "b"))),
    "when",
    (0, 1),
    3,
    "user",
)
WINDOWS = Sequences(
    (Numeric("when", low=0, high=9), Categorical("kind", categories=("a", "b", "c"))), "when", (1, 2), 3
)
EXACT = [
    ("autoregressive", KEYED),
    ("autoregressive", WINDOWS),
    ("autoregressive", Text("abc", 4)),
    ("autoregressive/ngrams", Text("abc", 4)),
    ("autoregressive", Lines(Text("ab", 5))),
]
BOUNDS = [("diffusion/masked", KEYED), ("diffusion/masked", WINDOWS), ("diffusion/blocks", Text("abc", 4))]
CONDITIONS = [([-1.0], torch.tensor([0, 3]), "low"), ([1.0], torch.tensor([1, 7]), "high")]


def disturbed(name, space, scale=0.15):
    """An untrained model, away from its symmetric start."""
    torch.manual_seed(3)
    model = build(name, space.conditioned_on(GIVEN), "xs").eval()
    for p in model.parameters():
        p.data.add_(scale * torch.randn_like(p))
    return model


def name_of(value):
    return value if isinstance(value, str) else f"{type(value).__name__}{value.dims}"


@pytest.mark.parametrize(("name", "space"), EXACT, ids=name_of)
def test_masses_sum_to_one_for_each_condition_and_samples_follow_them(name, space):
    model = disturbed(name, space)
    every, _ = space.support(0, 0)
    masses = [model.log_prob(every, condition).nats.double().exp() for condition in [*CONDITIONS, None]]
    for p in masses:
        assert abs(float(p.sum()) - 1) < 1e-4
    assert (masses[0] - masses[1]).abs().sum() > 0.1
    for condition, p in zip([*CONDITIONS, None], masses, strict=True):
        x = model.sample(1500, condition, batch_size=1500, seed=5)
        same = (x[:, None] == every[None]).flatten(2).all(2)
        counts = same.sum(0)
        assert counts.sum() == len(x)
        often = p * len(x) > 15
        z = (counts / len(x) - p) / (p * (1 - p) / len(x)).sqrt()
        assert often.sum() >= 5
        assert z[often].abs().max() < 4.5


@pytest.mark.parametrize(("name", "space"), BOUNDS, ids=name_of)
def test_the_right_condition_explains_the_samples_of_a_bounded_model(name, space):
    model = disturbed(name, space)
    samples = [model.sample(120, condition, seed=2) for condition in CONDITIONS]
    nats = [[model.log_prob(x, condition).nats.mean() for condition in CONDITIONS] for x in samples]
    assert nats[0][0] > nats[0][1] + 0.02
    assert nats[1][1] > nats[1][0] + 0.02


def test_lengths_of_sequences_depend_on_the_condition():
    """Marks are turned towards the first condition, whose sequences are then longer."""
    model = disturbed("diffusion/masked", KEYED)
    entry = model.estimand.net.given
    with torch.no_grad():
        read = [entry.reading(model.space.encode_condition(condition, 1), 1)[0] for condition in CONDITIONS]
        entry.weight[-KEYED.length :] = 8 * (read[0] - read[1])
    rows = [KEYED.row_counts(model.sample(200, condition)).double().mean() for condition in CONDITIONS]
    assert rows[0] > rows[1] + 0.2


@pytest.mark.parametrize(("name", "space"), [*EXACT, *BOUNDS], ids=name_of)
def test_going_on_and_drawing_use_the_condition_of_their_row(name, space):
    """Each of a batch of conditions acts on its own row alone."""
    model = disturbed(name, space)
    cond = torch.cat([GIVEN.conditions(condition, 1) for condition in CONDITIONS])[torch.tensor([0, 1, 1, 0])]
    mixed = model.sample(4, cond, seed=7)
    alone = [model.sample(4, cond[i : i + 1].expand(4, -1), seed=7)[i] for i in range(4)]
    assert torch.equal(mixed, torch.stack(alone))


def test_a_text_is_learned_from_its_condition_and_ends_where_it_should():
    """The text of a number is that many letters: after a short training its mass is near one, and no other's is."""
    torch.manual_seed(0)
    space, given = Lines(Text("ab", 6)), Vectors(1)
    model = build("autoregressive", space.conditioned_on(given), "xs")
    cond = torch.randint(5, (512, 1)).float()
    x = space.parse(["ab"[int(n) % 2] * int(n) for n in cond[:, 0]])
    model.fit_statistics(x, cond)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, 100)
    term = model.terms()["likelihood"]
    for step in range(100):
        rows = torch.arange(64) + 64 * (step % 8)
        loss = term(Batch(x[rows], cond[rows])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    model.eval()
    every = space.support(0, 0)[0]
    numbers = torch.arange(5.0)[:, None]
    texts = space.parse(["ab"[n % 2] * n for n in range(5)])
    for n in range(5):
        p = model.log_prob(every, numbers[n]).nats.double().exp()
        assert abs(float(p.sum()) - 1) < 1e-4
        assert p[(every == texts[n]).all(1)] > 0.8
    drawn = model.sample(200, numbers[2])
    assert (drawn == texts[2]).all(1).float().mean() > 0.8
