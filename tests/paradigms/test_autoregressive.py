"""The autoregressive paradigm against brute force, autograd and frequencies."""

import itertools
import math

import pytest
import torch

from fourfold.core import GenerativeModel, Noise, count_evaluations
from fourfold.nn.transformer import TokenTransformer
from fourfold.paradigms import build, recipes
from fourfold.paradigms.autoregressive import Ancestral, TokenConditionals
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.tasks.language import score_text, stream

SPACES = [
    Text("abcd", length=6),
    Images(1, 4, 5, n_values=6),
    Images(3, 3, 4, n_values=256, given=Categories.numbered(3)),
    Vectors(4),
    Vectors(3, observed=100),
    Vectors(3, given=Categories.numbered(2)),
]


def perturbed(space, size: str = "xs", scale: float = 0.15, seed: int = 0) -> GenerativeModel:
    """An untrained preset away from its zero-initialised layers."""
    torch.manual_seed(seed)
    model = build("autoregressive", space, size)
    for p in model.parameters():
        p.data.add_(scale * torch.randn_like(p))
    return model.eval()


def labels(space, n: int) -> torch.Tensor | None:
    return None if space.given is None else torch.arange(n) % space.given.count


def all_sequences(levels: int, length: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product(range(levels), repeat=length)))


def test_text_mass_sums_to_one() -> None:
    model = perturbed(Text("abc", length=6))
    assert model.log_prob(all_sequences(3, 6)).nats.exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_text_mass_sums_to_one_beyond_the_context() -> None:
    torch.manual_seed(0)
    estimand = TokenConditionals(TokenTransformer(3, 4, 16, 2, 2), 7)
    for p in estimand.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    assert estimand(all_sequences(3, 7)).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 2, 2)])
def test_image_mass_sums_to_one(shape: tuple[int, int, int]) -> None:
    space = Images(*shape, n_values=3, given=Categories.numbered(2))
    model = perturbed(space)
    images = all_sequences(3, space.dims).view(-1, *shape).to(torch.uint8)
    for label in (None, 1):
        assert model.log_prob(images, label).nats.exp().sum().item() == pytest.approx(1, abs=1e-3)


def test_vector_density_integrates_to_one() -> None:
    model = perturbed(Vectors(2))
    axis = torch.linspace(-30, 30, 601)
    grid = torch.cartesian_prod(axis, axis)
    assert model.log_prob(grid, batch_size=65536).nats.double().exp().sum().item() * 0.01 == pytest.approx(1, abs=5e-3)


def influence(model: GenerativeModel, x: torch.Tensor, tokens: int) -> torch.Tensor:
    """Entry (i, j): whether changing token j moves the log-probability of token i."""
    moved = torch.zeros(tokens, tokens, dtype=torch.bool)
    with torch.no_grad():
        base = model.estimand(x)
        for j in range(tokens):
            y = x.clone().flatten(1)
            y[:, j] = (y[:, j] + 1) if x.is_floating_point() else (y[:, j] + 1) % 3
            moved[:, j] = (model.estimand(y.view(x.shape)) != base).any(0)
    return moved


@pytest.mark.parametrize(
    "space", [Text("abc", length=8), Images(1, 5, 6, n_values=3), Images(2, 3, 4, n_values=3), Vectors(5)]
)
def test_a_token_depends_on_all_earlier_ones_and_on_no_later_one(space) -> None:
    model = perturbed(space)
    n = space.dims
    x = torch.randn(16, n) if isinstance(space, Vectors) else torch.randint(0, 3, (16, *space.shape))
    moved = influence(model, x, n)
    assert not moved.triu(1).any()
    if space.shape[0] != 2:  # of an earlier plane only a neighbourhood is seen
        assert moved.tril(-1).sum() == n * (n - 1) / 2  # no blind spot


@pytest.mark.parametrize("space", [Vectors(4), Vectors(3, given=Categories.numbered(2))])
def test_gradients_are_causal(space) -> None:
    model = perturbed(space)
    x = torch.randn(1, space.dim)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.estimand(v)[0], x)[:, 0]
    assert jacobian.triu(1).abs().max() == 0
    assert jacobian.tril(-1).abs().sum() > 0


