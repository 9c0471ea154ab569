"""Code: what losses compare and what loops do, in whole files and in fragments."""

import pytest

from fourfold.vocabulary import Cost, Kind
from fourfold_atlas import Cell, place_code
from fourfold_atlas.code import read_code, read_statements
from fourfold_atlas.decision import decide
from fourfold_atlas.evidence import Claim
from fourfold_atlas.votes import weigh

NEXT_TOKEN = """
    def forward(self, ids):
        logits = self.net(ids[:, :-1])
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), ids[:, 1:].reshape(-1))

    def draw(self, ids, count):
        for _ in range(count):
            probs = F.softmax(self.net(ids)[:, -1], dim=-1)
            new = torch.multinomial(probs, num_samples=1)
            ids = torch.cat((ids, new), dim=1)
        return ids
"""
BOUND = """
h = encoder(x)
z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
loss = F.binary_cross_entropy(decoder(z), x) + kl
"""
GAME = """
fake = generator(torch.randn(len(x), 64))
d_loss = bce(discriminator(x), real_label) + bce(discriminator(fake.detach()), fake_label)
d_loss.backward(); optimizer_D.step()
g_loss = bce(discriminator(fake), real_label)
"""
NOISE = """
t = torch.randint(0, num_timesteps, (len(x),))
noise = torch.randn_like(x)
noise_pred = model(scheduler.add_noise(x, noise, t), t)
loss = F.mse_loss(noise_pred, noise)
for t in scheduler.timesteps:
    x = scheduler.step(model(x, t), t, x).prev_sample
"""
VELOCITY = """
t = torch.rand(len(x1), 1)
xt = (1 - t) * x0 + t * x1
loss = ((model(xt, t) - (x1 - x0)) ** 2).mean()
"""
FLOW = """
z, log_det = self.flow(x)
return prior.log_prob(z).sum(-1) + log_det

def sample(self, n):
    return self.flow.inverse(prior.sample((n,)))
"""
ENERGY = """
for _ in range(steps):
    grad = torch.autograd.grad(energy(x).sum(), x)[0]
    x = x - step * grad + noise_scale * torch.randn_like(x)
loss = energy(data).mean() - energy(x).mean()
"""
LABELS = """
for x, y in loader:
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    correct += (logits.argmax(dim=1) == y).sum()
"""
REWARD = """
ratio = torch.exp(new_logprob - old_logprob)
pg_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
loss = pg_loss + 0.5 * value_loss
"""


@pytest.mark.parametrize(
    ("source", "cell", "kind", "cost"),
    [
        (NEXT_TOKEN, Cell.AUTOREGRESSIVE, Kind.EXACT, Cost.LENGTH),
        (BOUND, Cell.LATENT_VARIABLE, Kind.LOWER_BOUND, Cost.CONSTANT),
        (GAME, Cell.ADVERSARIAL, Kind.NONE, Cost.CONSTANT),
        (NOISE, Cell.DIFFUSION, Kind.ESTIMATE, Cost.STEPS),
        (VELOCITY, Cell.DIFFUSION, Kind.ESTIMATE, Cost.STEPS),
        (FLOW, Cell.FLOW, Kind.EXACT, Cost.CONSTANT),
        (ENERGY, Cell.ENERGY, Kind.UNNORMALISED, Cost.CHAIN),
        (LABELS, Cell.NOT_GENERATIVE, Kind.NONE, None),
        (REWARD, Cell.NOT_GENERATIVE, Kind.NONE, None),
    ],
)
def test_losses_and_loops_decide(source, cell, kind, cost):
    placed = place_code(source)
    assert (placed.cell, placed.likelihood, placed.cost) == (cell, kind, cost)


def test_lines_are_named():
    placed = place_code("import torch\n\nloss = F.mse_loss(noise_pred, noise)\n", where="train.py")
    assert any(row.where == "train.py:3" for row in placed.evidence)


def test_fragments_that_do_not_parse_are_still_read():
    broken = "        x = scheduler.add_noise(x, noise, t)\n    loss = F.mse_loss(noise_pred, noise)\n  ) else: {\n"
    assert place_code(broken).cell is Cell.DIFFUSION


