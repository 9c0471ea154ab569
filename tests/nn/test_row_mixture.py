"""Mixtures of models of rows: the definition against every row, weights by a grid, rows that models leave out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from fourfold.core import Noise
from fourfold.nn.row_mixture import RowMixture, _stacked
from fourfold.nn.token_mixture import TokenClasses, TokenCopula, TokenKernels, TokenMixture, TokenProducts, TokenScores

SIZES, ORDERED, MISSING, ORDER = (2, 5, 4), (1, 2), (1,), (0, 2, 1)
EVERY = torch.tensor(list(itertools.product(*map(range, SIZES))))
KINDS = (TokenScores, TokenClasses, TokenProducts, TokenKernels, TokenCopula)


def tokens(n: int) -> Tensor:
    """Rows whose ordered tokens grow together where the category is 1. The second column has gaps."""
    g = torch.Generator().manual_seed(0)
    kind, level = torch.randint(2, (n,), generator=g), torch.randint(4, (n,), generator=g)
    second = torch.where(kind == 1, level, torch.randint(4, (n,), generator=g))
    return torch.stack([kind, second.where(torch.rand(n, generator=g) > 0.2, torch.tensor(4)), level], 1)


def fitted(kind: type[TokenMixture]) -> TokenMixture:
    x, ordered = tokens(150), range(3) if kind is TokenCopula else ORDERED
    model = kind(SIZES, ordered, MISSING, ORDER, 4, 0 if kind is TokenClasses else -1)
    model.fit(x, None, torch.zeros(3, 5, dtype=torch.float64), torch.arange(6).double().repeat(3, 1))
    return model.eval()


@pytest.fixture(scope="module")
def mixture() -> RowMixture:
    net = RowMixture([fitted(kind) for kind in KINDS]).eval()
    net.is_active.fill_(True)
    with torch.no_grad():
        net.log_weight.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5, -0.4]))
    return net


def joint(net: RowMixture) -> Tensor:
    """``log p`` of every row by the definition."""
    parts = torch.stack([model.score(EVERY, None, False).sum(1) for model in net.models])
    return (parts + net.log_weight.log_softmax(0).unsqueeze(1)).logsumexp(0).detach()


def test_masses_are_those_of_the_definition_and_add_up_to_one(mixture: RowMixture) -> None:
    log_p = joint(mixture)
    assert torch.allclose(mixture(EVERY).sum(1).detach(), log_p, atol=1e-5)
    assert float(log_p.double().exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("column", range(3))
def test_conditionals_are_those_of_all_rows(mixture: RowMixture, column: int) -> None:
    """Exact after the earlier columns of the order, and given all others. Given any others: masses that are near."""
    p = joint(mixture).exp().view(*SIZES)
    for observed in itertools.product([False, True], repeat=3):
        if observed[column]:
            continue
        hidden = [i for i in range(3) if not observed[i] and i != column]
        marginal = p.sum(hidden, keepdim=True) if hidden else p
        exact = (marginal / marginal.sum(column, keepdim=True)).expand(*SIZES).movedim(column, -1)
        rows = EVERY.view(*SIZES, 3).select(column, 0).reshape(-1, 3)
        exact = exact.reshape(-1, SIZES[column])
        mask = torch.tensor(observed).expand(len(rows), -1)
        ours = mixture.conditional(rows, mask, column).exp()
        assert torch.allclose(ours.sum(1), torch.ones(len(rows)), atol=1e-4)
        before = set(ORDER[: ORDER.index(column)])
        certain = not hidden or {i for i in range(3) if observed[i]} == before
        assert float((ours - exact).abs().max()) < (1e-4 if certain else 0.2)


def test_evidence_of_the_first_columns_is_their_mass(mixture: RowMixture) -> None:
    p = joint(mixture).exp().view(*SIZES)
    for place in range(4):
        mask = torch.zeros(3, dtype=torch.bool).index_fill(0, torch.tensor(ORDER[:place], dtype=torch.long), True)
        hidden = [i for i in range(3) if not mask[i]]
        exact = p.sum(hidden, keepdim=True).expand(*SIZES).reshape(-1) if hidden else p.reshape(-1)
        ours = mixture.evidence(EVERY, mask.expand(len(EVERY), -1)).exp().detach()
        assert torch.allclose(ours, exact, atol=1e-5)


def test_draws_follow_the_masses(mixture: RowMixture) -> None:
    n, p = 10_000, joint(mixture).double().exp()
    with torch.no_grad():
        x = mixture.draw(Noise(0, 0, n))
    counts = torch.bincount((x * torch.tensor([20, 4, 1])).sum(1), minlength=40)
    chi2 = float(((counts - p * n).square() / (p * n)).sum())
    assert chi2 < 39 + 4 * math.sqrt(2 * 39)


def test_weights_are_those_under_which_rows_are_likeliest() -> None:
    nats = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    totals = torch.logaddexp(nats[:, :1] + share.log(), nats[:, 1:] + (1 - share).log()).sum(0)
    assert float(_stacked(nats)[0]) == pytest.approx(float(share[totals.argmax()]), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_left_out_changes_nothing_of_its_own_score(kind: type[TokenMixture]) -> None:
    """Components of the other folds: a rare row is less likely than by components that were fitted to it."""
    model, x = fitted(kind), tokens(150)
    rare = torch.cat([torch.tensor([[0, 0, 3]]).repeat(1, 1), x])
    model.fit(rare, None, torch.zeros(3, 5, dtype=torch.float64), torch.arange(6).double().repeat(3, 1))
    before = model.score(rare[:1], None, True)
    model.log_weight[-1, :1] += 1.0  # the components of all rows
    model.mean[-1] += 1.0
    assert torch.equal(model.score(rare[:1], None, True), before)


def test_members_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="members must have one set of sizes and one order, got 2"):
        RowMixture([TokenScores(SIZES, ORDERED, MISSING, ORDER), TokenScores((2, 2), (), (), (0, 1))])
