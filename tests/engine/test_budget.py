import pytest

from fourfold.runs.budget import Epochs, FirstOf, Flops, Progress, Seconds, Steps, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("30s", Seconds(30)),
        ("10m", Seconds(600)),
        ("1h", Seconds(3600)),
        ("1.5 min", Seconds(90)),
        ("10 minutes", Seconds(600)),
        ("1h30m", Seconds(5400)),
        ("1 hour 30 minutes", Seconds(5400)),
        ("2h 5m 1s", Seconds(7501)),
        ("1d", Seconds(86400)),
        ("500ms", Seconds(0.5)),
        (90, Seconds(90)),
        (0.25, Seconds(0.25)),
        ("2000 steps", Steps(2000)),
        ("2_000steps", Steps(2000)),
        ("1 epoch", Epochs(1)),
        ("1e15 flops", Flops(1e15)),
        ("400 steps or 30s", FirstOf((Steps(400), Seconds(30)))),
    ],
)
def test_budgets_are_read(text, budget):
    assert parse_budget(text) == budget
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    "text",
    ["", "ten minutes", "0s", "5 parsecs", "-3s", "1.2.3s", "1h 20 steps", "20 steps 3 steps", 0, -1, float("nan")],
)
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match="budget"):
        parse_budget(text)


def test_a_number_alone_is_refused_with_the_units():
    with pytest.raises(ValueError, match="budget must have a unit, got '10': give 10s, 10m, '10 steps' or '10 epochs'"):
        parse_budget("10")


def test_fractions_follow_the_progress():
    progress = Progress(steps=50, seconds=4.0, last=0.1, per_epoch=20, flops=1e9)
    assert Steps(100).fraction(progress) == 0.5
    assert Seconds(8).fraction(progress) == 0.5
    assert Epochs(5).fraction(progress) == 0.5
    assert Flops(1e11).fraction(progress) == 0.5


def test_the_first_of_several_budgets_ends_the_training():
    either = parse_budget("10 steps or 1s")
    slow, quick = Progress(steps=3, seconds=0.9, last=0.3), Progress(steps=9, seconds=0.09, last=0.01)
    assert either.fraction(slow) == 0.9
    assert either.is_over(slow)
    assert either.fraction(quick) == 0.9
    assert not either.is_over(quick)
    assert either.is_over(Progress(steps=10, seconds=0.1, last=0.01))
    assert either.part(0.5) == parse_budget("5 steps or 0.5s")
    assert (either.seconds, Steps(3).seconds) == (1.0, float("inf"))
    assert parse_budget("2 epochs or 1e9 flops").operations == 1e9


def test_a_step_is_not_begun_if_most_of_it_overshoots():
    assert Seconds(1).is_over(Progress(steps=9, seconds=0.96, last=0.1))
    assert not Seconds(1).is_over(Progress(steps=9, seconds=0.94, last=0.1))
    assert not Steps(10).is_over(Progress(steps=9))
    assert Steps(10).is_over(Progress(steps=10))
    assert not Seconds(1).is_over(Progress(seconds=7.0))  # timing may have used it up: one step is taken all the same
