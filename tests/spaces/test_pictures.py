"""Pictures hold the examples they show."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fourfold.core import Cloud, Excerpts, Sheet, Space
from fourfold.metrics import Draws, References, choose_draws
from fourfold.spaces import Categorical, Categories, Images, Numeric, Table, Text, Vectors
from fourfold.spaces.columns import MISSING
from fourfold.spaces.images import MOST_BYTES
from fourfold.spaces.vectors import SHOWN, Plane


def sheet(space: Images, x: torch.Tensor, **settings) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(space.picture(x, **settings).png)))


def references(train: torch.Tensor, test: torch.Tensor, cond: torch.Tensor | None = None) -> References:
    return References(Draws(train, torch.arange(len(test))[None]), test, cond, train, train)


def test_a_grid_holds_the_images_in_rows() -> None:
    x = torch.randint(17, (20, 1, 8, 8)).to(torch.uint8)
    picture = sheet(Images(1, 8, 8, n_values=17), x, columns=4)
    assert picture.shape == (5 * 9 - 1, 4 * 9 - 1, 4)
    expected = (x[5, 0].float() * 255 / 16).round().numpy()
    assert (picture[9:17, 9:17, 0] == expected).all()
    assert (picture[8, :, 3] == 0).all()  # gaps take the colour of the page
    assert sheet(Images(1, 8, 8, n_values=17), x).shape == (4 * 9 - 1, 6 * 9 - 1, 4)


def test_classes_stand_in_their_order() -> None:
    cond = torch.tensor([3, 0, 2, 1])
    x = (50 * cond).to(torch.uint8)[:, None, None, None].expand(4, 1, 4, 4)
    picture = sheet(Images(1, 4, 4, given=Categories.numbered(4)), x, references=references(x, x, cond))
    assert picture[0, ::5, 0].tolist() == [0, 50, 100, 150]


def test_large_images_leave_rows_out() -> None:
    x = torch.randint(256, (36, 3, 200, 200)).to(torch.uint8)
    assert len(Images(3, 200, 200).picture(x).png) < 6 * MOST_BYTES
    assert sheet(Images(3, 200, 200), x).shape[0] == 200
    assert len(Images(3, 64, 64).picture(x[:, :, :64, :64]).png) <= MOST_BYTES


def test_pairs_are_two_rows() -> None:
    x = torch.zeros(3, 3, 24, 24, dtype=torch.uint8)
    assert sheet(Images(3, 24, 24), torch.cat([x, x]), columns=3).shape == (2 * 26 - 2, 3 * 26 - 2, 4)
    assert sheet(Images(3, 24, 24), torch.cat([x[:1], x[:1]]), columns=1).shape == (2 * 26 - 2, 24, 4)


def test_the_nearest_training_image_is_found() -> None:
    train = torch.randint(256, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    x = (train[[7, 3]].int() + 1).clamp(max=255).to(torch.uint8)
    assert torch.equal(Images(1, 4, 4).nearest(x, train), train[[7, 3]])
    assert Vectors(2).nearest(torch.zeros(1, 2), torch.zeros(3, 2)) is None


def test_a_plane_keeps_two_columns_and_projects_more() -> None:
    x = torch.randn(50, 2) * 3 + 1
    assert torch.allclose(Plane(x)(x), x.double(), atol=1e-5)
    y = torch.randn(200, 5)
    flat = Plane(y)(y)
    assert flat.shape == (200, 2)
    assert flat.var(0)[0] >= flat.var(0)[1]
    assert Plane(torch.randn(30, 1))(torch.randn(3, 1)).shape == (3, 2)


def test_vectors_are_points_before_the_data_in_the_plane_of_the_training_set() -> None:
    train, test, x = torch.randn(1000, 2), torch.randn(900, 2) + 1, torch.randn(850, 2)
    cloud = Vectors(2, ("a", "b")).picture(x, references(train, test))
    assert isinstance(cloud, Cloud)
    assert torch.allclose(cloud.points, x[:SHOWN].double(), atol=1e-5)
    assert torch.allclose(cloud.behind, test[:SHOWN].double(), atol=1e-5)
    assert cloud.names == ("a", "b")
    assert cloud.box == Plane(train).box
    alone = Vectors(3).picture(torch.randn(9, 3))
    assert alone.points.shape == (9, 2)
    assert alone.behind.shape == (0, 2)


def test_texts_are_excerpts_and_any_other_space_shows_its_numbers() -> None:
    space = Text("ab", 3)
    assert space.picture(torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0]])) == Excerpts(("abb", "bba"))
    assert Space.picture(space, torch.tensor([[0, 1, 1]])) == Excerpts(("tensor([0, 1, 1])",))
    assert isinstance(Images(1, 2, 2).picture(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)), Sheet)


def test_a_table_shows_columns_beside_the_data_and_says_what_is_wrong():
    space = Table(
        (
            Categorical("kind", categories=tuple("abcdefghijklmnop<"), missing=True),
            Numeric("low", "int64", low=0, high=90),
            Numeric("high", "int64", low=0, high=99),
            Numeric("zeros", "float64", resolution=0.01, low=0, high=10**6, decimals=2),
        )
    )
    g = torch.Generator().manual_seed(0)

    def rows(n: int) -> torch.Tensor:
        kind = (17 * torch.rand(n, generator=g) ** 3).long()
        low = torch.randint(91, (n,), generator=g)
        high = low + torch.randint(10, (n,), generator=g)
        zeros = torch.where(torch.rand(n, generator=g) < 0.8, 0, torch.randint(10**6, (n,), generator=g))
        return torch.stack([torch.where(low > 80, MISSING, kind), low, high, zeros], 1)

    train, test, fresh = rows(600), rows(200), rows(100)
    of = References(choose_draws(train, 200), test, None, fresh, train)
    shuffled = torch.stack([column[torch.randperm(200, generator=g)] for column in rows(200).T], 1)
    x = torch.cat([shuffled[:150], train[:50]])
    details = {title.partition(":")[0]: picture for title, picture in space.details(x, of)}
    bars = details["Columns"].bars
    assert [bar.name for bar in bars] == ["kind", "low", "high", "zeros"]
    for bar in bars:
        assert sum(bar.samples) == pytest.approx(1)
        assert sum(bar.data) == pytest.approx(1)
        assert len(bar.labels) == len(bar.samples) == len(bar.data)
    assert bars[0].labels[-2:] == ("6 other categories", "missing")
    assert bars[3].data[0] > 0.7
    assert bars[3].labels[0].startswith("0.0")
    matrices = dict(details["Association of columns"].matrices)
    assert matrices["data"][1][2] > 0.9 > 0.5 > matrices["samples"][1][2] > 0
    assert details["Rules of all training rows that samples break most"].rows[0][0] == "low ≤ high"
    leaks = details["Samples (first) closest to a training row (second), closer than to any test row"]
    assert leaks.rows[0] == leaks.rows[1]
    assert "low and high" in details
    for picture in details.values():
        page = picture._repr_html_()
        assert "nan" not in page
        assert "<script" not in page
        assert "<</" not in page
    card = space.picture(x, of)
    assert [bar.name for bar in card.bars] == [bar.name for bar in sorted(bars, key=lambda b: b.score)]
    assert space.picture(x[:3]).rows[0][1] == str(x[0, 1].item())
    alone = space.picture(of.test, of)
    assert all(not bar.data for bar in alone.bars)