def test_code_is_never_run(tmp_path):
    place_code(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", ["", "(" * 500, "x = " + "-" * 3000 + "1", "\0\0", "for", "def f(:\n  '''"])
def test_anything_is_survived(source):
    assert place_code(source).cell is None


def test_a_schedule_of_learning_rates_is_no_sampler():
    source = (
        "for x, y in loader:\n    loss = F.cross_entropy(model(x), y)\n    loss.backward()\nlr_scheduler.step()\n"
        "scheduler.step(epoch)\n"
    )
    assert place_code(source).cell is Cell.NOT_GENERATIVE


def test_what_is_called_fake_is_no_game_without_a_critic():
    source = (
        "fake_images = decoder(mu + eps * std)\nkl = -0.5 * torch.sum(1 + logvar - mu ** 2 - logvar.exp())\n"
        "loss = mse(fake_images, x) + kl\n"
    )
    assert place_code(source).cell is Cell.LATENT_VARIABLE


KERNEL = """
z = encoder(x)
rebuilt = decoder(z)
drawn = torch.randn_like(z)
mmd = kernel(z, z).mean() + kernel(drawn, drawn).mean() - 2 * kernel(z, drawn).mean()
loss = F.mse_loss(rebuilt, x) + weight * mmd
"""
ENERGIES = """
below = self.net(batch)
above = self.net(self.chain.draw(batch))
data_energy, drawn_energy = below.mean(), above.mean()
loss = data_energy - drawn_energy
"""
RANKED = """
def calculate_loss(self, user, pos_item, neg_item):
    better = (self.users(user) * self.items(pos_item)).sum(-1)
    worse = (self.users(user) * self.items(neg_item)).sum(-1)
    return -torch.log(torch.sigmoid(better - worse)).mean()
"""
MIXTURE = """
nk, means, covariances = estimate(X, np.exp(log_resp))
log_det_prec_chol = half_log_determinant(precisions_chol)
bound = (np.exp(log_resp) * log_resp).sum() - log_det_prec_chol
"""
CHAINED = """
X = [first.sample(n)]
for conditional in others:
    seen = torch.stack(X)
    X.append(conditional.sample(n, seen[:, -order:]))
"""
SPANS = """
start_logits, end_logits = self.head(hidden).split(1, dim=-1)
loss = (loss_fct(start_logits, start_positions) + loss_fct(end_logits, end_positions)) / 2
"""
REGIMES = """
for t in range(nobs):
    predicted_joint = regime_transition @ filtered_marginal[t]
    filtered_joint = predicted_joint * densities[t]
"""


@pytest.mark.parametrize(
    ("source", "cell"),
    [
        (SPANS, Cell.NOT_GENERATIVE),
        (REGIMES, Cell.LATENT_VARIABLE),
        (KERNEL, Cell.LATENT_VARIABLE),
        (ENERGIES, Cell.ENERGY),
        (RANKED, Cell.NOT_GENERATIVE),
        (MIXTURE, Cell.LATENT_VARIABLE),
        (CHAINED, Cell.AUTOREGRESSIVE),
    ],
)
def test_what_names_of_values_suggest(source, cell):
    assert decide("", read_statements(source)).cell is cell


def test_codes_matched_by_a_kernel_leave_no_bound():
    assert place_code(KERNEL).likelihood is Kind.NONE


def test_one_line_of_a_sampler_is_not_enough():
    placed = place_code("chosen = torch.multinomial(weights, 1)\n")
    assert placed.cell is None
    assert "one line of a sampler" in placed.missing


def test_a_loop_over_iterations_draws_no_pieces():
    assert place_code("for i in range(self.max_iter):\n    self.update(X)\n").cell is None


def test_inputs_and_targets_of_a_next_piece_loss_may_stand_on_two_lines():
    source = "piece = text[a:b]\ninputs = encode(piece[:-1])\ntargets = encode(piece[1:])\n"
    assert place_code(source).cell is Cell.AUTOREGRESSIVE
    steps = "for a, b in pairs:\n    left = timesteps[:-1]\n    right = timesteps[1:]\n"
    assert place_code(steps).cell is None


CUT = (
    '    def step(self, batch):\n        """A step.\n\n        Returns:\n'
    "            what one returns from a rollout, rewards included\n"
)


@pytest.mark.parametrize(
    "excerpt",
    [
        CUT,
        CUT + '\n    def other(self):\n        """Rewards and returns."""\n',
        '            rewards and the returns of a rollout\n        """\n        return self.layer(x)\n',
    ],
)
def test_a_docstring_cut_by_an_excerpt_is_no_statement(excerpt):
    assert not [row for row in read_code(excerpt) if row.claim is Claim.REWARD and "comments" not in row.where]


def test_a_statement_after_a_cut_docstring_is_still_read():
    source = (
        CUT + "\n    def loss(self, logits, tokens):\n        return cross_entropy(logits[:, :-1], tokens[:, 1:])\n"
    )
    rows = [row for row in read_code(source) if row.claim is Claim.NEXT_PIECE]
    assert rows
    assert "code:8" in {row.where for row in rows}


@pytest.mark.parametrize(
    "source",
    [
        "noise = torch.normal(mean, std)\nrow = self.decoder(noise)\n",
        "log_like = -0.5 * (quadratic + d * log(2 * pi) - logdet(precision))\n",
        "max_len = durations.sum(1).max()\nout = torch.zeros(n, max_len, d)\n",
        "x = f(x)  # the upcoming token\n",
    ],
)
def test_what_many_kinds_of_programs_do_decides_nothing(source):
    assert place_code(source).cell not in (Cell.DIFFUSION, Cell.FLOW, Cell.AUTOREGRESSIVE)


@pytest.mark.parametrize(
    ("line", "claim", "other"),
    [
        ("t = torch.randint(0, T, (8,))", Claim.DENOISE, "num_context = randint(3, 9)"),
        ("cost = criterion(acts, a, sizes, target_sizes)", Claim.LABELS, "cost = criterion(acts, a, sizes, widths)"),
        ("for layer in layers: layer.em_update()", Claim.EXACT_LATENT, "for layer in layers: layer.stem_update()"),
        ("def MStep(): pass", Claim.EXACT_LATENT, "def DownStep(): pass"),
        ("model.noise_variance_ = total / (d - k)", Claim.EXACT_LATENT, "model.noise_level = total / (d - k)"),
        ("err = loss_class(class_output, classv_label)", Claim.LABELS, "err = loss_class(a, b)"),
        ("config = GPTConfig(vocab_size=65, block_size=128)", Claim.NEXT_PIECE, "config = Config(size=65, width=128)"),
    ],
)
def test_a_statement_says_it_and_its_neighbour_does_not(line, claim, other):
    assert claim in {row.claim for row in read_statements(line)}
    assert claim not in {row.claim for row in read_statements(other)}


def test_a_target_named_q_alone_is_no_reward_learning():
    alone = sum(
        row.weight for row in read_statements("kl = kl_divergence(q_target, q_context)") if row.claim is Claim.REWARD
    )
    learned = sum(row.weight for row in read_statements("q_value = rewards + q_next") if row.claim is Claim.REWARD)
    assert alone <= 1.0 < learned


RECURRENT_LATENT = """
for t in range(len(x)):
    enc_mean_t, enc_std_t = self.enc(torch.cat([x[t], h], 1))
    prior_mean_t, prior_std_t = self.prior(h)
    z_t = self._reparameterized_sample(enc_mean_t, enc_std_t)
    _, h = self.rnn(torch.cat([x[t], self.phi_z(z_t)], 1).unsqueeze(0), h)
    kld_loss += self._kld_gauss(enc_mean_t, enc_std_t, prior_mean_t, prior_std_t)
return kld_loss, nll_loss
"""


def test_a_latent_at_each_time_is_no_noised_example():
    assert Claim.DENOISE in {row.claim for row in read_code(RECURRENT_LATENT)}, "z_t is read as one"
    assert place_code(RECURRENT_LATENT).cell is Cell.LATENT_VARIABLE


def test_a_chain_that_is_named_throughout_outweighs_a_descriptors_losses():
    votes = dict.fromkeys(Claim, 0.0) | {Claim.CHAIN: 7.0, Claim.GAME: 5.0}
    scores = weigh(votes)
    assert max(scores, key=lambda cell: scores[cell]) is Cell.ENERGY
    named = weigh(votes | {Claim.CALLED_ADVERSARIAL: 3.0})
    assert max(named, key=lambda cell: named[cell]) is Cell.ADVERSARIAL, "unless authors call it adversarial"


def _judged(constant):
    """Two translators and two judges, as no word says what they are."""
    return "".join(
        f"fake_{x} = self.make_{x}(real)\nfake_{x}_logit = self.judge_{x}(fake_{x})\n"
        f"loss_{x} = self.MSE_loss(fake_{x}_logit, {constant}(fake_{x}_logit).to(dev))\n"
        for x in "ab"
    )


def test_a_verdict_held_against_a_constant_is_a_game_whatever_judges_it_is_called():
    back = "loss = loss_a + loss_b + 10 * self.L1_loss(self.back(fake_a), real)\n"
    source = _judged("torch.ones_like") + back
    assert "code/game.held-constant" in {row.rule for row in read_statements(source)}
    assert place_code(source).cell is Cell.ADVERSARIAL
    assert place_code(_judged("self.other") + back).cell is not Cell.ADVERSARIAL


def test_pooled_logits_are_labels_even_beside_a_cache_of_a_decoder():
    source = """
logits = self.score(self.decoder(input_ids, past_key_values=past).last_hidden_state)
pooled_logits = logits[rows, last_token]
loss = loss_fct(pooled_logits.view(-1, self.num_labels), labels.view(-1))
"""
    assert place_code(source).cell is Cell.NOT_GENERATIVE
    assert place_code(source.replace("self.num_labels", "self.vocab")).cell is Cell.AUTOREGRESSIVE


NOISED = """
def loss(net, images):
    sigma = torch.rand(len(images)).exp()
    n = torch.randn_like(images) * sigma
    answer = net(images + n, sigma)
    return (answer - images) ** 2
"""
LABELLED = (
    "criterion = nn.MSELoss()\nfor i, (a, b) in enumerate(loader):\n    out = net(a)\n    loss = criterion(out, b)\n"
)
REBUILT = "for img, _ in loader:\n    out = net(img)\n    loss = F.mse_loss(out, img)\n"
HELPED = """
def batch(source, i):
    return source[i:i + n], source[i + 1:i + 1 + n].view(-1)
def train():
    data, goal = batch(corpus, 0)
    out = model(data)
    loss = nn.CrossEntropyLoss()(out.view(-1, k), goal)
"""
TWO = "for x, _ in loader:\n    z = torch.randn(8, 2)\n    made = first(z)\n    a, b = second(x), second(made)\n"


@pytest.mark.parametrize(
    ("source", "claim"),
    [
        (NOISED, Claim.DENOISE),
        (VELOCITY, Claim.VELOCITY),
        (LABELLED, Claim.REGRESSION),
        (LABELLED.replace("criterion(out, b)", "criterion(net(a), b)"), Claim.REGRESSION),
        (REBUILT, Claim.REBUILD),
        (HELPED, Claim.NEXT_PIECE),
        (TWO, Claim.GAME),
    ],
)
def test_what_a_loss_compares_counts_and_not_what_names_say(source, claim):
    assert max(read_statements(source), key=lambda row: row.weight).claim is claim


@pytest.mark.parametrize(
    ("source", "claim"),
    [
        (LABELLED.replace("a, b", "a, _"), Claim.REGRESSION),
        (REBUILT.replace("out, img", "out, goal"), Claim.REBUILD),
        ("z = mu + eps * std\nx_hat = decoder(z)\nloss = F.mse_loss(x_hat, x)\n", Claim.REGRESSION),
        (TWO.replace("second(made)", "third(made)"), Claim.GAME),
        (TWO.replace("first(z)", "langevin(z)"), Claim.GAME),
        (TWO.replace("torch.randn(8, 2)", "encode(x)"), Claim.GAME),
    ],
)
def test_what_is_compared_must_come_from_one_batch_or_from_noise(source, claim):
    assert claim not in {row.claim for row in read_statements(source)}
