"""Rows with given values, requirements, imputation and classification, against all rows of a table gone through."""

import numpy as np
import pandas as pd
import pytest
import torch

from fourfold import build
from fourfold.engine import Run
from fourfold.spaces import Categorical, DateTime, Identifier, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING
from fourfold.tasks import classify, impute
from fourfold.tasks.given import allowed_codes, code_of, parse_given, sample_given
from fourfold.tasks.requirement import Requirement
from fourfold.tasks.unusual import unusual_columns

TABLE = Table(
    (
        Identifier("id", "int64"),
        Categorical("kind", categories=("a", "b b", "c"), missing=True),
        Numeric("low end", "float64", resolution=0.5, low=-1, high=3, decimals=1),
        Numeric("high", "int64", resolution=1, low=0, high=2, missing=True),
        Categorical("yes", "bool", categories=("False", "True")),
    )
)


def model():
    """A random distribution over the rows of the table, of independent columns: whatever is given, it is consistent."""
    torch.manual_seed(3)
    built = build("autoregressive", TABLE, size="xs")
    for weight in built.parameters():
        torch.nn.init.normal_(weight, std=0.4) if weight.ndim == 1 else torch.nn.init.zeros_(weight)
    return built.eval()


@pytest.fixture(scope="module")
def run():
    return Run(model())


@pytest.fixture(scope="module")
def rows(run):
    """Every row there is, and its probability."""
    x, _ = TABLE.support(0, 0.0)
    p = run.log_prob(x).nats.double().exp()
    assert p.sum() == pytest.approx(1, abs=1e-4)
    return x, p


def same(drawn, x, p):
    """Samples have the frequencies of a distribution over rows: a chi-square test at about five standard errors."""
    p = p / p.sum()
    counts = (drawn[:, None] == x[None]).all(2).double().sum(0)
    assert counts.sum() == len(drawn)
    assert (counts[p == 0] == 0).all()
    common = p * len(drawn) >= 5
    rest = torch.cat([counts[common], counts[~common].sum()[None]])
    expected = len(drawn) * torch.cat([p[common], p[~common].sum()[None]])
    expected, rest = expected[expected > 0], rest[expected > 0]
    statistic, freedom = ((rest - expected) ** 2 / expected).sum().item(), max(len(expected) - 1, 1)
    assert statistic < freedom + 5 * (2 * freedom) ** 0.5 + 5


def test_given_values_are_conditions(run, rows):
    x, p = rows
    conditions = parse_given(["kind=a", "kind=c", "low end=0..1", "yes=True"], TABLE)
    samples = run.sample(4000, given=conditions)
    inside = ((x[:, 0] == 0) | (x[:, 0] == 2)) & (x[:, 1] >= 0) & (x[:, 1] <= 2) & (x[:, 3] == 1)
    same(samples, x[inside], p[inside])


def test_given_values_in_python_are_those_of_the_command_line(run):
    first = run.sample(20, given={"kind": "b b", "low end": (None, 0.7), "high": [1, None]}, seed=4)
    second = run.sample(20, given=parse_given(["kind=b b", "low end=..0.7", "high=1", "high="], TABLE), seed=4)
    assert torch.equal(first, second)
    assert (first[:, 1] <= 1).all()
    assert set(first[:, 2].tolist()) == {1, MISSING}


def test_requirements_are_conditions(run, rows):
    x, p = rows
    requirement = Requirement("`low end` < high and kind != 'c'", TABLE)
    samples = sample_given(run.model, 3000, requirements=[requirement])
    fulfilled = torch.from_numpy(requirement(x))
    same(samples.x, x[fulfilled], p[fulfilled])
    assert samples.tally.accepted / samples.tally.proposals == pytest.approx(p[fulfilled].sum().item(), abs=0.03)


