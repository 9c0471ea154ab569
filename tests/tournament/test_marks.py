"""Each kind of likelihood has a mark of its own, which turns with the unit."""

import pytest

from fourfold.metrics import Measurement
from fourfold.tournament.entries import mark
from fourfold.vocabulary import Kind


@pytest.mark.parametrize(
    ("kind", "nats", "bits"),
    [
        (Kind.EXACT, "=", "="),
        (Kind.LOWER_BOUND, "≥", "≤"),
        (Kind.ESTIMATE, "≈", "≈"),
        (Kind.ESTIMATED_BOUND, "≳", "≲"),
        (Kind.UNNORMALISED, "~", "~"),
        (Kind.NONE, "", ""),
    ],
)
def test_a_bound_on_the_likelihood_is_one_from_the_other_side_in_bits(kind: Kind, nats: str, bits: str) -> None:
    assert mark(Measurement("likelihood", 1.0, unit="nats", better="higher", kind=kind)) == nats
    assert mark(Measurement("likelihood", 1.0, unit="bits/dim", better="lower", kind=kind)) == bits


def test_every_kind_but_none_has_a_mark_of_its_own() -> None:
    marks = [mark(Measurement("likelihood", 1.0, better="lower", kind=kind)) for kind in Kind if kind is not Kind.NONE]
    assert len(set(marks)) == len(marks)
