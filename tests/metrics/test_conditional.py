"""Measures of several draws for each condition, against closed forms, a library's figures and exact samplers."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data import Dataset, Split
from fourfold.metrics import Measurement, References, choose_draws
from fourfold.metrics.calibration import interval_coverage, rank_deviation, ranks
from fourfold.metrics.conditional import crps, energy, energy_score
from fourfold.metrics.similarity import diversity, psnr, ssim
from fourfold.spaces import Categories, Images, Lines, Vectors
from fourfold.tasks.conditional_quality import DRAWS, DrawsGiven, measure_draws, measure_pairs


def test_crps_is_that_of_a_gaussian_in_closed_form() -> None:
    """Gneiting, Raftery 2007, equation 21: σ (z (2Φ(z) - 1) + 2φ(z) - 1/√π)."""
    mean, deviation = 0.3, 1.7
    draws = mean + deviation * torch.randn(4000, 5, 1, dtype=torch.float64)
    for truth in (-2.0, 0.3, 4.0):
        z = torch.tensor((truth - mean) / deviation, dtype=torch.float64)
        phi, density = torch.special.ndtr(z), (-z * z / 2).exp() / math.sqrt(2 * math.pi)
        expected = deviation * (z * (2 * phi - 1) + 2 * density - 1 / math.sqrt(math.pi)).item()
        scores = crps(draws, torch.full((4000, 1), truth))
        error = scores.std().item() / math.sqrt(4000)
        assert abs(scores.mean().item() - expected) < 4 * error, truth


@pytest.mark.parametrize("k", [2, 9])
def test_the_energy_score_of_the_true_law_is_its_closed_form_at_any_number_of_draws(k: int) -> None:
    """E |X - X'| / 2 = σ Γ((D + 1) / 2) / Γ(D / 2) for a Gaussian in D dimensions."""
    m, deviation, dim = 6000, 0.8, 5
    draws, truth = deviation * torch.randn(m, k, dim), deviation * torch.randn(m, dim)
    expected = deviation * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    scores = energy(draws, truth)
    assert abs(scores.mean().item() - expected) < 4 * scores.std().item() / math.sqrt(m)


def test_in_one_dimension_the_energy_score_is_crps() -> None:
    draws, truth = torch.randn(50, 7, 1), torch.randn(50, 1)
    torch.testing.assert_close(energy(draws, truth), crps(draws, truth)[:, 0], atol=1e-6, rtol=1e-6)


def test_the_interval_of_the_energy_score_holds_the_truth() -> None:
    hits, expected = 0, 1 / math.sqrt(math.pi)
    for _ in range(100):
        score = energy_score(torch.randn(80, 9, 1), torch.randn(80, 1), features="itself")
        hits += score.low <= expected <= score.high
    assert 0.89 * 100 <= hits <= 0.99 * 100


def test_two_draws_are_needed() -> None:
    with pytest.raises(ValueError, match=r"at least 2 .* got 1"):
        energy(torch.zeros(3, 1, 2), torch.zeros(3, 2))


