"""Texts in a column of a table: each is an example, and other columns are its conditions."""

from pathlib import Path
from pydoc_data.topics import topics

import pandas as pd
import pytest
import torch

import fourfold
from fourfold.data import DataError, Dataset, load, read_all, read_conditions
from fourfold.main import run
from fourfold.spaces import Lines, Table
from fourfold.tasks import class_probabilities
from fourfold.tasks.classifying import classes_of


def sentences() -> pd.DataFrame:
    """Lines of Python's documentation, each with the number of its words as a class, and a page."""
    rows = [
        (line.strip(), min(len(line.split()), 9), page)
        for page in ("if", "while", "for", "try", "with", "function", "class", "import", "assert", "lambda")
        for line in topics[page].splitlines()
        if line.strip()
    ]
    return pd.DataFrame(rows, columns=["line", "words", "page"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "lines.csv"
    sentences().to_csv(file, index=False)
    return file


@pytest.mark.parametrize("words", [{"text": "line", "given": "words"}, {"space": "lines", "given": "words"}])
def test_each_text_of_a_column_is_an_example_beside_its_condition(path: Path, words: dict[str, str]):
    data, frame = load(path, fractions=(0.5, 0.25, 0.25), **words), sentences()
    space, given = data.space, data.space.given
    assert isinstance(space, Lines)
    assert isinstance(given, Table)
    assert given.columns == ("words",)
    parts = [data.train, data.validation, data.test]
    texts = [space.show(ids) for part in parts for ids in part.x]
    counts = [int(n) for part in parts for n in given.table(part.cond)["words"]]
    assert sorted(zip(texts, counts, strict=True)) == sorted(
        (" ".join(line.split()), n) for line, n in zip(frame["line"], frame["words"], strict=True)
    )
    assert any("left out: page" in note for note in data.notes)
    read, _ = read_all(path, space)
    assert [space.show(ids) for ids in read.x] == [" ".join(line.split()) for line in frame["line"]]
    assert read.cond is not None
    assert torch.equal(read.cond, read_conditions(path, given)[0])


def test_a_text_without_a_letter_and_one_in_a_frame_have_their_ids(tmp_path: Path):
    frame = pd.DataFrame({"line": ["ab", "", "b a\nb", None] * 10, "kind": list("xxyy") * 10})
    data = load(frame, space="lines", text="line", given="kind", rare=1)
    parts = [data.train, data.validation, data.test]
    assert {data.space.show(ids) for part in parts for ids in part.x} == {"ab", "", "b a b"}
    file = tmp_path / "lines.txt"
    file.write_text("ab\nba\n" * 20)
    assert {load(file, space="lines").space.show(ids) for ids in load(file, space="lines").train.x} == {"ab", "ba"}
    assert load(["ab", "ba"] * 20, space="lines", tokens="bytes").space == Lines.of_texts(["ab"], "bytes")


@pytest.mark.parametrize("of_frame", [False, True])
def test_subwords_are_learned_from_training_texts_alone(of_frame: bool):
    """A word that occurs in held-out texts alone does not become a token."""

    def read(texts: list[str]) -> Dataset:
        if of_frame:
            return load(pd.DataFrame({"line": texts}), space="lines", text="line", tokens="bpe:262")
        return load(texts, space="lines", tokens="bpe:262")

    texts = [f"{'abcdefgh'[k % 8]}{k} and on and on" for k in range(60)]
    train = {read(texts).space.show(ids) for ids in read(texts).train.x}
    data = read([text if text in train else "zqzqzqzqzq zqzqzqzq zqzqzqzq" for text in texts])
    tokens = data.space.text.token_bytes()
    assert len(data.train.x) == len(train)
    assert any(b"and" in token or b"on" in token for token in tokens)
    assert not any(b"zq" in token for token in tokens)
    assert "zqzqzqzqzq" in data.space.show(data.test.x[0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"space": "lines", "given": "words"}, "must have one column of texts, got line, other; name it with --text"),
        ({"text": "lime", "given": "words"}, "must have the column 'lime', which holds the texts; did you mean 'line'"),
        ({"text": "line", "given": "words", "tokens": "x"}, "tokens must be chars, bytes or bpe:COUNT"),
    ],
)
def test_a_table_whose_texts_are_not_named_is_refused_with_the_way_out(
    tmp_path: Path, words: dict[str, str], message: str
):
    frame = sentences().drop(columns="page")
    frame.assign(other=frame["line"] + " again and again").to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(DataError) as error:
        load(tmp_path / "two.csv", **words)
    assert message in str(error.value)


def test_a_table_of_texts_alone_is_refused_with_the_way_out(tmp_path: Path):
    sentences()[["line"]].to_csv(tmp_path / "alone.csv", index=False)
    with pytest.raises(DataError, match="model its texts, each by itself, with --text line"):
        load(tmp_path / "alone.csv")
    with pytest.raises(DataError, match="if it holds texts, name it with --text line"):
        load(tmp_path / "alone.csv", space="vectors")


LETTERS = pd.DataFrame({"word": ["ab", "a", "b", "ba"] * 10, "kind": list("xyxz") * 10, "score": [1, 2] * 20})


