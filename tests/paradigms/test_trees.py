"""Trees of columns: masses that add up to 1, the definition in plain Python, and structure that is found again."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import Ridge, RidgeCV
from torch import Tensor

import fourfold
from fourfold.core import GenerativeModel
from fourfold.nn.token_mixture import FOLDS
from fourfold.nn.trees import PARTS, ColumnTrees
from fourfold.paradigms import build, first_recipe, resolve
from fourfold.recipes.autoregressive import tree_order
from fourfold.spaces import Categorical, Categories, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING
from fourfold.tasks import complete

SCHEMA = (
    Numeric("count", "int64", low=-2, high=9, missing=True),
    Categorical("kind", categories=("a", "b", "c"), missing=True),
    Numeric("more", "int64", low=0, high=11),
    Categorical("odd", categories=("no", "yes")),
)
TABLE = Table(SCHEMA, target="odd", observed=400)


def rows(n: int, seed: int = 0) -> Tensor:
    """The counts grow with the kind and with each other. ``odd`` is yes where exactly one of two things holds."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(3, (n,), generator=g)
    count = 3 * kind + torch.randint(4, (n,), generator=g) - 2
    more = (count + 2 + torch.randint(2, (n,), generator=g)).clamp(max=11)
    gap = torch.rand(n, generator=g) < 0.2
    odd = (more > 5) ^ gap
    hidden = torch.rand(n, generator=g) < 0.1
    return torch.stack([count.masked_fill(gap, MISSING), kind.masked_fill(hidden, MISSING), more, odd.long()], 1)


def fitted(
    space: Table = TABLE, x: Tensor | None = None, cond: Tensor | None = None, size: str = "xs"
) -> GenerativeModel:
    """A model whose trees are grown, with parameters that no step has trained but that differ."""
    torch.manual_seed(0)
    model = build("autoregressive/trees", space, size)
    model.fit_statistics(rows(400) if x is None else x, cond)
    with torch.no_grad():
        for parameter in model.estimand.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> GenerativeModel:
    return fitted()


