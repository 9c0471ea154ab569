import math

import pytest
import torch

from fourfold.codecs import BitPlanes, Centred, Dequantised, GaussianPixels, Standardised, TextTokens, Tokens
from fourfold.core import GenerativeModel, Measure, Noise, configuration, construct
from fourfold.distributions.observations import GaussianHead
from fourfold.likelihoods import NoDensity
from fourfold.paradigms import build, recipes
from fourfold.paradigms.autoregressive import ChainRule
from fourfold.paradigms.latent import CodeDecoder, Elbo
from fourfold.spaces import Categories, Images, Text, Vectors
from fourfold.vocabulary import Kind

SMALL = Images(1, 8, 8, n_values=17)
COUNTS = [2, 3, 17, 100, 255, 256]


def every_value(n_values: int) -> tuple[Images, torch.Tensor]:
    x = torch.arange(n_values, dtype=torch.uint8).repeat(2).reshape(2, 1, 1, n_values)
    return Images(1, 1, n_values, n_values), x


@pytest.mark.parametrize("codec", [BitPlanes, Tokens, Centred, Dequantised, GaussianPixels])
@pytest.mark.parametrize("n_values", COUNTS)
def test_every_value_returns(codec, n_values):
    space, x = every_value(n_values)
    z, log_det = codec(space).encode(x)
    assert log_det.shape == (2,)
    assert torch.equal(codec(space).decode(z), x)
    assert codec(space).decode(z).dtype == torch.uint8


@pytest.mark.parametrize("n_values", COUNTS)
@pytest.mark.parametrize("u", [0.0, 1e-9, 0.5, 1 - 1e-6, 1 - 2**-24])
@pytest.mark.parametrize("kind", [Dequantised, GaussianPixels])
def test_dequantised_returns_at_the_edges_of_a_value(kind, n_values, u, monkeypatch):
    space, x = every_value(n_values)
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: torch.full(shape[0], u))
    codec = kind(space)
    codec.fit(
        x[:1].expand(20_000, -1, -1, -1)
    )  # of GaussianPixels: one value has almost all mass, the others the least
    assert torch.equal(codec.decode(codec.encode(x)[0]), x)


@pytest.mark.parametrize("codec", [Tokens, Centred, Dequantised, GaussianPixels])
def test_decoding_clips_what_a_network_may_say(codec):
    space = Images(1, 1, 3, 17)
    z = torch.tensor([[[[-50, 50, 1]]]]) if codec is Tokens else torch.tensor([[[[-50.0, 50.0, 1.0]]]])
    x = codec(space).decode(z)
    assert x.flatten()[:2].tolist() == [0, 16]
    space.check(x)


def test_bit_planes_of_neighbouring_values_differ_in_one_bit():
    space, x = every_value(17)
    z, log_det = BitPlanes(space).encode(x[:1])
    assert z.shape == (1, 5, 1, 17)
    assert bool(((z == 0) | (z == 1)).all())
    assert (z[0, :, 0, 1:] - z[0, :, 0, :-1]).abs().sum(0).tolist() == [1.0] * 16
    assert log_det.item() == 0


def test_bits_above_the_last_value_are_clamped():
    space = Images(1, 1, 1, 17)
    codes = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 5).reshape(32, 5, 1, 1)
    x = BitPlanes(space).decode(codes).flatten()
    assert torch.bincount(x, minlength=17).tolist() == [1] * 16 + [16]


def test_centred_is_symmetric_about_zero():
    space, x = every_value(17)
    z, log_det = Centred(space).encode(x)
    assert z.amin().item() == -1
    assert z.amax().item() == 1
    torch.testing.assert_close(z, -z.flip(-1))
    assert log_det.eq(0).all()


def test_measures():
    space = Images(1, 2, 2)
    assert Tokens(space).measure == Centred(space).measure == TextTokens(Text()).measure == Measure.COUNTING
    assert Dequantised(space).measure == Standardised(Vectors(2)).measure == Measure.LEBESGUE
    assert Dequantised(space).random
    assert GaussianPixels(space).random
    assert GaussianPixels(space).measure == Measure.LEBESGUE
    assert not any(c.random for c in (Tokens(space), Centred(space), Standardised(Vectors(2))))


