"""The samples that a report shows are the ones that it says."""

import torch

import fourfold
from fourfold.tournament.galleries import by_likelihood, galleries, nearest_of

SPACE = fourfold.Images(1, 4, 4)
RANDOM = torch.Generator().manual_seed(0)
TRAIN = torch.randint(256, (200, 1, 4, 4), generator=RANDOM).to(torch.uint8)


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.double() - b.double()).flatten(1).norm(dim=1)


def test_the_likeliest_come_first_and_the_least_likely_first_of_their_own() -> None:
    x, nats = torch.arange(20)[:, None], torch.randn(20, generator=RANDOM)
    shown = by_likelihood(x, nats)
    order = sorted(range(20), key=lambda i: -nats[i].item())
    assert shown["likeliest"].flatten().tolist() == order[:8]
    assert shown["unlikeliest"].flatten().tolist() == order[::-1][:8]
    assert by_likelihood(x[:1], nats[:1]) == {}
    assert not {*by_likelihood(x[:5], nats[:5])["likeliest"].flatten().tolist()} & {
        *by_likelihood(x[:5], nats[:5])["unlikeliest"].flatten().tolist()
    }


def test_the_closest_are_those_that_copy_and_each_stands_above_its_neighbour() -> None:
    x = torch.randint(256, (60, 1, 4, 4), generator=RANDOM).to(torch.uint8)
    copies = [50, 3, 31]
    x[copies] = TRAIN[[7, 8, 9]]
    shown = galleries(SPACE, x, TRAIN, {"likeliest": x[10:12]})
    closest, below = shown["closest"], shown[nearest_of("closest")]
    gaps = distance(closest, below)
    assert torch.equal(gaps, gaps.sort().values)
    assert int((gaps == 0).sum()) == 3
    every = torch.cdist(x.double().flatten(1), TRAIN.double().flatten(1)).min(1).values
    assert torch.allclose(gaps, every.sort().values[:8])
    for name in ("random", "likeliest"):
        part = torch.cdist(shown[name].double().flatten(1), TRAIN.double().flatten(1)).min(1).values
        assert torch.allclose(distance(shown[name], shown[nearest_of(name)]), part)
    assert torch.equal(shown["random"], x[:8])


def test_a_space_without_neighbours_shows_samples_alone() -> None:
    points = torch.randn(30, 3, generator=RANDOM)
    assert set(galleries(fourfold.Vectors(3), points, points)) == {"random"}
