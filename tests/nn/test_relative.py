"""Tokens relative to the nearest known ones: found by hand, and logits that move with them."""

import torch

from fourfold.nn.relative import GAPS, RelativeHeads, RelativeSteps, bumps, nearest


def test_the_nearest_known_tokens_are_those_that_a_search_finds():
    random = torch.Generator().manual_seed(0)
    x = torch.randint(9, (3, 12, 2), generator=random)
    observed_mask = torch.rand(x.shape, generator=random) < 0.3
    neighbours = nearest(x, observed_mask, 2)
    for b, t, c in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        for side, rows in enumerate((range(t - 1, -1, -1), range(t + 1, 12))):
            at = next((s for s in rows if observed_mask[b, s, c]), None)
            token, gap = neighbours[b, t, c, side].tolist()
            assert token == (-1 if at is None else x[b, at, c])
            if at is not None:
                assert gap == min(abs(t - at).bit_length() - 1, GAPS - 1)
    assert torch.equal(nearest(x, observed_mask, 1), neighbours[:, :, :, :1])


def test_an_untrained_head_is_a_walk_that_moves_with_its_anchor():
    """Nearly 1 / |d|, the anchor most likely; nothing without an anchor; nothing leads to "missing"."""
    head = RelativeHeads((101, 5), [[0], [1]], 4, {0}, {0}, 1)
    h = torch.zeros(1, 4, 4)
    near = torch.tensor([[40, 0], [50, 0], [-1, 0], [40, 3]])[:, None, None]
    logits = head(0, h, near)[0].detach()
    assert logits.argmax(1).tolist()[:2] == [40, 50]
    assert torch.allclose(logits[0, 20:60], logits[1, 30:70], atol=1e-6)
    assert (logits[2] == 0).all()
    assert (logits[:, 100] == 0).all()
    for d in (2, 6, 18):
        assert abs(logits[0, 40 + d] - logits[0, 40 + 3 * d] - torch.tensor(3.0).log()) < 0.15
    assert (head(1, h, near.clamp(max=4)) == 0).all()  # levels: learned, nothing at first


def test_categories_know_whether_they_stay():
    head = RelativeHeads((5,), [[0]], 4, (), (), 1)
    head.bias[0].data.fill_(2.0)
    logits = head(0, torch.zeros(1, 2, 4), torch.tensor([[3, 0], [-1, 0]])[:, None, None])[0]
    assert logits.tolist() == [[0, 0, 0, 2, 0], [0] * 5]


def test_steps_are_seen_and_categories_have_none():
    torch.manual_seed(0)
    steps = RelativeSteps((50, 4), 3, (0,), 1)
    near = torch.tensor([[[10, 0]], [[1, 0]]])[None]
    scores, other, alone = (
        steps(torch.tensor([[k, 2]]), near + torch.tensor([[[shift, 0]], [[0, 0]]]))
        for k, shift in ((12, 0), (22, 10), (9, -11))
    )
    assert torch.allclose(scores, other)
    assert (scores[:, 1] == 0).all()
    assert (alone == 0).all()
    assert bumps(50).shape[0] == 99