def test_masses_of_all_rows_add_up_to_one(model: GenerativeModel) -> None:
    every, _ = TABLE.support(9, 3.0)
    for each in (model, build("autoregressive/trees", TABLE, "xs").eval()):
        assert float(each.log_prob(every).nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_samples_follow_the_masses(model: GenerativeModel) -> None:
    n, (every, _) = 20_000, TABLE.support(9, 3.0)
    masses = model.log_prob(every).nats.double().exp()
    place = {tuple(row): i for i, row in enumerate(every.tolist())}
    drawn = torch.tensor([place[tuple(row)] for row in model.sample(n).tolist()])
    counts, often = torch.bincount(drawn, minlength=len(every)), masses * n > 10
    chi2 = float(((counts - masses * n).square() / (masses * n))[often].sum())
    assert chi2 < int(often.sum()) + 4 * math.sqrt(2 * int(often.sum()))


@torch.no_grad()
def plain(net: ColumnTrees, z: Tensor, row: int, i: int, trees: list[int], left_out: bool) -> list[float]:
    """The masses of the tokens of column ``i`` by some of its trees: the definition, counting rows one by one."""
    inputs, size = net._inputs(z, None), net.sizes[i]
    kernels = net.kernels[i, :, :size, :size] * net.root[i, :size]  # a neighbour counts by its mass
    kernels = kernels / kernels.sum(2, keepdim=True)
    masses, weights = [0.0] * size, net.weight[i, trees].softmax(0).tolist()
    for t, weight in zip(trees, weights, strict=True):
        r, node, p, inside = i * net.trees + t, 0, [1 / size] * size, list(range(len(z)))
        while node >= 0:
            n = len(inside)
            scale = int(math.log2(n)) if n else 0
            counts = torch.bincount(z[[j for j in inside if not (left_out and j == row)], i], minlength=size).float()
            shares, a = net.smoothing[i, scale].softmax(0), float(net.log_prior[i, scale].exp())
            smooth = [float((shares * (counts @ kernels[:, :, k].T)).sum()) for k in range(size)]
            total = n - left_out
            p = [(s + a * q) / (total + a) for s, q in zip(smooth, p, strict=True)]
            right = [float(inputs[j, net.feature[r, node]]) > float(net.threshold[r, node]) for j in inside]
            goes = float(inputs[row, net.feature[r, node]]) > float(net.threshold[r, node])
            inside = [j for j, side in zip(inside, right, strict=True) if side == goes]
            node = int(net.child[r, node, int(goes)])
        masses = [m + weight * q for m, q in zip(masses, p, strict=True)]
    beside = [mixture.next(z[row : row + 1], i)[0].exp().tolist() for mixture in net.classics]
    if left_out:
        fold = net._part(z)[row : row + 1] % FOLDS
        every = z[row : row + 1].repeat(size, 1)
        every[:, i] = torch.arange(size)
        beside = [mixture(every, fold.expand(size))[:, i].exp().tolist() for mixture in net.classics]
    line = [0.0] * size
    if i in net.ordered:
        scale, gap = net.line[i].tolist()
        means = net._means(inputs, net._part(z) if left_out else None)
        mean, normal = float(means[row, i]), torch.distributions.Normal(0, 1)
        last = size - (i in net.missing)
        below = normal.cdf((net.edges[i, : last + 1] - mean) / scale)
        line = [(1 - gap) * float(mass) for mass in below.diff()] + [gap] * (size - last)
    shares = net.shares[i].clone()
    shares[1] = shares[1] if i in net.ordered else -math.inf
    parts = [masses, line, *beside]
    return [
        sum(s * q for s, q in zip(shares.softmax(0).tolist(), part, strict=True)) for part in zip(*parts, strict=True)
    ]


def test_masses_are_those_of_the_definition(model: GenerativeModel) -> None:
    net, z = model.estimand.net, model.codec.encode(rows(400))[0]
    assert int((net.child >= 0).sum()) > 40  # trees have branches
    for row, i in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 2)]:
        with torch.no_grad():
            masses = net(z[row : row + 1], None, i)[0].exp().tolist()
        assert masses == pytest.approx(plain(net, z, row, i, list(range(net.trees)), False), abs=2e-6)
        assert sum(masses) == pytest.approx(1, abs=1e-6)


def test_kernels_leave_a_frequent_value_its_mass() -> None:
    g = torch.Generator().manual_seed(0)
    number = torch.randint(200, (1000, 1), generator=g)
    number[torch.rand(1000, generator=g) < 0.5] = 100
    label = torch.randint(2, (1000, 1), generator=g)
    columns = Categorical("label", categories=("a", "b")), Numeric("number", "int64", low=0, high=199)
    space = Table(columns, observed=1000)
    model = build("autoregressive/trees", space, "xs")
    model.fit_statistics(torch.cat([label, number], 1), None)
    with torch.no_grad():
        net = model.eval().estimand.net
        net.smoothing.zero_()[..., -1] = 20.0  # the widest kernel alone
        net.shares.zero_()[:, 0] = 20.0  # and trees alone
    nats = model.log_prob(torch.tensor([[0, 100], [1, 100]])).nats
    assert float(nats.exp().sum()) == pytest.approx(0.5, abs=0.05)  # by distance alone it keeps an eighth of it


def test_products_of_columns_are_seen_on_the_axis_of_logarithms() -> None:
    def drawn(n: int, seed: int) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        sides, e = 20 + 180 * torch.rand(n, 2, generator=g), torch.randn(n, generator=g)
        return torch.cat([sides, (sides.prod(1) * (0.03 * e).exp() / 20)[:, None]], 1).round().long()

    x, y = drawn(600, 0), drawn(300, 1)
    columns = tuple(Numeric(name, "int64", low=1, high=int(x[:, i].max())) for i, name in enumerate("abc"))
    y = y[(y <= x.amax(0)).all(1)]
    e = ((y[:, 2] * 20).log() - y[:, :2].log().sum(1)).double() / 0.03
    truth = -2 * math.log(180) - e.square() / 2 - math.log(math.sqrt(2 * math.pi) * 0.03) - y[:, 2].log()
    model = build("autoregressive/trees", Table(columns, observed=600), "s")
    model.fit_statistics(x, None)
    nats = model.eval().log_prob(y).nats.double()
    with torch.no_grad():
        model.estimand.net.shares[:, -1] = -torch.inf  # without that axis
    assert float(truth.mean() - nats.mean()) < 0.4
    assert float(nats.mean() - model.log_prob(y).nats.mean()) > 0.3