def test_given_values_and_requirements_together(run, rows):
    x, p = rows
    samples = run.sample(3000, given={"yes": False}, require="high >= 1 or kind == 'a'")
    inside = (x[:, 3] == 0) & torch.from_numpy(Requirement("high >= 1 or kind == 'a'", TABLE)(x))
    same(samples, x[inside], p[inside])


def test_categories_get_equal_shares(run, rows):
    x, p = rows
    samples = run.sample(3000, balance="kind", require="high != 0")
    assert [(samples[:, 0] == category).sum().item() for category in range(3)] == [1000] * 3
    inside = torch.from_numpy(Requirement("high != 0", TABLE)(x)) & (x[:, 0] == 1)
    same(samples[samples[:, 0] == 1], x[inside], p[inside])
    only = run.sample(10, balance="kind", given={"kind": ["a", "c"]})
    assert (only[:, 0] == 0).sum() == (only[:, 0] == 2).sum() == 5


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["knd=a"], "column must be one of .*, got 'knd'; did you mean 'kind'"),
        (["kind"], "must be column=value"),
        (["kind=d"], "kind must be one of a, b b, c, got 'd'"),
        (["kind=a..c"], "kind must be one of a, b b, c, got 'a..c'"),
        (["high=x"], "must be a number, got 'x'"),
        (["low end=5..9"], r"from -0.5 to 1.5, got 5..9"),
        (["high=>5"], r"give high=5\.\."),
        (["high=>= 5"], r"give high=5\.\."),
        (["high=<=0.5"], r"give high=\.\.0\.5"),
        (["low end="], "never missing"),
        (["id=3"], "a constant or an identifier"),
    ],
)
def test_bad_conditions_are_refused(run, texts, message):
    with pytest.raises(ValueError, match=message):
        run.sample(3, given=parse_given(texts, TABLE))


def test_a_pool_takes_no_misspelt_category():
    column = Categorical("town", categories=("Bern", "Basel", "other"), other="other")
    assert code_of(column, "other") == 2
    with pytest.raises(ValueError, match="got 'Brn'; did you mean 'Bern'"):
        code_of(column, "Brn")


def test_conditions_that_cannot_hold_are_refused(run):
    with pytest.raises(ValueError, match=r"only 0 of .* draws fulfil '`low end` > 5' \(0 %\), too few for 4 rows"):
        run.sample(4, require="`low end` > 5")
    with pytest.raises(ValueError, match="holds quantities"):
        run.sample(4, balance="high")
    vectors = Run(build("flow", Vectors(2), size="xs").eval())
    with pytest.raises(TypeError, match="must be of a table to be given values"):
        vectors.sample(2, given={"a": 1})
    with pytest.raises(ValueError, match="columns with names"):
        vectors.sample(2, require="a < b")


def test_vectors_have_requirements_too():
    samples = Run(build("flow", Vectors(2, ("a", "b")), size="xs").eval()).sample(50, require="a <= b")
    assert (samples[:, 0] <= samples[:, 1]).all()


# --- the language of requirements -------------------------------------------------------------------------------------

