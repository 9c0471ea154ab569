"""Scores equal those of the packages that their users know, given the same features. ``make references`` has them all.

A package that is not installed is skipped: scikit-learn, scipy and torch-fidelity always are in development.
"""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from fourfold.metrics.conditional import crps, energy
from fourfold.metrics.frechet import frechet_distance
from fourfold.metrics.mauve import mauve
from fourfold.metrics.mmd import mmd
from fourfold.metrics.neighbours import coverage, density, memorisation_ratio, precision, recall
from fourfold.metrics.records import Neighbours, share_of_training
from fourfold.metrics.similarity import psnr, ssim
from fourfold.metrics.text import ngram_divergence
from fourfold.metrics.twosample import _explained, area

pytestmark = [pytest.mark.references, pytest.mark.filterwarnings("ignore")]  # packages warn of each other


def normals(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = normals(160, 6, seed=1, scale=1.2) + 0.3, normals(140, 6, seed=2) ** 2
DRAWS, TRUTH = normals(40, 7, 3, seed=3), normals(40, 3, seed=4)


# --- Fréchet distance -------------------------------------------------------------------------------------------------


def test_frechet_distance_is_that_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_fid")
    parts = [metric.fid_features_to_statistics(z.float()) for z in (X, Y)]
    theirs = metric.fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(X, Y, features="f").value == pytest.approx(theirs, rel=1e-5)


def test_frechet_distance_is_that_of_clean_fid():
    fid = pytest.importorskip("cleanfid.fid")
    assert frechet_distance(X, Y, features="f").value == pytest.approx(fid.fid_from_feats(X.numpy(), Y.numpy()))


def test_frechet_distance_is_the_squared_distance_of_gaussians_of_pot():
    gaussian = pytest.importorskip("ot.gaussian")
    means, covariances = [z.mean(0).numpy() for z in (X, Y)], [torch.cov(z.T).numpy() for z in (X, Y)]
    theirs = gaussian.bures_wasserstein_distance(*means, *covariances) ** 2
    assert frechet_distance(X, Y, features="f").value == pytest.approx(theirs)


# --- kernels and neighbours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.7, 2.0])
def test_mmd_is_that_of_kernels_of_scikit_learn(h: float):
    kernels = [rbf_kernel(a, b, gamma=1 / (2 * h * h)) for a, b in ((X, X), (Y, Y), (X, Y))]
    inner = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    assert mmd(X, Y, features="f", bandwidths=(h,)).value == pytest.approx(sum(inner) - 2 * kernels[2].mean())


def test_mmd_is_the_kernel_distance_of_torch_fidelity_with_its_gaussian_kernel():
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    z = Y[: len(X)]
    theirs = metric.kernel_mmd(X[: len(z)].numpy(), z.numpy(), kid_kernel="rbf", kid_kernel_rbf_sigma=2.0)
    assert mmd(X[: len(z)], z, features="f", bandwidths=(2.0,)).value == pytest.approx(theirs)


@pytest.mark.parametrize("k", [3, 5])
def test_precision_recall_density_and_coverage_are_those_of_prdc(k: int):
    prdc = pytest.importorskip("prdc")
    theirs = prdc.compute_prdc(Y.numpy(), X.numpy(), nearest_k=k)
    ours = {f.__name__: f(X, Y, features="f", k=k).value for f in (precision, recall, density, coverage)}
    assert ours == pytest.approx(theirs)
    assert min(ours.values()) > 0
    assert max(ours["precision"], ours["recall"], ours["coverage"]) < 1


def test_precision_and_recall_are_those_of_torch_fidelity():
    metric = pytest.importorskip("torch_fidelity.metric_prc")
    theirs = metric.calculate_precision_recall_full(X, Y, 3)
    assert [f(X, Y, features="f").value for f in (precision, recall)] == pytest.approx([float(v) for v in theirs])


def test_memorisation_ratio_is_that_of_neighbours_of_scikit_learn():
    new = normals(50, 6, seed=9)
    to_train, to_test = (NearestNeighbors(n_neighbors=1).fit(z).kneighbors(new)[0].sum() for z in (X, Y))
    assert memorisation_ratio(new, X, Y, features="f").value == pytest.approx(to_train / to_test)


def test_share_of_closer_rows_is_that_of_mostlyai_at_equal_numbers():
    distances = pytest.importorskip("mostlyai.qa._distances")
    train, test, new = (normals(200, 5, seed=seed).numpy() for seed in (5, 6, 7))
    new[:60] = train[:60]
    to_train, to_test = (distances.calculate_dcrs_nndrs(data=z, query=new)[0] for z in (train, test))
    theirs = distances.calculate_dcr_share(to_train, to_test)
    none, whole = torch.zeros(200), torch.ones(200, dtype=torch.float64)
    ours = Neighbours(*map(torch.from_numpy, (to_train, to_test)), (none, none), whole, torch.arange(200))
    assert share_of_training(ours, 1.0)[0] == pytest.approx(theirs)
    assert theirs > 0.6


# --- trees and predictions --------------------------------------------------------------------------------------------


def test_area_under_the_curve_is_that_of_scikit_learn():
    scores = np.round(X[:, 0].numpy(), 1)  # with ties
    labels = (Y[:, 0].numpy() > 0.4).repeat(2)[: len(scores)]
    assert area(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_explained_variance_is_r2_of_scikit_learn():
    truth, predicted = TRUTH[:, 0].numpy(), DRAWS[:, 0, 0].numpy()
    assert _explained(predicted[:, None], truth) == pytest.approx(r2_score(truth, predicted))


# --- clusters --------------------------------------------------------------------------------------------------------


def test_mauve_is_that_of_mauve_text():
    theirs = pytest.importorskip("mauve")
    centres, generator = 5 * torch.eye(16, dtype=torch.float64)[:5], torch.Generator().manual_seed(0)
    shares = torch.tensor([[1.0, 1, 1, 1, 1], [3, 3, 1, 1, 0]])
    x, y = (centres[p.multinomial(300, True, generator=generator)] + normals(300, 16, scale=0.01) for p in shares)
    expected = theirs.compute_mauve(p_features=x.numpy(), q_features=y.numpy(), num_buckets=5).mauve
    assert mauve(x, y, features="f", clusters=5).value == pytest.approx(expected)


# --- draws for a condition --------------------------------------------------------------------------------------------


def test_crps_is_that_of_scoringrules():
    rules = pytest.importorskip("scoringrules")
    theirs = rules.crps_ensemble(TRUTH.numpy(), DRAWS.numpy(), m_axis=1, estimator="fair")
    assert crps(DRAWS, TRUTH).numpy() == pytest.approx(theirs)


def test_crps_is_that_of_properscoring_with_the_draw_itself_left_out():
    scoring = pytest.importorskip("properscoring")
    theirs = scoring.crps_ensemble(TRUTH.numpy(), DRAWS.numpy(), axis=1)  # E |X - X'| over all pairs, X = X' too
    k = DRAWS.shape[1]
    spread = (DRAWS[:, :, None] - DRAWS[:, None]).abs().mean((1, 2)) / 2
    assert (crps(DRAWS, TRUTH) + spread / (k - 1)).numpy() == pytest.approx(theirs)


def test_energy_score_is_that_of_scoringrules():
    rules = pytest.importorskip("scoringrules")
    theirs = rules.es_ensemble(TRUTH.numpy(), DRAWS.numpy(), estimator="fair")
    assert energy(DRAWS, TRUTH).numpy() == pytest.approx(theirs)


def test_likeness_of_images_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    x, y = (torch.rand(3, 1, 24, 20, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
    y = (x + 0.2 * (y - 0.5)).clamp(0, 1)
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = [(a[0].numpy(), b[0].numpy()) for a, b in zip(x, y, strict=True)]
    assert ssim(x, y).numpy() == pytest.approx([metrics.structural_similarity(a, b, **options) for a, b in pairs])
    assert psnr(x, y).numpy() == pytest.approx([metrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs])


# --- texts ------------------------------------------------------------------------------------------------------------


def test_divergence_of_single_tokens_is_that_of_scipy():
    x, y = (torch.randint(high, (30, 16), generator=torch.Generator().manual_seed(high)) for high in (5, 7))
    p, q = (torch.bincount(z.flatten(), minlength=7).double().numpy() for z in (x, y))
    assert ngram_divergence(x, y, 1).value == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert not math.isclose(ngram_divergence(x, y, 1).value, 0, abs_tol=1e-3)
