"""The Frechet distance against closed forms."""

import pytest
import torch
from torch import Tensor

from fourfold.metrics import frechet_difference, frechet_distance, gaussian_distance
from fourfold.metrics.score import spread


def whitened(n: int, d: int, seed: int = 0) -> torch.Tensor:
    """Examples with mean exactly 0 and covariance exactly the identity."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    return torch.linalg.qr(x).Q * (n - 1) ** 0.5


def test_equal_gaussians_have_distance_zero() -> None:
    cov = torch.cov(torch.randn(50, 6).T)
    assert gaussian_distance(torch.ones(6), cov, torch.ones(6), cov) == pytest.approx(0, abs=1e-6)


def test_a_shift_alone_is_its_square() -> None:
    cov = torch.cov(torch.randn(50, 3).T)
    shift = torch.tensor([1.0, -2.0, 0.5])
    assert gaussian_distance(shift, cov, torch.zeros(3), cov) == pytest.approx(shift.square().sum().item(), rel=1e-6)


def test_commuting_covariances() -> None:
    basis = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    a, b = torch.rand(2, 5, dtype=torch.float64) + 0.1
    distance = gaussian_distance(torch.zeros(5), basis * a @ basis.T, torch.zeros(5), basis * b @ basis.T)
    assert distance == pytest.approx((a.sqrt() - b.sqrt()).square().sum().item(), rel=1e-9)


def test_one_dimension_of_each_may_be_missing() -> None:
    a, b = torch.diag(torch.tensor([4.0, 0.0])), torch.diag(torch.tensor([0.0, 9.0]))
    assert gaussian_distance(torch.zeros(2), a, torch.zeros(2), b) == pytest.approx(13.0)


def test_of_features_with_known_moments() -> None:
    scale = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    score = frechet_distance(whitened(400, 3) * scale + 1, whitened(300, 3, 1), features="known")
    assert score.value == pytest.approx((scale - 1).square().sum().item() + 3, rel=1e-9)
    assert score.name == "frechet_distance[known]"
    assert score.low < score.value < score.high


def test_fewer_examples_than_dimensions_agree_with_the_definition() -> None:
    x, y = torch.randn(12, 30, dtype=torch.float64), torch.randn(200, 30, dtype=torch.float64) + 0.3
    direct = gaussian_distance(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    assert frechet_distance(x, y, features="f").value == pytest.approx(direct, rel=1e-6)


def test_only_inception_is_called_fid() -> None:
    x = torch.randn(40, 4)
    assert frechet_distance(x, x, features="inception").name.startswith("FID")
    assert "FID" not in frechet_distance(x, x, features="pixels").name


def test_the_interval_covers_the_spread_of_repeated_draws() -> None:
    y = whitened(2000, 4)
    scores = [frechet_distance(1.3 * torch.randn(400, 4).double(), y, features="f") for _ in range(40)]
    values = torch.tensor([score.value for score in scores])
    widths = torch.tensor([score.high - score.low for score in scores])
    assert widths.mean() == pytest.approx(2 * 1.97 * values.std().item(), rel=0.45)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 3), (20, 24, 30)])
def test_errors_are_those_of_the_derivatives_by_the_weights_of_rows(n: int, m: int, d: int) -> None:
    x, y = 1.2 * torch.randn(n, d).double() + 0.2, torch.randn(m, d).double()

    def influences(rows: Tensor, other: Tensor, step: float = 1e-4) -> Tensor:
        def moved(i: int, by: float) -> float:
            weights = torch.full((len(rows),), (1 - by) / len(rows), dtype=torch.float64)
            weights[i] += by
            mean = weights @ rows
            cov = (rows - mean).T @ (weights[:, None] * (rows - mean)) * len(rows) / (len(rows) - 1)
            return gaussian_distance(mean, cov, other.mean(0), other.T.cov())

        return torch.tensor([(moved(i, step) - moved(i, -step)) / (2 * step) for i in range(len(rows))])

    score = frechet_distance(x, y, features="f")
    assert score.error**2 == pytest.approx(influences(x, y).var().item() / n, rel=0.01)
    assert spread(score.deviations) == pytest.approx(influences(y, x).var().item() / m, rel=0.01)


def test_the_error_of_a_difference_is_that_of_paired_conditions() -> None:
    """Over 150 data sets, the differences vary less than unpaired errors say, and about as paired ones do."""
    generator = torch.Generator().manual_seed(0)
    values, errors, apart = [], [], []
    for _ in range(150):
        c, *noise = torch.randn(4, 200, 4, generator=generator)
        x, y, truth = (c + scale * e for scale, e in zip((0.5, 0.9, 0.5), noise, strict=True))
        value, error = frechet_difference(x, y, truth)
        alone = [frechet_distance(z, truth, features="f") for z in (x, y)]
        assert value == pytest.approx(alone[0].value - alone[1].value, abs=1e-9)
        values.append(value)
        errors.append(error)
        apart.append(sum(score.error**2 + spread(score.deviations) for score in alone) ** 0.5)
    deviation, paired, unpaired = torch.tensor(values).std(), torch.tensor(errors).mean(), torch.tensor(apart).mean()
    assert 0.85 < deviation / paired < 1.15
    assert paired < 0.75 * unpaired
    with pytest.raises(ValueError, match="one a condition"):
        frechet_difference(x, y[1:], truth)


def test_the_floor_is_the_score_of_training_examples_at_the_same_n() -> None:
    x, y, train = torch.randn(60, 3) * 3, torch.randn(80, 3), torch.randn(500, 3)
    score = frechet_distance(x, y, features="f", train=train)
    assert score.floor == pytest.approx(frechet_distance(train[:60], y, features="f").value)
    assert score.floor < score.value


def test_bad_features_are_refused() -> None:
    with pytest.raises(ValueError, match="flatten"):
        frechet_distance(torch.randn(5, 2), torch.randn(5, 3), features="f")
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(torch.randn(1, 2), torch.randn(5, 2), features="f")
    with pytest.raises(ValueError, match="must be finite"):
        frechet_distance(torch.full((5, 2), torch.nan), torch.randn(5, 2), features="f")
