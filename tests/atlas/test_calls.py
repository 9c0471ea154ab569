"""The training step of a checkout and what it calls, found by parsing."""

import ast

from fourfold_atlas import Cell, place
from fourfold_atlas.calls import reached

TRAIN = """
from model import Net, noise_loss

def main(loader):
    net = Net()
    for x in loader:
        loss = noise_loss(net, x)
        loss.backward()
"""
MODEL = """
import torch
import torch.nn.functional as F

def noise_loss(net, x):
    noise = torch.randn_like(x)
    x_t, t = q_sample(x, noise)
    return F.mse_loss(net(x_t, t), noise)

def q_sample(x, noise):
    return x + noise, 1

class Net:
    def forward(self, x, t):
        return x

def unused_gan_loss(D, G, z):
    return -D(G(z)).mean()
"""


def test_calls_are_followed_from_the_step_that_propagates_a_loss_back():
    lines = reached({"train.py": ast.parse(TRAIN), "model.py": ast.parse(MODEL)})
    depth = lines["model.py"]
    of = {text.split("(")[0].split()[-1]: i for i, text in enumerate(MODEL.split("\n"), 1) if "def " in text}
    assert lines["train.py"][8] == 0
    assert depth[of["noise_loss"]] == 1
    assert depth[of["forward"]] == 1
    assert depth[of["q_sample"]] == 2
    assert of["unused_gan_loss"] not in depth
    assert reached({"model.py": ast.parse(MODEL)}) == {}


def test_a_bare_checkout_is_placed_by_what_its_training_calls(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "model.py").write_text(MODEL)
    placed = place(tmp_path)
    assert placed.cell is Cell.DIFFUSION
    assert placed.reason.where.startswith("model.py:")


NAMES = """
class Diffusion:
    def denoise(self, x_noisy, timesteps, noise_schedule):
        for name in self.names:
            print(name)
        sigmas = noise_schedule.sigma_data * self.c_skip
        x_noisy = self.scheduler.add_noise(x_noisy, self.noise, timesteps)
        return self.unet(x_noisy, timesteps)
"""


def test_names_without_a_loss_or_a_loop_leave_a_checkout_open(tmp_path):
    (tmp_path / "net.py").write_text(NAMES)
    placed = place(tmp_path)
    assert placed.cell is None
    assert "near to diffusion, but no loss and no sampling loop says so" in placed.missing