def recorded(model: GenerativeModel, n: int, cond: torch.Tensor | None, length: int):
    """Draw, keeping what the network said at each step."""
    said = []
    handle = model.estimand.net.register_forward_hook(lambda module, args, out: said.append(out))
    try:
        state, tokens, noise = model.estimand.begin(n, cond), [], Noise(0, 0, n)
        for _ in range(length):
            token, state = model.estimand.draw(state, noise)
            tokens.append(token)
    finally:
        handle.remove()
    return torch.stack(tokens, 1), said


@pytest.mark.parametrize("space", SPACES)
def test_cached_drawing_equals_parallel_scoring(space) -> None:
    model = perturbed(space)
    with torch.no_grad():
        drawn, said = recorded(model, 3, labels(space, 3), space.dims)
        forward = model.estimand(drawn.view(3, *space.shape), labels(space, 3))
        if isinstance(space, Vectors):
            logits, means, scales = model.estimand._mixture(torch.stack([s[:, 0] for s in said], 1), drawn)
            x, s = drawn.unsqueeze(-1), scales.exp() * math.sqrt(3) / math.pi  # of logistics of that deviation
            z = (x - means) / s
            parts = -z - s.log() - 2 * torch.nn.functional.softplus(-z)
            normal = [k % 2 == 0 or k >= model.estimand.components for k in range(parts.shape[-1])]
            parts[..., normal] = torch.distributions.Normal(means, scales.exp()).log_prob(x)[..., normal]
            step = (logits.log_softmax(-1) + parts).logsumexp(-1)
        else:
            logits = torch.stack([s.reshape(3, -1) for s in said], 1)
            step = logits.log_softmax(-1).gather(2, drawn.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(step, forward, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("context", [1, 2, 5, 8])
@pytest.mark.parametrize("given", [0, 3, 8, 13])
def test_text_beyond_the_context_is_drawn_as_it_is_scored(context: int, given: int) -> None:
    space = Text("abcd", length=context)
    model = perturbed(space)
    with torch.no_grad():
        said = []
        prompt = torch.randint(0, 4, (given,))
        handle = model.estimand.net.register_forward_hook(lambda module, args, out: said.append(out[:, -1]))
        tokens = torch.stack(list(itertools.islice(stream(model, prompt.tolist(), n=2), 20)), 1)
        handle.remove()
        text = torch.cat([prompt.expand(2, -1), tokens], 1)
        forward = model.estimand(text)[:, given:]
        logs = torch.stack(said, 1).log_softmax(-1)
    picked = [(logs.gather(2, tokens[:, i].view(2, 1, 1).expand(2, logs.shape[1], 1)).squeeze(2)) for i in range(20)]
    for i in range(20):  # some network call said just this about the token (refills say other things in between)
        assert (picked[i] - forward[:, i : i + 1]).abs().amax(0).min() < 1e-4


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_scoring_a_long_text_counts_every_token_once(stride: int) -> None:
    model = perturbed(Text("abcd", length=8))
    ids = torch.randint(0, 4, (45,))
    nats = score_text(model, ids, stride)
    assert nats.shape == (45,)
    with torch.no_grad():
        torch.testing.assert_close(nats[:8], -model.estimand(ids[None, :8])[0])
        window = ids[8 + stride - 8 : 8 + stride]
        torch.testing.assert_close(nats[8 : 8 + stride], -model.estimand(window[None])[0, 8 - stride :])
    assert score_text(model, ids[:5], stride).shape == (5,)


def test_scoring_refuses_what_it_cannot_score() -> None:
    model = perturbed(Text("abcd", length=8))
    with pytest.raises(ValueError, match="stride"):
        score_text(model, torch.zeros(20, dtype=torch.long), 9)
    with pytest.raises(ValueError, match="at least one token"):
        score_text(model, torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="vocabulary"):
        score_text(model, torch.full((20,), 4))
    with pytest.raises(TypeError, match="real vectors of 2 columns"):
        score_text(perturbed(Vectors(2)), torch.zeros(3, dtype=torch.long))


def test_sampling_frequencies_match_the_table() -> None:
    space = Text("abc", length=3)
    model = perturbed(space, scale=0.5)
    table = model.log_prob(all_sequences(3, 3)).nats.exp()
    n = 20000
    drawn = model.sample(n, batch_size=8192)
    counts = torch.bincount(drawn @ torch.tensor([9, 3, 1]), minlength=27)
    chi2 = ((counts - n * table) ** 2 / (n * table)).sum().item()
    assert chi2 < 54  # 26 degrees of freedom: p = 0.001
    assert table.max() > 2 * table.min()


def test_vector_samples_follow_the_density() -> None:
    model = perturbed(Vectors(2))
    drawn = model.sample(4000, batch_size=4096)
    axis = torch.linspace(-30, 30, 601)
    grid = torch.cartesian_prod(axis, axis)
    density = model.log_prob(grid, batch_size=65536).nats.exp() * 0.01
    first = density.view(601, 601).sum(1).cumsum(0)
    cdf = torch.searchsorted(drawn[:, 0].sort().values, axis + 0.05).float() / 4000
    assert (cdf - first).abs().max() < 2.0 / math.sqrt(4000)
    second = density.view(601, 601).sum(0).cumsum(0)
    cdf = torch.searchsorted(drawn[:, 1].sort().values, axis + 0.05).float() / 4000
    assert (cdf - second).abs().max() < 2.0 / math.sqrt(4000)


@pytest.mark.parametrize("space", SPACES)
def test_samples_do_not_depend_on_the_batch_split(space) -> None:
    model = perturbed(space)
    whole = model.sample(130, labels(space, 130), seed=3, batch_size=256)
    two = model.sample(130, labels(space, 130), seed=3, batch_size=64)
    tail = model.sample(7, None if space.given is None else labels(space, 130)[100:107], seed=3, start=100)
    if isinstance(space, Vectors):
        torch.testing.assert_close(whole, two, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(whole[100:107], tail, atol=1e-3, rtol=1e-3)
    else:
        assert (whole != two).float().mean() < 0.01
        assert (whole[100:107] != tail).float().mean() < 0.01


@pytest.mark.parametrize(
    "space", [Images(1, 4, 5, n_values=6, given=Categories.numbered(2)), Vectors(3, given=Categories.numbered(2))]
)
def test_labels_condition(space) -> None:
    model = perturbed(space)
    x = model.sample(64, 0)
    values = [model.log_prob(x, c).nats for c in (None, 0, 1)]
    assert all((a - b).abs().max() > 1e-3 for a, b in itertools.combinations(values, 2))
    torch.testing.assert_close(values[0], model.log_prob(x, -1).nats)


@pytest.mark.parametrize("space", SPACES)
def test_one_evaluation_per_token(space) -> None:
    model = perturbed(space)
    with count_evaluations(model.estimand) as count:
        model.sample(5, labels(space, 5))
    assert count.rows == 5 * space.dims


def test_a_low_temperature_takes_the_mode() -> None:
    model = perturbed(Text("abcd", length=6), scale=0.5)
    cold = model.with_parts(sampler=Ancestral(1e-3))
    drawn = cold.sample(20)
    assert (drawn == drawn[0]).all()
    with pytest.raises(ValueError, match="temperature"):
        Ancestral(0.0)


@pytest.mark.parametrize(("size", "length", "batch"), [("s", 128, 32), ("s/2", 256, 16), ("m", 2048, 8), ("xs", 8, 32)])
def test_batches_of_long_windows_are_small(size: str, length: int, batch: int) -> None:
    assert build("autoregressive", Text("ab", length), size=size).training_defaults.batch_size == batch


def test_what_is_not_a_space_is_refused() -> None:
    for name in recipes():
        with pytest.raises(TypeError, match=f"must be a space for {name}.*got object"):
            build(name, object(), "xs")  # type: ignore[arg-type]


@pytest.mark.agreement
def test_training_reaches_the_entropy_of_a_known_source() -> None:
    torch.manual_seed(0)
    model = build("autoregressive", Text("ab", length=8), "xs")
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    term = model.terms()["likelihood"]
    for _ in range(150):  # first token fair, then each repeats its predecessor with probability 0.9
        flips = torch.rand(128, 8) < torch.tensor([0.5] + [0.1] * 7)
        x = flips.long().cumsum(1) % 2
        loss = term(model.encode(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = (math.log(2) - 7 * (0.9 * math.log(0.9) + 0.1 * math.log(0.1))) / 8
    flips = torch.rand(2000, 8) < torch.tensor([0.5] + [0.1] * 7)
    cross_entropy = -model.log_prob(flips.long().cumsum(1) % 2).nats.mean().item() / 8
    assert cross_entropy == pytest.approx(entropy, abs=0.03)