def test_training_counts_a_row_in_no_tree_that_predicts_it(model: GenerativeModel) -> None:
    net, z = model.estimand.net, model.codec.encode(rows(400))[0]
    outside = (~net._inside(z)).sum(1) == 2
    row = int(outside.nonzero()[0])
    trees = (~net._inside(z)[row]).nonzero().flatten().tolist()
    net.train()
    with torch.no_grad():
        masses = net(z[row : row + 1]).exp()[0]
    net.eval()
    for i in range(4):
        assert float(masses[i]) == pytest.approx(plain(net, z, row, i, trees, True)[int(z[row, i])], abs=2e-6)


def test_linear_predictions_leave_each_part_of_the_rows_out(model: GenerativeModel) -> None:
    """Those of a part are the ridge regression of scikit-learn on the other parts."""
    net, z = model.estimand.net, model.codec.encode(rows(400))[0]
    features, part, complete = net._features(z, None), net._part(z), z[:, 2] < net.sizes[2]
    before = [k for k, (column, _) in enumerate(net.places) if net.order.index(column) < net.order.index(2)]
    a, y = features[complete][:, before].double().numpy(), net.scores[2, z[complete, 2]].double().numpy()
    alpha = RidgeCV(alphas=[0.1, 1.0, 10.0, 100.0, 1000.0]).fit(a, y).alpha_
    inputs = net._inputs(z, None)
    for k in (0, PARTS - 1):
        left_out = (part[complete] == k).numpy()
        assert 5 < left_out.sum() < 100
        ridge = Ridge(alpha).fit(a[~left_out], y[~left_out])
        predicted = net._means(inputs, part)[complete, 2].double().numpy()
        assert predicted[left_out] == pytest.approx(ridge.predict(a[left_out]), abs=1e-3)
    ridge = Ridge(alpha).fit(a, y)
    assert net._means(inputs)[complete, 2].double().numpy() == pytest.approx(ridge.predict(a), abs=1e-3)


def test_categories_of_few_rows_keep_their_shares() -> None:
    """Features that leave a row out would tell trees of it: they would draw the middle of three counts."""
    g = torch.Generator().manual_seed(0)
    group = torch.randint(2, (150,), generator=g)
    count = torch.where(group == 1, 2 + torch.randint(3, (150,), generator=g), torch.randint(2, (150,), generator=g))
    other = torch.randint(3, (150,), generator=g)
    kinds = (("a", "b"), ("x", "y", "z"), tuple("01234"))
    columns = tuple(Categorical(str(i), categories=kind, ordered=i == 2) for i, kind in enumerate(kinds))
    x = torch.stack([group, other, count], 1)
    net = build("autoregressive/trees", Table(columns, observed=150), "xs")
    net.fit_statistics(x)
    drawn = net.eval().sample(4000, seed=0)
    for k in (2, 3, 4):
        share = float((count[group == 1] == k).float().mean())
        assert float((drawn[drawn[:, 0] == 1, 2] == k).float().mean()) == pytest.approx(share, abs=0.08)


def test_leaves_hold_enough_rows(model: GenerativeModel) -> None:
    net = model.estimand.net
    reached = net.counts.sum(2) > 0
    assert float(net.counts.sum(2)[reached].min()) >= net.least == 5
    assert net.counts[:, 0].sum(1).unique().tolist() == [400]


def test_trees_find_what_depends_on_several_columns_and_on_gaps() -> None:
    """``odd`` follows from two columns, one by its gaps: neither alone tells it."""
    model, test = fitted(TABLE, rows(3000), size="s"), rows(500, 1)
    flipped = test.clone()
    flipped[:, 3] = 1 - flipped[:, 3]
    assert float((model.log_prob(test).nats - model.log_prob(flipped).nats).mean()) > 3