def log_abs_det(function, x):
    return torch.linalg.slogdet(torch.autograd.functional.jacobian(function, x))[1]


def test_standardised_log_determinant_is_autograds():
    x = torch.randn(500, 4, dtype=torch.float64) * torch.tensor([1.0, 20.0, 0.03, 5.0]) + 7
    codec = Standardised(Vectors(4)).double()
    codec.fit(x)
    z, log_det = codec.encode(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(4).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(4).double())
    exact = log_abs_det(lambda row: codec.encode(row[None])[0][0], x[0])
    torch.testing.assert_close(log_det, exact.expand(500))


def test_dequantised_log_determinant_is_that_of_its_affine_map():
    # encode is z = s (x + u) - 1: its derivative in the real x + u is taken from two integers with the same noise.
    space = Images(1, 2, 3, 17)
    codec = Dequantised(space)
    x = torch.full((1, 1, 2, 3), 4, dtype=torch.uint8)
    (low, log_det), (high, _) = codec.encode(x, Noise(0, 0, 1)), codec.encode(x + 5, Noise(0, 0, 1))
    torch.testing.assert_close(log_det, ((high - low).double() / 5).log().sum()[None].float())


def test_dequantised_density_bounds_the_mass_and_is_tight_where_it_is_flat():
    # A density that is constant on each value's interval has exactly the mass of its pmf.
    n_values = 5
    pmf = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2], dtype=torch.float64)
    space = Images(1, 1, 1, n_values)
    codec = Dequantised(space)
    grid = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000 * 2 - 1
    value = ((grid + 1) * n_values / 2).long()
    flat = pmf[value] * n_values / 2
    assert flat.mean().item() * 2 == pytest.approx(1)
    x = torch.arange(n_values, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    z, log_det = codec.encode(x)
    pixel_values = ((z.flatten() + 1) * n_values / 2).long()
    torch.testing.assert_close((pmf[pixel_values] * n_values / 2).log() + log_det, pmf.log())
    # A tilted density of the same masses only bounds them from below (Jensen), on average over the noise.
    u = (grid + 1) * n_values / 2 - value
    tilted = flat * (0.5 + u)
    per_value = [(tilted[value == k].log().mean() + math.log(2 / n_values)).item() for k in range(n_values)]
    masses = [tilted[value == k].sum().item() * 2 / 100_000 for k in range(n_values)]
    assert masses == pytest.approx(pmf.tolist(), rel=1e-4)
    assert all(bound < math.log(mass) for bound, mass in zip(per_value, masses, strict=True))


def test_gaussian_pixels_are_normal_and_a_normal_density_of_them_is_that_of_independent_pixels():
    space, random = Images(1, 2, 3, 5), torch.Generator().manual_seed(0)
    pmf = torch.rand(6, 5, generator=random) + 0.2
    x = torch.multinomial(pmf, 20_000, True, generator=random).T.reshape(-1, 1, 2, 3).to(torch.uint8)
    codec = GaussianPixels(space)
    codec.fit(x)
    z, log_det = codec.encode(x, Noise(0, 0, len(x)))
    moments = [z.flatten(1).pow(k).mean(0) for k in (1, 2, 3, 4)]
    for moment, normal, variance in zip(moments, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        error = math.sqrt(variance / len(x))
        torch.testing.assert_close(moment, torch.full((6,), float(normal)), atol=4 * error, rtol=0)
    shares = torch.stack([torch.bincount(column.long(), minlength=5) for column in x.flatten(1).T]) / len(x)
    independent = sum(shares[i].log()[x.flatten(1)[:, i].long()] for i in range(6))
    log_density = -(z.square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2 + log_det
    torch.testing.assert_close(log_density, independent, atol=0.05, rtol=0)  # but for the few pixels of the prior
    assert torch.equal(codec.decode(z), x)


def test_the_masses_of_gaussian_pixels_sum_to_one():
    space = Images(1, 1, 1, 17)
    codec = GaussianPixels(space)
    codec.fit(torch.tensor([0, 0, 0, 5, 16], dtype=torch.uint8).reshape(-1, 1, 1, 1))
    z, log_det = codec.encode(torch.arange(17, dtype=torch.uint8).reshape(-1, 1, 1, 1))
    masses = (log_det - (z.flatten().square() + math.log(2 * math.pi)) / 2).exp()
    assert masses.sum().item() == pytest.approx(1, abs=1e-5)
    assert masses.argsort(descending=True)[0].item() == 0
    assert masses.min().item() > 1e-3  # no value is impossible after five pixels


def test_large_images_share_the_values_of_a_cell():
    space = Images(3, 64, 48)
    codec = GaussianPixels(space)
    assert codec.below.shape == (3 * 32 * 32, 257)
    assert codec.cell[0, 0, 0] == codec.cell[0, 1, 1] == 0
    assert codec.cell[2, 63, 47] == 3 * 32 * 32 - 1
    x = torch.randint(256, (4, *space.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    codec.fit(x)
    assert torch.equal(codec.decode(codec.encode(x)[0]), x)


def test_dequantisation_is_uniform_and_repeats_with_its_noise():
    space = Images(1, 8, 8, 17)
    codec = Dequantised(space)
    x = torch.randint(17, (200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    z = codec.encode(x, Noise(3, 0, 200))[0]
    u = (z + 1) * 17 / 2 - x
    counts = torch.histc(u, 10, 0, 1)
    assert (counts / u.numel() - 0.1).abs().max() < 0.01
    assert torch.equal(codec.encode(x[50:70], Noise(3, 50, 70))[0], z[50:70])


def test_text_tokens_are_the_ids():
    x = torch.randint(3, (2, 5))
    z, log_det = TextTokens(Text("abc", 5)).encode(x)
    assert torch.equal(z, x)
    assert torch.equal(TextTokens(Text("abc", 5)).decode(z), x)
    assert log_det.eq(0).all()


def test_standardised_returns():
    x = torch.randn(50, 3) * 4 + 100
    codec = Standardised(Vectors(3))
    codec.fit(x)
    torch.testing.assert_close(codec.decode(codec.encode(x)[0]), x)


def test_a_constant_column_is_named():
    x = torch.randn(50, 2)
    x[:, 1] = 3
    with pytest.raises(ValueError, match="column height must vary"):
        Standardised(Vectors(2, ("age", "height"))).fit(x)


@pytest.mark.parametrize(
    "codec",
    [
        Tokens(Images(1, 2, 2)),
        Centred(Images(1, 2, 2)),
        Dequantised(Images(1, 2, 2, 17)),
        GaussianPixels(Images(1, 2, 2, 17)),
        Standardised(Vectors(2)),
        TextTokens(Text("ab", 3)),
    ],
    ids=lambda c: type(c).__name__,
)
def test_configuration_round_trips(codec):
    copy = construct(configuration(codec))
    assert type(copy) is type(codec)
    assert copy.space == codec.space
    assert set(copy.state_dict()) == set(codec.state_dict())


@pytest.mark.parametrize(
    ("codec", "likelihood", "given", "taken"),
    [
        (Centred(SMALL), Elbo(), "Centred must have codes with densities", "got masses"),
        (
            Dequantised(SMALL),
            ChainRule(),
            "Dequantised must have codes with masses",
            "got densities",
        ),
    ],
)
def test_a_density_of_what_is_counted_is_refused_and_the_reverse(codec, likelihood, given, taken):
    recipe = "latent-variable" if isinstance(likelihood, Elbo) else "autoregressive"
    model = build(recipe, SMALL, "xs")
    parts = {**model.arguments(), "codec": codec}
    if isinstance(likelihood, Elbo):
        old = model.estimand
        parts["estimand"] = CodeDecoder(old.net, GaussianHead(), old.event, old.codes, old.prior)
    with pytest.raises(TypeError, match=f"{given}.*{taken}"):
        GenerativeModel(**parts)
    # without a likelihood nothing false is said
    samples = GenerativeModel(**parts | {"likelihood": NoDensity()})
    assert samples.likelihood.kind is Kind.NONE


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_says_which_measure_its_estimand_has(name):
    """So that parts cannot be put together wrongly; a generator without a density has none."""
    for space in (SMALL, Images(1, 8, 8, n_values=4, given=Categories.numbered(2)), Vectors(2), Text("ab", 8)):
        try:
            model = build(name, space, "xs")
        except TypeError:
            continue
        assert model.estimand.measure is model.codec.measure or model.likelihood.kind is Kind.NONE
