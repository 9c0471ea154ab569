"""Which samples a conditional model is measured by."""

import dataclasses

import torch

from fourfold import build
from fourfold.core import Space
from fourfold.data import Dataset, Split
from fourfold.metrics import choose_draws
from fourfold.spaces import Categories, Images, Together, Vectors
from fourfold.tasks.conditional_quality import DRAWS, FEWEST, SHOWN, draw_given, measure_draws, measure_pairs
from fourfold.tasks.evaluation import evaluate, examples


def dataset_of(space: Space, x: torch.Tensor, cond: torch.Tensor) -> Dataset:
    m = len(x) // 3
    splits = [Split(x[i * m : (i + 1) * m], cond[i * m : (i + 1) * m]) for i in range(3)]
    return Dataset(
        name="pairs", space=space, train=splits[0], validation=splits[1], test=splits[2], digest="", source=""
    )


def vectors(n: int = 180) -> Dataset:
    torch.manual_seed(0)
    cond = torch.randn(n, 2)
    return dataset_of(Vectors(2, given=Vectors(2)), cond + torch.randn(n, 2), cond)


def test_draws_are_those_of_the_conditions_of_their_test_examples() -> None:
    dataset = vectors()
    references, model = examples(dataset), build("flow", dataset.space, "xs")
    draws = draw_given(model, dataset, references, seed=3)
    assert draws is not None
    assert draws.judged
    assert draws.x.shape == (FEWEST, DRAWS, 2)
    assert references.cond is not None
    every = references.cond[draws.rows].repeat_interleave(DRAWS, 0)
    torch.testing.assert_close(draws.x.flatten(0, 1), model.sample(len(every), every, 3))


def test_unknown_conditions_are_left_out_and_categories_are_shown_only() -> None:
    dataset = vectors()
    model, references = build("flow", dataset.space, "xs"), examples(dataset)
    assert references.cond is not None
    cond = references.cond.clone()
    cond[::2] = torch.nan
    draws = draw_given(model, dataset, dataclasses.replace(references, cond=cond))
    assert draws is not None
    assert bool((draws.rows % 2 == 1).all())

    labels = torch.arange(180) % 3
    labelled = dataset_of(Vectors(2, given=Categories.numbered(3)), dataset.train.x.repeat(3, 1), labels)
    draws = draw_given(build("flow", labelled.space, "xs"), labelled, examples(labelled))
    assert draws is not None
    assert draws.x.shape == (SHOWN, SHOWN, 2)
    assert measure_draws(draws, labelled, examples(labelled)) == []


def test_an_evaluation_has_the_measures_and_an_unconditional_one_has_not() -> None:
    dataset = vectors()
    scores = evaluate(build("flow", dataset.space, "xs"), dataset, likelihood_examples=8)
    names = {score.name.partition("[")[0] for score in scores}
    conditional = {"pairs_mmd²", "pairs_auc", "energy_score", "crps", "interval_coverage", "rank_deviation"}
    assert conditional <= names
    plain = dataclasses.replace(dataset, space=dataset.space.conditioned_on(None))
    scores = evaluate(build("flow", plain.space, "xs"), plain, likelihood_examples=8)
    assert not conditional & {score.name.partition("[")[0] for score in scores}


def test_the_floor_of_pairs_has_the_own_conditions_of_training_examples() -> None:
    dataset = vectors()
    draws = choose_draws(dataset.train.x, 30, dataset.train.cond, dataset.test.cond)
    assert draws.cond is not None
    assert dataset.train.cond is not None
    for x, cond in zip(draws.pool, draws.cond, strict=True):
        row = (dataset.train.x == x).all(1).nonzero().item()
        assert torch.equal(dataset.train.cond[row], cond)


def test_draws_of_the_floor_have_the_conditions_of_the_samples_where_training_examples_have_them() -> None:
    labels = torch.tensor([[0, 1], [2, 3], [0, 1], [2, 3]] * 30)
    targets = torch.tensor([[2, 3], [0, 1], [9, 9]] * 5)
    draws = choose_draws(torch.arange(120.0), 15, labels, targets)
    assert draws.cond is not None
    for rows in draws.rows:
        assert torch.equal(draws.cond[rows][:2], targets[:2])


def test_pairs_with_several_conditions_at_once_notice_shuffling() -> None:
    torch.manual_seed(0)
    given = Together((Images(1, 3, 3), Categories.numbered(3)))
    images, labels = torch.randint(256, (900, 1, 3, 3)).to(torch.uint8), torch.randint(3, (900,))
    x = torch.stack([images.float().mean((1, 2, 3)) / 40, 2.0 * labels], 1) + 0.2 * torch.randn(900, 2)
    dataset = dataset_of(Vectors(2, given=given), x, given.join([images, labels]))
    references = examples(dataset)
    right, wrong = (measure_pairs(references.test[rows], dataset, references) for rows in (..., torch.randperm(300)))
    for a, b in zip(right, wrong, strict=True):
        assert b.ranked().low > a.ranked().high, (str(a), str(b))