def test_masses_of_all_texts_add_up_and_bayes_rule_follows_from_them():
    space = load(LETTERS, text="word", given="kind,score", rare=1).space
    model = fourfold.build("autoregressive", space, size="xs").eval()
    conditions, names = classes_of(space)
    assert names[:2] == ("x, 1", "x, 2")
    assert len(names) == 6
    every, _ = space.support(1, 0.0)
    nats = torch.stack([model.log_prob(every, c).nats for c in conditions], 1).double()
    assert torch.allclose(nats.exp().sum(0), torch.ones(6, dtype=torch.float64), atol=1e-5)
    prior = torch.tensor([0.3, 0.2, 0.1, 0.1, 0.1, 0.2])
    joint = nats.exp() * prior
    assert torch.allclose(class_probabilities(model, every, prior), joint / joint.sum(1, keepdim=True), atol=1e-6)


def test_masked_diffusion_bounds_the_masses_of_texts_and_ends_what_it_draws(tmp_path: Path):
    """Its law of ids gives some mass to letters behind an end, and draws are read up to their end."""
    fourfold.fit(
        "diffusion/masked",
        pd.concat([LETTERS] * 20),
        given="kind",
        data_options={"text": "word", "rare": 1},
        size="xs",
        budget="200 steps",
        out=tmp_path / "run",
    )
    run_of = fourfold.Run.load(tmp_path / "run")
    space, model = run_of.model.space, run_of.model
    conditions, names = classes_of(space)
    every, _ = space.support(1, 0.0)
    nats = torch.stack([model.log_prob(every, c, seed=0).nats for c in conditions], 1).double()
    assert bool((nats.exp().sum(0) <= 1.02).all())
    draws = run_of.sample(400, seed=0, given=pd.DataFrame({"kind": ["x", "y"] * 200}))
    space.check(draws)
    words = [space.show(ids) for ids in draws]
    x, y = (pd.Series(words[k::2]).value_counts(normalize=True) for k in range(2))
    assert names[:2] == ("x", "y")
    assert x["ab"] + x["b"] > 0.9
    assert y["a"] > 0.9
    assert float(nats[[space.show(ids) == "a" for ids in every], 1].exp()) > 0.9


def test_only_few_conditions_are_classes():
    assert classes_of(load(LETTERS, space="lines", text="word").space)[1] == ()
    wide = LETTERS.assign(score=range(0, 4000, 100))
    assert not classes_of(load(wide, text="word", given="score").space)[1]


@pytest.mark.agreement
def test_training_finds_the_masses_of_a_closed_form_and_its_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Letters that are "a" with probability p_c, as many as a geometric law of mean 1/q_c says."""
    generator = torch.Generator().manual_seed(0)
    p, q, n = torch.tensor([0.2, 0.7]), torch.tensor([0.5, 0.25]), 6000
    kind = torch.randint(2, (n,), generator=generator)
    counts = torch.log(torch.rand(n, generator=generator)).div(torch.log1p(-q[kind])).floor().long().clamp(max=12)
    draws = torch.rand(n, 12, generator=generator) < p[kind, None]
    texts = ["".join("ba"[int(a)] for a in row[:k]) for row, k in zip(draws, counts, strict=True)]
    pd.DataFrame({"text": texts, "kind": [("few", "many")[k] for k in kind]}).to_csv(tmp_path / "t.csv", index=False)

    data, folder, reading = tmp_path / "t.csv", tmp_path / "r", {"text": "text"}
    result = fourfold.fit(
        "autoregressive", data, given="kind", data_options=reading, size="xs", budget="400 steps", out=folder
    )
    ones = (draws & (torch.arange(12) < counts[:, None])).sum(1)[:, None]
    log_p = ones * p.log() + (counts[:, None] - ones) * (1 - p).log() + counts[:, None] * (1 - q).log()
    log_p = log_p + torch.where(counts[:, None] < 12, q.log(), 0.0)  # log p(text | c) of both kinds, (n, 2)
    truth = log_p[torch.arange(n), kind]
    frame = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    nats = result.log_prob(texts, given=frame[["kind"]]).nats
    assert abs(float((truth - nats).mean())) < 0.03
    posterior = class_probabilities(result.model, result.model.space.parse(texts))
    assert float((posterior - log_p.double().softmax(1)).abs().mean()) < 0.05

    rows, out = tmp_path / "rows.csv", tmp_path / "s.csv"
    rows.write_text("kind\nmany\nfew\n")
    run(["sample", str(folder), "--given", str(rows), "-n", "500", "--out", str(out)])
    drawn = pd.read_csv(out, keep_default_na=False)
    lengths = drawn["text"].astype(str).str.len().groupby(drawn["kind"]).mean()
    expected = {"few": float((1 - q[0]) / q[0]), "many": float((1 - q[1]) / q[1])}
    assert all(abs(lengths[name] - value) < 0.45 for name, value in expected.items())
    capsys.readouterr()
    run(["classify", str(folder), str(data)])
    best = float((log_p.argmax(1) == kind).float().mean())
    assert f"{best:.2f}"[:3] in capsys.readouterr().out