def posterior(m: int, k: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draws of ``p(θ | y)`` for ``θ ~ N(0, I)``, ``y = θ + noise``, whose spread is multiplied by ``scale``."""
    theta = torch.randn(m, 2)
    y = theta + 0.5 * torch.randn(m, 2)
    deviation = math.sqrt(0.25 / 1.25)
    return (y / 1.25)[:, None] + scale * deviation * torch.randn(m, k, 2), theta


@pytest.mark.parametrize("k", [8, 19])
def test_exact_posterior_draws_are_calibrated_and_narrow_or_wide_ones_are_not(k: int) -> None:
    def scores(scale: float) -> list[Measurement]:
        of_truth = ranks(*posterior(500, k, scale))
        return [*(interval_coverage(of_truth, k, level) for level in (0.5, 0.8, 0.9)), rank_deviation(of_truth, k)]

    for score in scores(1.0):
        assert score.low <= score.floor_high, score
        assert score.high >= score.floor_low, score
    for score in scores(0.6)[:3]:
        assert score.high < score.floor_low, score
    for score in scores(1.6)[:3]:
        assert score.low > score.floor_high, score
    for scale in (0.6, 1.6):
        assert scores(scale)[3].low > scores(scale)[3].floor_high


def test_the_floor_of_ranks_holds_exact_draws_in_95_percent_of_cases() -> None:
    inside = {"coverage": 0, "ranks": 0}
    for _ in range(60):
        of_truth = ranks(*posterior(100, 9))
        coverage, deviation = interval_coverage(of_truth, 9, 0.8), rank_deviation(of_truth, 9)
        inside["coverage"] += coverage.floor_low <= coverage.value <= coverage.floor_high
        inside["ranks"] += deviation.value <= deviation.floor_high
    assert all(0.89 * 60 <= count <= 120 for count in inside.values()), inside


def test_equal_draws_give_random_ranks_and_gaps_are_left_out() -> None:
    draws, truth = torch.zeros(3000, 4, 2), torch.zeros(3000, 2)
    truth[0, 0] = torch.nan
    of_truth = ranks(draws, truth)
    assert of_truth[0, 0] == -1
    shares = torch.bincount(of_truth[:, 1], minlength=5) / 3000
    assert (shares - 0.2).abs().max() < 0.03


def test_gaps_among_draws_change_neither_crps_nor_the_law_of_ranks() -> None:
    """A third of the draws of a table's column is missing, whatever the value."""
    draws, truth = torch.randn(3000, 9, 1, dtype=torch.float64), torch.randn(3000, 1, dtype=torch.float64)
    gaps = draws.masked_fill(torch.rand(draws.shape) < 1 / 3, torch.nan)
    scores = crps(gaps, truth)
    present = scores[~scores.isnan()]
    assert len(present) > 2900
    assert abs(present.mean().item() - 1 / math.sqrt(math.pi)) < 4 * present.std().item() / math.sqrt(3000)
    draws_of_row = gaps[7, ~gaps[7, :, 0].isnan()][None]
    torch.testing.assert_close(scores[7], crps(draws_of_row, truth[7:8])[0])
    deviation = rank_deviation(ranks(gaps, truth), 9)
    assert deviation.value <= deviation.floor_high
    absent = torch.full((3000, 1), torch.nan).double()  # a column that no truth has, as behind the longest sequence
    again = rank_deviation(ranks(torch.cat([gaps, gaps], 2), torch.cat([truth, absent], 1)), 9)
    assert again.value <= again.floor_high < 0.1


def two_images() -> tuple[Tensor, Tensor]:
    i, j = torch.meshgrid(torch.arange(24.0).double(), torch.arange(20.0).double(), indexing="ij")
    x = ((7 * i + 13 * j) % 32) / 31
    y = (0.7 * x + 0.2 * (i / 3).sin() * (j / 4).cos() + 0.1).clamp(0, 1)
    z, w = ((i - 10) ** 2 + (j - 8) ** 2 < 40).double(), ((i - 11) ** 2 + (j - 8) ** 2 < 36) * 0.8
    return torch.stack([x, z])[:, None], torch.stack([y, w])[:, None]


def test_ssim_and_psnr_are_those_of_scikit_image() -> None:
    """Its 0.26: gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1."""
    x, y = two_images()
    assert ssim(x, y).tolist() == pytest.approx([0.9038466469611738, 0.5525488575153448], abs=1e-6)
    assert psnr(x, y).tolist() == pytest.approx([16.897785931508743, 12.164537177296504], abs=1e-6)
    colours = (torch.cat([z[:1], z[1:]], 1) for z in (x, y))
    assert ssim(*colours).tolist() == pytest.approx([(0.9038466469611738 + 0.5525488575153448) / 2], abs=1e-6)
    assert ssim(x, x).tolist() == pytest.approx([1, 1])
    assert psnr(x, x).tolist() == [100, 100]
    assert ssim(x[..., :8, :6], x[..., :8, :6]).tolist() == pytest.approx([1, 1])  # smaller than the window


def test_diversity_is_the_share_of_the_spread_that_a_condition_leaves() -> None:
    """x = c + noise with Var c = 3 and Var noise = 1: the ratio of mean distances is 1/2."""
    centres = 3**0.5 * torch.randn(400, 1, 20)
    draws = centres + torch.randn(400, 9, 20)
    score = diversity(draws, draws[:, 0], features="itself")
    assert abs(score.value - 0.5) < 0.02


# --- shuffled conditions ----------------------------------------------------------------------------------------------


def references_of(space: Space, x: Tensor, cond: Tensor, n: int) -> tuple[Dataset, References]:
    train, test = Split(x[2 * n :], cond[2 * n :]), Split(x[:n], cond[:n])
    fresh = Split(x[n : 2 * n], cond[n : 2 * n])
    dataset = Dataset(name="pairs", space=space, train=train, validation=fresh, test=test, digest="", source="")
    draws = choose_draws(train.x, n, train.cond, test.cond)
    return dataset, References(draws, test.x, test.cond, fresh.x, train.x)


def worse(a: Measurement, b: Measurement) -> bool:
    """Whether ``a`` is worse than ``b`` beyond both intervals."""
    a, b = a.ranked(), b.ranked()
    return a.low > b.high if a.better == "lower" else a.high < b.low


def vector_pairs(cond: Tensor) -> Tensor:
    mixing = torch.tensor([[1.0, -0.5], [0.3, 0.8], [0.0, 1.2]])
    return cond @ mixing.T + 0.4 * torch.randn(len(cond), 3)


def image_pairs(cond: Tensor) -> Tensor:
    fine = torch.nn.functional.interpolate(cond.float(), scale_factor=3, mode="bilinear")
    return (fine + 12 * torch.randn(fine.shape)).clamp(0, 255).to(torch.uint8)


def test_every_measure_notices_shuffled_conditions_of_vectors() -> None:
    n, space = 200, Vectors(3, given=Vectors(2))
    cond = torch.randn(5 * n, 2)
    dataset, references = references_of(space, vector_pairs(cond), cond, n)
    check_shuffled(dataset, references, vector_pairs, {"pairs_mmd²", "pairs_auc", "energy_score", "crps"})


def test_every_measure_notices_shuffled_conditions_of_images() -> None:
    n, space = 200, Images(1, 12, 12, given=Images(1, 4, 4))
    cond = torch.randint(256, (4 * n, 1, 4, 4)).to(torch.int16)
    dataset, references = references_of(space, image_pairs(cond), cond, n)
    scores = check_shuffled(dataset, references, image_pairs, {"pairs_mmd²", "energy_score", "psnr", "ssim"})
    single, mean = (next(s for s in scores if s.name == f"psnr[{name}]") for name in ("single draws", "mean draw"))
    assert mean.low > single.high  # the mean of draws has the better PSNR


def check_shuffled(
    dataset: Dataset, references: References, sample: Callable[[Tensor], Tensor], names: set[str]
) -> list[Measurement]:
    """The scores of an exact sampler are at their floors, and those of shuffled conditions are worse."""
    assert references.cond is not None
    rows = torch.arange(150)

    def scores(cond: Tensor) -> list[Measurement]:
        several = sample(cond[rows].repeat_interleave(DRAWS, 0)).reshape(len(rows), DRAWS, *references.test.shape[1:])
        pairs = measure_pairs(sample(cond), dataset, references)
        return pairs + measure_draws(DrawsGiven(several, rows, True), dataset, references)

    right, wrong = scores(references.cond), scores(references.cond[torch.randperm(len(references.cond))])
    assert names <= {score.name.partition("[")[0] for score in right}
    for score, shuffled in zip(right, wrong, strict=True):
        if math.isfinite(score.floor_high):
            ranked = score.ranked()
            assert ranked.low <= ranked.floor_high, score
        if score.better:
            assert worse(shuffled, score), (str(score), str(shuffled))
    return right


def test_pairs_and_words_notice_shuffled_labels_and_texts() -> None:
    n, names = 300, ("zero", "one", "two", "three")
    labels = torch.randint(4, (5 * n,))
    space = Vectors(2, given=Categories(names))
    x = torch.eye(4)[labels][:, :2] * 3 + torch.randn(5 * n, 2)
    dataset, references = references_of(space, x, labels, n)
    permuted = torch.randperm(n)
    wrong = measure_pairs(references.test[permuted], dataset, references)
    again = torch.eye(4)[references.cond][:, :2] * 3 + torch.randn(n, 2)
    right = measure_pairs(again, dataset, references)
    assert [score.name.partition("[")[0] for score in right] == ["pairs_mmd²", "pairs_auc"]
    for a, b in zip(right, wrong, strict=True):
        assert worse(b, a), (str(a), str(b))

    lines = Lines.of_bytes(12)
    texts = lines.parse([names[label] + " " + names[-1 - label] for label in labels.tolist()])
    spoken = lines.conditioned_on(Vectors(2))
    cond = torch.stack([labels % 2, labels // 2], 1).float() + 0.1 * torch.randn(5 * n, 2)
    dataset, references = references_of(spoken, texts, cond, n)
    truth, shuffled = references.test, references.test[permuted]
    for a, b in zip(*(measure_pairs(part, dataset, references) for part in (truth, shuffled)), strict=True):
        assert worse(b, a), (str(a), str(b))
    errors = [next(spoken.measures(part, references)) for part in (truth, shuffled)]
    assert worse(errors[1], errors[0])
