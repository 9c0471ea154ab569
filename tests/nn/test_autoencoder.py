"""Networks between images and maps of codes: shapes at any size, locality, and critics of patches."""

import pytest
import torch

from fourfold.nn.autoencoder import MapDecoder, MapEncoder, PatchCritic
from fourfold.nn.pyramid import code_size


def test_decoded_images_are_cut_to_size():
    narrow, wide = MapDecoder(3, (1, 7, 10), 2, 8, 1, 8), MapDecoder(3, (1, 8, 16), 2, 8, 1, 8)
    wide.load_state_dict(narrow.state_dict())
    codes = torch.randn(2, 3, *code_size((1, 7, 10), 8))
    torch.testing.assert_close(narrow(codes), wide(codes)[:, :, :7, :10])


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


def test_a_critics_number_is_of_its_patch():
    """With three layers and patches of 2 pixels, a number depends on 44 pixels along each side at most."""
    critic, x = PatchCritic((1, 64, 63), 8), torch.zeros(1, 1, 64, 63)
    y = x.clone()
    y[..., :2, :2] = 1
    (first, maps), (second, _) = critic(x), critic(y)
    changed = (first != second)[0]
    assert changed.shape == maps[-1].shape[2:] == (8, 8)
    assert changed[0, 0]
    assert not changed[4:].any()
    assert not changed[:, 4:].any()


def test_refusals():
    with pytest.raises(ValueError, match="power of 2"):
        MapEncoder((1, 8, 8), 2, factor=3)