DATED = Table(
    (
        Numeric("a", "float64", resolution=0.1, low=0, high=20, decimals=1, missing=True),
        Numeric("b", "float64", resolution=0.1, low=0, high=20, decimals=1),
        Categorical("k", categories=("u", "v")),
        DateTime("day", low=0, high=20000, resolution=86400, missing=True),
        DateTime("end", low=0, high=20000, resolution=86400),
        Categorical("n", "int64", categories=("1", "2", "10"), ordered=True),
    )
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a <= b", lambda t: ~(t.a > t.b)),
        ("a + 0.1 == b", lambda t: t.a.isna() | ((t.a + 0.1 - t.b).abs() < 1e-6)),
        ("0.5 < b <= 1.5", lambda t: (t.b > 0.5 + 1e-9) & (t.b <= 1.5 + 1e-9)),
        ("not k == 'u'", lambda t: t.k != "u"),
        ("k in ('u', 'w')", lambda t: t.k == "u"),
        ("k not in ('u', 'w')", lambda t: t.k != "u"),
        ("day < end", lambda t: t.day.isna() | (t.day < t.end)),
        ("end >= '2000-01-01'", lambda t: t.end >= "2000-01-01"),
        ("n >= 2", lambda t: t.n >= 2),
        ("-n + 3 * 2 > b / 2", lambda t: 6 - t.n > t.b / 2),
        ("a > 1 or k == 'u'", lambda t: t.a.isna() | (t.a > 1 + 1e-9) | (t.k == "u")),
        ("a > 1 and k == 'u'", lambda t: (t.a.isna() | (t.a > 1 + 1e-9)) & (t.k == "u")),
        ("not (a > 1)", lambda t: t.a.isna() | ~(t.a > 1 + 1e-9)),
        ("seen(k, n)", lambda t: (t.k == "u") & (t.n == 1)),
    ],
)
def test_requirements_mean_what_they_say(text, plain):
    x = DATED.examples(500, torch.Generator().manual_seed(0))
    train = torch.tensor([[0, 0, 0, 0, 0, 0]])
    holds = Requirement(text, DATED, lambda: train)(x)
    assert np.array_equal(holds, plain(DATED.table(x)).to_numpy(dtype=bool))
    assert 0 < holds.sum() < 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <=", "cannot be read"),
        ("a + 1", "where a comparison should stand"),
        ("c < 1", "must name one of .*, got 'c'"),
        ("a < 'x'", "compares a number with a text"),
        ("day < 3", "compares a time|times like"),
        ("day < 'soon'", "write times like"),
        ("__import__('os').system('true')", "calls another function than seen"),
        ("a.real < 1", "which is not a column, number"),
        ("a ** 9 < 1", "which is not a column, number"),
        ("[x for x in a] == 1", "which is not a column, number"),
        ("(lambda: 1)() == 1", "which is not a column, number"),
        ("k + 1 == 2", "computes with 'k'"),
        ("a is b", "other than"),
        ("k in 'u'", "without a list"),
        ("seen('a')", "calls another function than seen"),
        ("(" * 500, "cannot be read"),
        ("a < 1 and " * 5000 + "a < 1", "cannot be read"),
    ],
)
def test_nothing_else_is_a_requirement(text, message):
    with pytest.raises(ValueError, match=message):
        Requirement(text, DATED)


# --- imputation, classification, unusual columns ----------------------------------------------------------------------


def test_holes_are_drawn_given_the_rest(run, rows):
    x, p = rows
    frame = pd.DataFrame({"kind": ["a", None] * 1500, "yes": True, "low end": 0.5, "high": None, "note": "kept"})
    imputation = impute(run.model, frame)
    assert imputation.filled == {"kind": 1500, "high": 3000}
    assert (imputation.table["note"] == "kept").all()
    assert (imputation.table.loc[::2, "kind"] == "a").all()
    assert not imputation.table.isna().any(axis=None)
    drawn = TABLE.codes(imputation.table)[1::2]
    inside = (x[:, 1] == 1) & (x[:, 3] == 1) & (x[:, 0] != MISSING) & (x[:, 2] != MISSING)
    same(drawn, x[inside], p[inside])


def test_a_file_keeps_everything_but_its_holes(run, tmp_path):
    text = 'high,"low end",kind,yes,extra\n1,0.50,b b,true,07\n,-0.5,a,False,x\n2,,?,TRUE,"q,r"\n'
    (tmp_path / "t.csv").write_text(text.replace("?", ""))
    imputation = impute(run.model, tmp_path / "t.csv")
    assert imputation.filled == {"kind": 1, "low end": 1, "high": 1}
    assert imputation.table.iloc[0].tolist() == ["1", "0.50", "b b", "true", "07"]
    assert imputation.table["extra"].tolist() == ["07", "x", "q,r"]
    assert not (imputation.table == "").any(axis=None)


