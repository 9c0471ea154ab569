"""The U-Net of clips: what mixes frames and what does not, sizes, precision, start."""

import pytest
import torch

from fourfold.core import configuration, construct, unknown_like
from fourfold.nn.reading.labels import LabelReading
from fourfold.nn.reading.pictures import PictureReading
from fourfold.spaces import Images
from fourfold_video.networks import VideoUNet

SMALL = {"widths": (8, 8), "blocks": (2, 1), "heads": 2, "patch": 2}


def network(frames: int, shaken: bool = True, **settings) -> VideoUNet:
    torch.manual_seed(0)
    net = VideoUNet((frames, 8, 8), frames, **{**SMALL, **settings})
    for p in net.parameters():
        p.data.add_(0.1 * shaken * torch.randn_like(p))
    return net.double()


@torch.no_grad()
def without_attention(net: VideoUNet) -> VideoUNet:
    """Close the gates of the transformer, and forget when a frame is."""
    for block in net.trunk:
        block.modulation.weight.zero_()
        block.modulation.bias.zero_()
    net.moment.zero_()
    return net


@pytest.mark.parametrize("span", [1, 2])
def test_frames_are_apart_where_layers_of_time_are_the_identity(span):
    """A clip is then the same network applied to every frame, or to every group of ``span`` frames."""
    net, single = without_attention(network(6, span=span)), network(span, span=span)
    for block in [*net.down, *net.up]:
        torch.nn.init.zeros_(block.time.weight[:, :, ::2])  # only the frame itself
    single.load_state_dict({**net.state_dict(), "moment": net.moment[:1]})
    x, tau = torch.randn(3, 6, 8, 8).double(), torch.randn(3)
    each = torch.cat([single(part, tau) for part in x.split(span, 1)], 1)
    assert torch.allclose(net(x, tau), each, atol=1e-5)


def test_a_clip_later_in_time_is_denoised_as_before():
    """Convolutions do not know when it is: far from both ends, a shift of the input is one of the output."""
    net, x, tau = without_attention(network(14, span=1)), torch.randn(1, 14, 8, 8).double(), torch.zeros(1)
    base, later = net(x, tau), net(x.roll(1, 1), tau)
    assert torch.allclose(base[:, 4:9], later[:, 5:10], atol=1e-5)
    assert not torch.allclose(base[:, :1], later[:, 1:2], atol=1e-3)


def test_how_far_frames_see():
    """Each of the four convolutions in time sees one frame further; attention sees all."""
    net, x, tau = network(12, span=1), torch.zeros(1, 12, 8, 8).double(), torch.zeros(1)
    changed = x.clone()
    changed[:, 0] += 1
    seen = (net(changed, tau) - net(x, tau)).abs().amax((0, 2, 3)) > 1e-7
    assert seen.all()
    without_attention(net)
    seen = (net(changed, tau) - net(x, tau)).abs().amax((0, 2, 3)) > 1e-7
    assert seen.tolist() == [True] * 5 + [False] * 7


def test_frames_and_sizes_that_do_not_fit_are_extended_by_edge_values():
    net, wide = (VideoUNet((3 * frames, h, w), frames, span=2, **SMALL) for frames, h, w in ((5, 5, 9), (6, 8, 12)))
    torch.nn.init.normal_(net.head.weight)
    wide.load_state_dict(net.state_dict())
    x = torch.randn(2, 15, 5, 9)
    clips = torch.cat([x, x[:, -3:]], 1)
    extended = torch.nn.functional.pad(clips, (0, 3, 0, 3), mode="replicate")
    torch.testing.assert_close(net(x, torch.zeros(2)), wide(extended, torch.zeros(2))[:, :15, :5, :9])


def test_padding_does_not_shift_what_it_cuts_back():
    net = without_attention(network(4, span=2))
    x = torch.randn(1, 4, 8, 32).double()
    net.place.data = net.place.data[:1].expand(16, -1)
    whole, part = net(x, torch.zeros(1)), net(x[..., :29], torch.zeros(1))
    assert torch.allclose(whole[..., :8], part[..., :8], atol=1e-5)


def test_it_starts_at_zero_and_depends_on_everything_after_a_step():
    x, tau, cond = torch.randn(4, 4, 8, 8).double(), torch.tensor([0.0, 0.3, -0.4, 1.0]), torch.tensor([0, 1, 2, -1])
    assert network(4, shaken=False, reading=LabelReading(3))(x, tau, cond).abs().max() == 0
    net = network(4, reading=LabelReading(3))
    base = net(x, tau, cond)
    assert not torch.allclose(base, net(x, tau + 0.1, cond))
    assert not torch.allclose(base[:3], net(x, tau, None)[:3])
    assert torch.allclose(base[3], net(x, tau, None)[3], atol=1e-6)
    assert net.bfloat16()(x, tau, cond).dtype == torch.float32


def test_the_input_reaches_the_output_by_a_factor_of_the_noise_level():
    net, x, tau = network(4), torch.randn(2, 4, 8, 8), torch.tensor([-0.5, 0.5])
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    factors = (net(x, tau) / x).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-4)
    assert (factors[0, 0] - factors[1, 0]).abs() > 1e-3


def test_configuration_rebuilds_the_network():
    net = VideoUNet((6, 8, 8), 2, span=2, reading=LabelReading(4), **SMALL)
    again = construct(configuration(net))
    assert configuration(again) == configuration(net)
    again.load_state_dict(net.state_dict())


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="width 8 and 3 heads"):
        VideoUNet((2, 8, 8), 2, widths=(8, 8), heads=3)


@torch.no_grad()
def test_the_network_reads_the_maps_of_each_picture_alone():
    """With the vector put out, outputs still follow the picture. Unknown pictures are as none, and rows do not mix."""
    given = PictureReading((1, 4, 4), 17, 4, 4)
    torch.manual_seed(0)
    net = VideoUNet((3, 7, 9), 3, (8, 8), (1, 1), 1, 2, 2, given).eval()
    for p in net.parameters():
        p.add_(0.3 * torch.randn_like(p))
    given.forward = lambda cond, batch: given.unknown.repeat(batch, 1)
    c = Images(1, 4, 4, n_values=17).examples(3, torch.Generator().manual_seed(0)).to(torch.int16)
    x, tau = torch.randn(3, 3, 7, 9), torch.tensor([0.1, 0.5, 0.9])
    out = net(x, tau, c)
    assert (out - net(x, tau, c.roll(1, 0))).abs().flatten(1).amax(1).min() > 1e-4
    mixed = net(x, tau, torch.stack([c[0], unknown_like(c[1]), c[1]]))
    torch.testing.assert_close(mixed[:2], torch.stack([out[0], net(x, tau)[1]]), atol=1e-5, rtol=1e-4)
