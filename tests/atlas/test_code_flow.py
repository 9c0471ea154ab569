"""What losses compare, by the values that enter them, whatever the names are."""

import ast

import pytest

from fourfold_atlas.calls import reached
from fourfold_atlas.evidence import Claim
from fourfold_atlas.flow import compared
from fourfold_atlas.losses import computing, contrasting, entering
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
#: a part of the pieces, chosen by a draw, is hidden from the network
HIDDEN = """
def hide(a):
    b = a.clone()
    b[torch.rand(a.shape) < 0.5] = 9
    return b

def pick(kind):
    if kind == "l1":
        return nn.L1Loss()
    return nn.CrossEntropyLoss()

class Trainer:
    def __init__(self):
        self.compare = pick("cross_entropy")

    def step(self, a):
        loss = self.compare(self.net(hide(a)).view(-1, 9), a.view(-1))
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
        (HIDDEN, [Claim.MASKED_BOUND]),
        (HIDDEN.replace("b[torch.rand(a.shape) < 0.5] = 9", "b[0] = 9"), [Claim.NEXT_PIECE]),
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


def test_a_function_that_propagates_its_argument_back_is_followed_under_its_shorter_name():
    send = "def send(half, cost):\n    cost.backward()\n\n"
    train = "def train(x):\n    back = partial(send, half)\n    cost = critic(fake(x))\n    back(cost, 1)\n"
    assert computing(ast.parse(send + train))[6] == "cost = critic(fake(x))"
    assert 6 not in computing(ast.parse(send.replace("cost.backward", "cost.detach") + train))
    assert {4, 7} <= set(reached({"a.py": ast.parse(send + train)})["a.py"])


def test_a_method_that_computes_a_loss_which_another_propagates_is_a_step():
    source = (
        "class Game:\n"
        "    def graph(self):\n"
        "        self.cost = compare(self.net(self.x), ones)\n"
        "    def other(self):\n"
        "        self.size = 3\n"
        "    def fit(self):\n"
        "        Adam().minimize(self.cost)\n"
    )
    assert set(reached({"a.py": ast.parse(source)})["a.py"]) == {2, 3, 6, 7}


def test_correlations_in_data_less_those_in_samples_train_an_energy_by_hand():
    source = (
        "def update(self, a):\n"
        "    b = sigmoid(a @ self.w)\n"
        "    c = bernoulli(sigmoid(b @ self.w.T))\n"
        "    first = tf.matmul(tf.transpose(a), b)\n"
        "    self.w += rate * (first - tf.matmul(tf.transpose(c), b))\n"
    )
    assert contrasting(ast.parse(source)) == {5}
    assert not contrasting(ast.parse(source.replace("first - tf.matmul", "first + tf.matmul")))
    assert not contrasting(
        ast.parse("def times(a, b):\n    return mm(a.real, b.real) - mm(a.imag, b.imag) + sigmoid(a)\n")
    )


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


def test_a_line_that_breaks_a_source_says_nothing_and_the_rest_is_read():
    open_ = "x = 1\ncell = zeros(2, size(3\ndef f(y):\n    return y\n"
    assert [node.lineno for node in parsed(modern(open_)).body] == [1, 2, 3]
    moved = "def f(y):\n    y = 2\n      z = 3\n    return z\n"
    assert modern(moved) == moved.replace("      z", "    z")
    assert modern("= = =\n" * 40) == "= = =\n" * 40
