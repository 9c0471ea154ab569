"""Pictures hold the examples they show."""

import base64
import io

import numpy as np
import torch
from PIL import Image

from fourfold.spaces import Images
from fourfold.tournament.pictures import MOST_BYTES, Plane, grid, pairs


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_grid_holds_the_images_in_rows() -> None:
    x = torch.randint(17, (20, 1, 8, 8)).to(torch.uint8)
    sheet = decoded(grid(x, Images(1, 8, 8, levels=17), columns=4))
    assert sheet.shape == (4 * 9 - 1, 4 * 9 - 1, 4)
    expected = (x[5, 0].float() * 255 / 16).round().numpy()
    assert (sheet[9:17, 9:17, 0] == expected).all()


def test_large_images_leave_rows_out() -> None:
    x = torch.randint(256, (36, 3, 200, 200)).to(torch.uint8)
    assert len(grid(x, Images(3, 200, 200))) < 6 * MOST_BYTES
    assert len(grid(x[:, :, :64, :64], Images(3, 64, 64))) < 1.4 * MOST_BYTES


def test_pairs_are_two_rows() -> None:
    x = torch.zeros(5, 3, 24, 24, dtype=torch.uint8)
    assert decoded(pairs(x, x[:3], Images(3, 24, 24))).shape == (2 * 26 - 2, 3 * 26 - 2, 4)


def test_a_plane_keeps_two_columns_and_projects_more() -> None:
    x = torch.randn(50, 2) * 3 + 1
    assert torch.allclose(Plane(x)(x), x.double(), atol=1e-5)
    y = torch.randn(200, 5)
    flat = Plane(y)(y)
    assert flat.shape == (200, 2)
    assert flat.var(0)[0] >= flat.var(0)[1]
    assert Plane(torch.randn(30, 1))(torch.randn(3, 1)).shape == (3, 2)