def test_categories_come_before_quantities_and_a_target_at_its_end() -> None:
    assert tree_order(TABLE) == (3, 1, 0, 2)
    assert tree_order(Table(SCHEMA, target="kind")) == (1, 3, 0, 2)
    assert tree_order(Table(SCHEMA, target="count")) == (3, 1, 2, 0)


def test_labels_are_features_and_may_be_unknown() -> None:
    x = rows(600)
    space = Table(SCHEMA[:3], given=Categories(("no", "yes")), observed=600)
    model = fitted(space, x[:, :3], x[:, 3])
    every, _ = space.support(9, 3.0)
    for label in (0, 1, None):
        assert float(model.log_prob(every, label).nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)
    right, wrong = (model.log_prob(x[:, :3], label).nats.mean() for label in (x[:, 3], 1 - x[:, 3]))
    assert right > wrong + 1


@pytest.mark.parametrize("kind", ["vectors", "rows"])
def test_any_condition_is_a_feature_and_may_be_unknown(kind: str) -> None:
    x, g = rows(600), torch.Generator().manual_seed(0)
    number = 2.0 * x[:, 3:].float() + torch.randn(600, 1, generator=g)
    given, cond = (
        (Vectors(1), number) if kind == "vectors" else (Table(SCHEMA[2:]), torch.cat([x[:, 2:3] * 0, x[:, 3:]], 1))
    )
    space = Table(SCHEMA[:3], given=given, observed=600)
    model = fitted(space, x[:, :3], cond)
    every, _ = space.support(9, 3.0)
    for condition in (cond[0], cond[1], None):
        assert float(model.log_prob(every, condition).nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)
    right, wrong = (model.log_prob(x[:, :3], c).nats.mean() for c in (cond, cond[torch.randperm(600, generator=g)]))
    assert right > wrong + 0.2


def test_rows_are_completed_by_draws_that_agree(model: GenerativeModel) -> None:
    x = torch.tensor([[MISSING, 2, 0, 0]] * 40)
    observed_mask = torch.tensor([False, True, False, False])
    drawn = complete(model, x, observed_mask)
    assert (drawn[:, 1] == 2).all()
    counts = drawn[drawn[:, 0] != MISSING, 0]
    assert counts.double().mean() > 4  # the third kind has counts from 4 to 7


@pytest.mark.parametrize("count", [1, 3, 12])
def test_few_equal_or_empty_rows_have_a_model(count: int) -> None:
    every, _ = TABLE.support(9, 3.0)
    empty = rows(40)
    empty[:, 0] = MISSING
    for x in (rows(count), rows(1).expand(30, -1), empty):
        each = fitted(TABLE, x.contiguous())
        assert float(each.log_prob(every).nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_other_data_is_refused_with_the_reason() -> None:
    with pytest.raises(TypeError, match="Table or Sequences for this recipe, got Vectors; use autoregressive"):
        build("autoregressive/trees", Vectors(2))
    with pytest.raises(ValueError, match=r"order must name each of 2 columns once, got \(0, 0\)"):
        ColumnTrees((2, 2), 1, 4, order=(0, 0))
    with pytest.raises(ValueError, match="leaves must be at least 2, got 1"):
        ColumnTrees((2, 2), 1, 1)


@pytest.mark.parametrize(("count", "recipe"), [(400, "trees"), (5001, "any-order"), (None, "any-order")])
def test_few_rows_choose_trees(count: int | None, recipe: str) -> None:
    space = Table(SCHEMA, observed=count)
    assert resolve("autoregressive", space) == f"autoregressive/{recipe}"
    assert first_recipe("autoregressive", space) == "autoregressive/any-order"


def test_fit_says_why_trees_were_chosen_and_how_to_get_a_network() -> None:
    frame, said = TABLE.table(rows(60)), list[str]()
    run = fourfold.fit("autoregressive", frame, budget="1 steps", size="xs", say=said.append)
    assert run.card["recipe"] == "autoregressive/trees"
    assert any("autoregressive/any-order" in line and "few rows" in line for line in said)
