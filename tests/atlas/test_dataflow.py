"""Losses read by what they compare: roles of names, never run."""

import ast

import pytest

from fourfold.atlas.dataflow import facts
from fourfold.atlas.evidence import Claim

CASES = {
    "a noised example against itself": (
        """
def loss(net, images):
    sigma = torch.rand(len(images)).exp()
    n = torch.randn_like(images) * sigma
    answer = net(images + n, sigma)
    return (answer - images) ** 2
""",
        {Claim.DENOISE},
    ),
    "a noised example against a difference": (
        """
x0 = torch.randn_like(x1)
x_mid = (1 - t) * x0 + t * x1
loss = F.mse_loss(model(x_mid, t), x1 - x0)
""",
        {Claim.VELOCITY},
    ),
    "an example against its label": (
        """
criterion = nn.MSELoss()
for i, (a, b) in enumerate(loader):
    loss = criterion(model(a), b)
""",
        {Claim.REGRESSION},
    ),
    "an example against itself": (
        "for img, _ in loader:\n    out = model(img)\n    loss = F.mse_loss(out, img)\n",
        {Claim.REBUILD},
    ),
    "the earlier pieces against the later, through a helper": (
        """
def batch(source, i):
    return source[i:i + n], source[i + 1:i + 1 + n].view(-1)
def train():
    data, goal = batch(corpus, 0)
    out = model(data)
    loss = nn.CrossEntropyLoss()(out.view(-1, k), goal)
""",
        {Claim.NEXT_PIECE},
    ),
    "one judge of examples and of what noise became": (
        """
for x, _ in loader:
    z = torch.randn(8, 2)
    made = G(z)
    a, b = judge(x), judge(made)
""",
        {Claim.GAME},
    ),
    "noise added to a code is no noised example": (
        "z = mu + eps * std\nx_hat = decoder(z)\nloss = F.mse_loss(x_hat, x)\n",
        {Claim.REBUILD},
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_a_loss_compares(name):
    source, claims = CASES[name]
    assert {fact.claim for fact in facts(ast.parse(source))} == claims


def test_lines_are_those_of_the_source():
    found = facts(ast.parse("\n\nloss = F.mse_loss(model(x + noise), noise)\n"), offset=10)
    assert [fact.line for fact in found] == [13]


def test_helpers_that_call_themselves_end():
    source = "def f(x):\n    return f(model(x))\nfor x, y in loader:\n    loss = F.mse_loss(f(x), y)\n"
    assert {fact.claim for fact in facts(ast.parse(source))} <= {Claim.REGRESSION}


def test_deep_expressions_end():
    assert facts(ast.parse("y = " + "f(" * 60 + "x" + ")" * 60)) == []