def test_classes_have_the_probabilities_of_bayes_rule(run, rows):
    x, p = rows
    probabilities = classify(run.model, x, "kind")
    table = dict(zip(map(tuple, x.tolist()), p.tolist(), strict=True))
    joint = torch.tensor([[table[(category, *row[1:])] for category in range(3)] for row in x.tolist()]).double()
    assert torch.allclose(probabilities, joint / joint.sum(1, keepdim=True), atol=1e-5)
    frame = TABLE.table(x[:7])
    assert torch.equal(classify(run.model, frame.drop(columns="kind"), "kind"), classify(run.model, x[:7], "kind"))
    with pytest.raises(ValueError, match="must have categories, as kind, yes have, got"):
        classify(run.model, x, "high")


def test_the_figures_of_classifiers_are_those_of_scikit_learn():
    from sklearn.metrics import log_loss, roc_auc_score

    from fourfold.tasks.classifying import judge

    rng = np.random.default_rng(0)
    for classes in (2, 4):
        p, y = rng.dirichlet(np.ones(classes), 300), rng.integers(0, classes, 300)
        judged = judge("x", torch.from_numpy(p), torch.from_numpy(y))
        area = roc_auc_score(y, p[:, 1]) if classes == 2 else roc_auc_score(y, p, multi_class="ovr")
        for value, (mean, low, high) in (
            ((p.argmax(1) == y).mean(), judged.accuracy),
            (log_loss(y, p), judged.log_loss),
            (area, judged.auc),
        ):
            assert mean == pytest.approx(value)
            assert low < mean < high


def test_other_classifiers_learn_what_there_is_to_learn():
    from fourfold.tasks.classifying import classifiers, judge

    x = TABLE.examples(3000, torch.Generator().manual_seed(0))
    x[:, 3] = (x[:, 0] == 1) | (x[:, 2] == MISSING)
    for name, p in classifiers(TABLE, x[:2000], x[2000:], 3):
        judged = judge(name, p, x[2000:, 3])
        assert judged.accuracy[0] > 0.95


def test_the_column_that_is_unusual_is_named():
    table = Table((Categorical("a", categories=tuple("uvwxyz")), Categorical("b", categories=tuple("uvwxyz"))))
    torch.manual_seed(0)
    a = torch.randint(0, 6, (4000, 1))
    from fourfold import fit

    frame = table.table(torch.cat([a, a], 1))
    run = fit("autoregressive", frame, budget="300 steps", size="xs", device="cpu")
    x = torch.tensor([[0, 0]] * 300 + [[2, 5]])
    columns = unusual_columns(run.model, x, run.log_prob(x).nats, most=1)
    assert list(columns) == [300]
    assert columns[300].startswith(("a (", "b ("))


def test_a_day_stands_for_all_of_its_moments():
    noon = 16470 * 86400 + 43200  # 2015-02-04
    column = DateTime("at", format="%Y-%m-%d %H:%M:%S", resolution=3600, low=noon / 3600 - 200, high=noon / 3600 + 200)
    hours = column.times_of(allowed_codes(column, "2015-02-05").numpy())
    assert [str(hours.min()), str(hours.max())] == ["2015-02-05 00:00:00", "2015-02-05 23:00:00"]
    hours = column.times_of(allowed_codes(column, ("2015-02-05", "2015-02-06")).numpy())
    assert [str(hours.min()), str(hours.max())] == ["2015-02-05 00:00:00", "2015-02-06 23:00:00"]
    hours = column.times_of(allowed_codes(column, ("2015-02-05 10:00:00", "2015-02-05")).numpy())
    assert [str(hours.min()), str(hours.max())] == ["2015-02-05 10:00:00", "2015-02-05 23:00:00"]
    assert len(allowed_codes(column, "2015-02-05 10:00:00")) == 1
    with pytest.raises(ValueError, match=r"must be a time like .*, got '2015-02-31'"):
        allowed_codes(column, ("2015-02-31", None))
