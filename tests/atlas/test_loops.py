"""The work of a loop by the value that it hands on, whatever the names are."""

import ast

import pytest

from fourfold_atlas.code import read_statements
from fourfold_atlas.evidence import Claim, Form
from fourfold_atlas.loops import drawing, handed_on

#: a piece is written into a table, of which the network reads a part in the next round
WRITTEN = """
while k < end:
    seen = table[:, k - 1 : k]
    scores = net(seen, memory)
    piece = choose.multinomial(scores, 1)
    part = table[:, k : k + 1]
    part.copy_(piece)
    k += 1
"""
APPENDED = """
for _ in range(n):
    scores = run(words, **weights)
    word = np.argmax(scores[-1])
    words.append(int(word))
"""
#: guidance doubles the pieces, and those that are masked are drawn anew
REVEALED = """
for k in range(rounds):
    scores = net(torch.cat([c, c]))
    drawn = torch.distributions.Categorical(logits=scores).sample()
    order = scores.max(-1).values.argsort()
    mask = order < ratio(k)
    c[mask] = drawn[mask]
"""
STEPPED = """
for i, t in enumerate(plan.timesteps):
    both = torch.cat([x] * 2)
    out = self.net(both, timestep=t.expand(2))
    x = plan.step(out, t, x)
"""
#: a place in a sequence is no time, and a recurrent state is no example
RECURRENT = """
for t in range(steps):
    h = self.cell(x[:, t], h)
    rows.append(h)
"""
TRAINED = """
for t, batch in enumerate(steps):
    x = net(x, t)
    loss = f(x)
    loss.backward()
"""
WORLD = """
for t in range(steps):
    action = net(seen).sample()
    seen = env.step(action)
"""
LATENT = """
for k in range(layers):
    z = prior(h).normal.sample()
    h = core(z, h)
"""


@pytest.mark.parametrize(
    ("source", "claim"),
    [
        (WRITTEN, Claim.ONE_BY_ONE),
        (APPENDED, Claim.ONE_BY_ONE),
        (REVEALED, Claim.FILL_MASKS),
        (REVEALED.replace("c[mask] = drawn[mask]", "c = torch.cat([c, drawn])"), Claim.ONE_BY_ONE),
        (STEPPED, Claim.ITERATE),
        (STEPPED.replace("x = plan.step(out, t, x)", "y = plan.step(out, t, x)"), None),
        (RECURRENT, None),
        (TRAINED, None),
        (WORLD, None),
        (LATENT, None),
    ],
)
def test_what_a_loop_hands_on_tells_its_work(source, claim):
    assert handed_on(ast.parse(source).body[0]) is claim


def test_a_loop_draws_whatever_its_function_is_called():
    source = "def __call__(self, x, plan):\n" + "\n".join(f"    {line}" for line in STEPPED.strip().split("\n"))
    assert drawing(ast.parse(source)) == dict.fromkeys(range(2, 6), True)
    assert any(row.claim is Claim.ITERATE and row.form is Form.LOOP for row in read_statements(source))


def test_a_library_that_is_told_how_many_tokens_draws_them():
    source = "def answer(self, x):\n    return self.net.generate(**x, max_new_tokens=9)\n"
    assert any(row.claim is Claim.ONE_BY_ONE and row.form is Form.REASON for row in read_statements(source))
    assert drawing(ast.parse(source.replace("max_new_tokens", "size"))) == {}
