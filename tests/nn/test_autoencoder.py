"""Networks between images and maps of codes: shapes at any size, locality, and critics of patches."""

import pytest
import torch

from fourfold.nn.autoencoder import MapDecoder, MapEncoder, PatchCritic
from fourfold.nn.pyramid import code_size

SHAPES = [(1, 28, 28), (3, 7, 10), (3, 64, 48), (2, 1, 2), (1, 16, 17)]


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_become_maps_and_maps_images(shape, factor):
    encoder, decoder = MapEncoder(shape, 6, 8, 1, factor), MapDecoder(3, shape, 5, 8, 1, factor)
    codes = encoder(torch.randn(2, *shape))
    assert codes.shape == (2, 6, *code_size(shape, factor))
    assert decoder(codes[:, :3]).shape == (2, 5, *shape[1:])


def test_networks_take_the_dtype_of_their_weights_and_give_float32():
    shape, x = (1, 8, 8), torch.randn(2, 1, 8, 8)
    encoder, decoder, critic = MapEncoder(shape, 2, 8), MapDecoder(2, shape, 3, 8), PatchCritic(shape, 8)
    codes = encoder.bfloat16()(x)
    assert codes.dtype == decoder.bfloat16()(codes).dtype == critic.bfloat16()(x)[0].dtype == torch.float32


def test_what_lies_beyond_the_edge_is_the_edge():
    torch.manual_seed(0)
    narrow, wide = MapEncoder((1, 7, 10), 2, 8), MapEncoder((1, 8, 12), 2, 8)
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 1, 7, 10)
    extended = torch.nn.functional.pad(x, (0, 2, 0, 1), mode="replicate")
    torch.testing.assert_close(narrow(x), wide(extended))


def test_a_code_is_of_its_place():
    torch.manual_seed(0)
    encoder = MapEncoder((1, 64, 64), 2, 8, 1, 4)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.zeros(1, 1, 64, 64)
    y = x.clone()
    y[..., :4, :4] = 1
    changed = (encoder(x) - encoder(y)).abs().sum(1)[0] > 0
    assert changed[0, 0]
    assert not changed[8:].any()
    assert not changed[:, 8:].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_critic_gives_numbers_of_patches_and_features(shape):
    numbers, features = PatchCritic(shape, 8)(torch.randn(3, *shape))
    assert numbers.ndim == 3
    assert numbers.shape == (3, *features[-1].shape[2:])
    assert [f.shape[1] for f in features] == [8, 16, 32][: len(features)]


def test_refusals():
    with pytest.raises(ValueError, match="power of 2"):
        MapEncoder((1, 8, 8), 2, factor=3)
