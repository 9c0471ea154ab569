"""What losses compare, by the values that enter them, whatever the names are."""

import ast

import pytest

from fourfold_atlas.evidence import Claim
from fourfold_atlas.flow import compared
from fourfold_atlas.losses import computing, entering
from fourfold_atlas.sources import modern, parsed

ADDED = """
class Process(nn.Module):
    def forward(self, a):
        b = torch.randn_like(a)
        c = self.root[k] * a + self.rest[k] * b
        return self.criterion(b, self.net(c, k / 9))
"""
APART = """
def corrupt(a, b):
    return torch.sqrt(w[b]) * a + torch.sqrt(1 - w[b]) * torch.randn_like(a)

def step(a):
    c = torch.randint(0, 9, (len(a),))
    loss = ((net(corrupt(a, c), c) - a) ** 2).mean()
    loss.backward()
"""
BETWEEN = """
def step(a):
    b, c = torch.randn_like(a), torch.rand(len(a), 1)
    loss = F.mse_loss(net(c * a + (1 - c) * b, c), a - b)
    loss.backward()
"""
SLICED = """
def loss(self, wave):
    codes = tf.one_hot(wave, 256)
    out = tf.nn.conv1d(tf.slice(codes, [0, 0, 0], [-1, width, -1]), kernel)
    loss = tf.nn.softmax_cross_entropy_with_logits(logits=out, labels=tf.slice(codes, [0, 9, 0], [-1, -1, -1]))
    return tf.reduce_mean(loss)
"""
JUDGED = """
def step(features, labels):
    out = net(features)
    loss = F.nll_loss(out[part], labels[part])
    loss.backward()
"""
RESTORED = """
def step(a):
    loss = F.mse_loss(net(a), a)
    loss.backward()
"""


@pytest.mark.parametrize(
    ("source", "claims"),
    [
        (ADDED, [Claim.DENOISE]),
        (APART, [Claim.DENOISE]),
        (BETWEEN, [Claim.VELOCITY]),
        (SLICED, [Claim.NEXT_PIECE]),
        (JUDGED, [Claim.LABELS]),
        (RESTORED, []),
    ],
)
def test_the_values_that_a_loss_compares_tell_its_objective(source, claims):
    assert [row.claim for row in compared({"a.py": ast.parse(source)}, ["a.py"])] == claims


def test_noise_that_a_function_of_another_file_adds_is_followed():
    process, step = APART.split("\n\n")
    rows = compared({"process.py": ast.parse(process), "train.py": ast.parse(step)}, ["train.py"])
    assert [(row.claim, row.where) for row in rows] == [(Claim.DENOISE, "train.py:3")]


def test_a_gradient_that_is_given_to_backward_is_no_loss():
    lines = computing(ast.parse("cost = critic(fake)\ncost.backward(minus_one)\n"))
    assert lines == {1: "cost = critic(fake)"}
    assert computing(ast.parse("cost = critic(fake)\naccelerator.backward(cost)\n")) == lines


def test_a_session_that_fetches_a_loss_does_not_compute_it():
    train = "def train_step(self):\n    loss, out = self.sess.run([self.loss, self.out])\n    return loss\n"
    assert computing(ast.parse(train)) == {}


def test_the_terms_of_a_loss_are_followed_into_the_functions_that_compute_them():
    train = ast.parse("loss = -model.likelihood(x).mean()\nloss.backward()\n")
    flow = ast.parse("def likelihood(self, x):\n    z, scale = self(x)\n    return base(z) + scale.sum(-1)\n")
    assert computing(flow) == {}
    assert computing(flow, entering([train, flow])) == {2: "return base(z) + scale.sum(-1)"} | {
        3: "return base(z) + scale.sum(-1)"
    }


def test_a_source_of_python_2_is_read_line_by_line():
    old = "x = a.cuda(async=True)\nprint 'x', x\ntry:\n    f()\nexcept IOError, e:\n    print >>log, e\nmode = 0755\n"
    assert parsed(old) is None
    tree = parsed(modern(old))
    assert [node.lineno for node in tree.body] == [1, 2, 3, 7]
    assert modern("x = 1\n") == "x = 1\n"
    assert modern("def f(:\n") == "def f(:\n"
