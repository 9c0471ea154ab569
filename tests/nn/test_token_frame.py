"""Rows of tokens as categories and places: taken apart and put together again."""

import torch

from fourfold.nn.token_mixture import _TokenFrame


def test_rows_of_tokens_come_back_from_their_parts() -> None:
    every = torch.cartesian_prod(torch.arange(3), torch.arange(5), torch.arange(4))
    places = torch.tensor([[0.0] * 5, [-2.0, -0.5, 0.0, 1.5, 0.0], [-1.0, 0.0, 3.0, 9.0, 0.0]])
    frame = _TokenFrame((3, 5, 4), ordered=(1, 2), missing={1}, places=places)
    assert torch.equal(frame.raw(frame.parts(every)), every)
    nearest = frame.parts(every[:1])._replace(values=torch.tensor([[1.2, 7.0]], dtype=torch.float64))
    assert frame.raw(nearest).tolist() == [[0, 3, 3]]
