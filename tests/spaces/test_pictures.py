"""Pictures hold the examples they show."""

import io

import numpy as np
import torch
from PIL import Image

from fourfold.core import Cloud, Excerpts, Sheet, Space
from fourfold.metrics import Draws, References
from fourfold.spaces import Images, Text, Vectors
from fourfold.spaces.images import MOST_BYTES
from fourfold.spaces.vectors import SHOWN, Plane


def sheet(space: Images, x: torch.Tensor, **settings) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(space.picture(x, **settings).png)))


def references(train: torch.Tensor, test: torch.Tensor, cond: torch.Tensor | None = None) -> References:
    return References(Draws(train, torch.arange(len(test))[None]), test, cond, train, train)


def test_a_grid_holds_the_images_in_rows() -> None:
    x = torch.randint(17, (20, 1, 8, 8)).to(torch.uint8)
    found = sheet(Images(1, 8, 8, levels=17), x, columns=4)
    assert found.shape == (5 * 9 - 1, 4 * 9 - 1, 4)
    expected = (x[5, 0].float() * 255 / 16).round().numpy()
    assert (found[9:17, 9:17, 0] == expected).all()
    assert (found[8, :, 3] == 0).all()  # gaps take the colour of the page
    assert sheet(Images(1, 8, 8, levels=17), x).shape == (4 * 9 - 1, 6 * 9 - 1, 4)


def test_classes_stand_in_their_order() -> None:
    cond = torch.tensor([3, 0, 2, 1])
    x = (50 * cond).to(torch.uint8)[:, None, None, None].expand(4, 1, 4, 4)
    found = sheet(Images(1, 4, 4, classes=4), x, references=references(x, x, cond))
    assert found[0, ::5, 0].tolist() == [0, 50, 100, 150]


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
