"""Folders: what a person would open first speaks first, and what is beside the system says nothing."""

import json
import os
import struct
import sys
from pathlib import Path

import pytest

from fourfold_atlas import Cell, UnreadableError, place, place_files
from fourfold_atlas.bounded import gguf_header, open_regular, read_text, safetensors_names
from fourfold_atlas.evidence import Claim, Reader
from fourfold_atlas.sources import defining, is_code, read_notebook

DENOISING = """
import torch


class Trainer:
    unrelated = 1

    def loss(self, x0):
        noise = torch.randn_like(x0)
        x_t = self.alpha * x0 + self.sigma * noise
        loss = ((self.model(x_t, self.t) - noise) ** 2).mean()
        return loss

    def sample(self, shape):
        x = torch.randn(shape)
        for t in reversed(range(self.steps)):
            x = self.step(self.model(x, t), t, x)
        return x
"""
GAME = """
def train(loader):
    for real, _ in loader:
        fake = G(torch.randn(4, 8))
        loss_D = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        loss_D.backward()
        loss_G = bce(D(fake), ones)
        loss_G.backward()
"""
UNTOLD = "# Project\n\nInstall it with pip.\n"


def write(path, files):
    for name, text in files.items():
        to = path / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


CARD = "# Thing\n\nWe train a normalizing flow by the change of variables.\n"
CAUSAL = {"architectures": ["SomeForCausalLM"], "model_type": "some", "vocab_size": 1000}


def test_model_files_come_before_the_card_and_the_card_before_code(tmp_path):
    write(tmp_path, {"config.json": CAUSAL, "README.md": CARD, "train.py": DENOISING})
    assert place(tmp_path).cell is Cell.AUTOREGRESSIVE
    (tmp_path / "config.json").unlink()
    assert place(tmp_path).cell is Cell.FLOW
    (tmp_path / "README.md").write_text(UNTOLD)
    assert place(tmp_path).cell is Cell.DIFFUSION


def test_a_components_configuration_is_read_only_below_a_models(tmp_path):
    encoder = {"architectures": ["SomeEncoderModel"]}
    write(tmp_path, {"text/config.json": encoder, "README.md": CARD})
    assert place(tmp_path).cell is Cell.FLOW, "a stray configuration of something that the system uses"
    index = {"_class_name": "SomePipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    write(tmp_path, {"model_index.json": index})
    placed = place(tmp_path)
    assert placed.cell is Cell.DIFFUSION
    assert {row.where.split(":")[0] for row in placed.evidence} <= {"model_index.json", "text/config.json"}


def test_a_training_scripts_config_is_no_model_librarys(tmp_path):
    write(tmp_path, {"config.json": {"num_classes": 10, "label_smoothing": 0.1}, "README.md": CARD})
    assert place(tmp_path).cell is Cell.FLOW


@pytest.mark.parametrize(
    "name",
    [
        "tests/critics.py",
        "test_game.py",
        "data/game.py",
        "third_party/game.py",
        ".ci/game.py",
        "evaluation/game.py",
        "docs/game.py",
        "game_test.py",
        "metrics/game.py",
    ],
)
def test_tests_data_and_other_peoples_code_say_nothing(tmp_path, name):
    write(tmp_path, {"README.md": UNTOLD, name: GAME})
    assert place(tmp_path).cell is None
    write(tmp_path, {"zz/train.py": GAME})
    assert place(tmp_path).cell is Cell.ADVERSARIAL


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eval.yaml", "tasks:\n  - glue\n  - adv_glue\n"),
        (
            "CODE_OF_CONDUCT.md",
            "# Our Responsibilities\n\nWe train a GAN with a discriminator; the generator fools it.\n",
        ),
        ("CHANGELOG.md", "# Changes\n\nThe denoiser now predicts the noise; sampling removes noise in 50 steps.\n"),
        ("LICENSE.md", "# License\n\nA GAN with a discriminator; the generator fools it.\n"),
        ("requirements.txt", "pytorch-gan\nscore_sde\nddpm\nnormflows\nconsistency-models\n"),
        ("settings.yaml", "# discriminator: yes\n# n_critic: 5\n# lambda_gp: 10\nname: x\n"),
        ("settings.json", '{"discriminator": 1, "n_critic": 5, "lambda_gp": 10,, }'),
        (".travis.yml", "discriminator: 1\nn_critic: 5\nlambda_gp: 10\n"),
        ("environment.yml", "discriminator: 1\nn_critic: 5\nlambda_gp: 10\n"),
        ("broken.py", GAME.replace(" = ", " = = ").replace("(", "[")),
        ("train.py", "# loss_D = bce(D(real), ones) + bce(D(fake), zeros)\n# loss_D.backward()\n"),
    ],
)
def test_what_is_beside_a_system_says_nothing(tmp_path, name, text):
    write(tmp_path, {"README.md": UNTOLD, name: text})
    assert place(tmp_path).cell is None


def test_settings_answer_where_nothing_else_does_and_two_agree(tmp_path):
    write(tmp_path, {"conf/a.yaml": "n_critic: 5\n"})
    placed = place(tmp_path)
    assert placed.cell is None
    assert "only a hint of adversarial" in placed.missing
    write(tmp_path, {"conf/a.yaml": "n_critic: 5\nlambda_gp: 10\n"})
    assert place(tmp_path).cell is Cell.ADVERSARIAL


def test_the_readme_is_found_whatever_its_form_and_before_its_translations(tmp_path):
    for name in ("readme", "Readme.rst", "README.txt", "README.md"):
        write(tmp_path, {name: CARD.replace("Thing", name)})
        placed = place(tmp_path)
        assert placed.cell is Cell.FLOW
        assert placed.evidence[0].where == f"{name}:3"
        (tmp_path / name).unlink()
    write(tmp_path, {"README.de.md": UNTOLD, "README.md": CARD, "AAA.md": "# GAN\n\nA discriminator and a generator."})
    assert place(tmp_path).cell is Cell.FLOW
    write(tmp_path, {"README.md": UNTOLD, "model-card.md": "We train a GAN with a discriminator."})
    assert place(tmp_path).cell is Cell.ADVERSARIAL


def test_an_unpacked_archive_is_its_folder(tmp_path):
    write(tmp_path, {"thing-main/README.md": CARD, "thing-main/train.py": GAME})
    placed = place(tmp_path)
    assert (placed.cell, placed.subject) == (Cell.FLOW, "thing-main")


def test_code_is_found_by_what_it_defines_and_not_by_alphabet(tmp_path):
    plain = "def helper(x):\n    return x + 1\n"
    write(tmp_path, {f"aa{i:02}.py": plain for i in range(40)})
    write(tmp_path, {"README.md": UNTOLD, "zz/models/last.py": DENOISING})
    placed = place(tmp_path)
    assert placed.cell is Cell.DIFFUSION
    stated = [row for row in placed.evidence if row.claim is Claim.DENOISE]
    assert stated[0].where == "zz/models/last.py:11"
    assert DENOISING.split("\n")[10].strip() == "loss = ((self.model(x_t, self.t) - noise) ** 2).mean()"


def test_definitions_are_kept_where_they_stand():
    strength, text = defining(DENOISING)
    assert strength > 0
    assert text.count("\n") == DENOISING.count("\n")
    rows = [line for line in text.split("\n") if line]
    assert rows[0] == "class Trainer:"
    assert "    def sample(self, shape):" in rows
    assert "import torch" not in rows
    assert defining("def f(x):\n    return x\n") == (0.0, "")
    assert defining("def loss(:\n") == (0.0, "")


def notebook(*cells):
    rows = [{"cell_type": kind, "source": source.splitlines(keepends=True)} for kind, source in cells]
    return json.dumps({"cells": rows, "nbformat": 4})


def test_a_notebook_is_its_code_cells(tmp_path):
    path = tmp_path / "train.ipynb"
    path.write_text(
        notebook(
            ("markdown", "# A GAN with a discriminator"),
            ("code", "%matplotlib inline\n!pip install x\nimport torch"),
            ("code", DENOISING),
        )
    )
    placed = place(path)
    assert placed.cell is Cell.DIFFUSION
    assert {row.kind for row in placed.evidence} == {Reader.CODE}
    assert "train.ipynb: cell 3, line 11" in {row.where for row in placed.evidence}
    assert place(tmp_path).cell is Cell.DIFFUSION
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": DENOISING}]}]}
    path.write_text(json.dumps(old))
    assert place(path).cell is Cell.DIFFUSION
    for text, line in (
        ("{", "must be JSON"),
        ("[1]", "must have code cells"),
    ):
        path.write_text(text)
        with pytest.raises(UnreadableError, match=line):
            place(path)


def test_notebooks_of_old_python_and_with_a_cell_that_does_not_parse_are_read(tmp_path):
    # a Boltzmann machine in Python 2, which prints, asks for help and is unfinished
    training = (
        "for epoch in range(10):\n    for _, (data, target) in enumerate(loader):\n        %time\n"
        "        v, v1 = rbm(data)\n        loss = rbm.free_energy(v) - rbm.free_energy(v1)\n"
        "        loss.backward()\n        optimizer.step()\n    print 'mean loss', loss"
    )
    text = notebook(("code", "torch.randn?"), ("code", "def unfinished(\n"), ("code", training))
    code = read_notebook(text, "n")
    assert code.place(code.code.split("\n").index(training.split("\n")[4]) + 1) == "cell 3, line 5"
    (tmp_path / "RBM.ipynb").write_text(text)
    placed = place(tmp_path)
    assert placed.cell is Cell.ENERGY
    assert placed.reason.quote == "loss = rbm.free_energy(v) - rbm.free_energy(v1)"


def test_a_folder_of_notebooks_is_read_as_they_are_where_no_definition_states_it(tmp_path):
    # a flow of a library: its loss is one line, and what it is stands in statements of other cells
    transforms = (
        "from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform\n"
        "for _ in range(num_layers):\n    transforms.append(ReversePermutation(features=2))\n"
        "    transforms.append(MaskedAffineAutoregressiveTransform(features=2, hidden_features=4))\n"
        "transform = CompositeTransform(transforms)\nflow = Flow(transform, StandardNormal(shape=[2]))"
    )
    training = (
        "optimizer = optim.Adam(flow.parameters())\nfor i in range(num_iter):\n    optimizer.zero_grad()\n"
        "    loss = -flow.log_prob(inputs=x).mean()\n    loss.backward()\n    optimizer.step()\n"
        "zgrid = flow.log_prob(xyinput).exp().reshape(100, 100)"
    )
    text = notebook(("code", "from nflows.flows.base import Flow"), ("code", transforms), ("code", training))
    (tmp_path / "moons.ipynb").write_text(text)
    assert place(tmp_path / "moons.ipynb").cell is Cell.FLOW
    assert place(tmp_path).cell is Cell.FLOW


def test_brackets_in_the_output_of_a_cell_are_no_nesting(tmp_path):
    cells = json.loads(notebook(("code", DENOISING)))
    cells["cells"][0]["outputs"] = [{"text": ["[[[[ {" * 40]}]
    (tmp_path / "a.ipynb").write_text(json.dumps(cells))
    assert place(tmp_path / "a.ipynb").cell is Cell.DIFFUSION


def test_cells_are_counted_as_a_reader_sees_them():
    notebook_text = read_notebook(
        notebook(("markdown", "x"), ("code", "a = 1\nb = 2"), ("raw", ""), ("code", "c = 3")), "n"
    )
    assert notebook_text.code == "a = 1\nb = 2\nc = 3"
    assert [notebook_text.place(line) for line in (1, 2, 3)] == ["cell 2, line 1", "cell 2, line 2", "cell 4, line 1"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("loss = mse(eps, model(x_t, t))", True),
        ("loss.backward()", True),
        ("def f(x):\n    return x", True),
        ("    x = 1\n    y = 2", True),
        ("GAN (adversarial)", False),
        ("VAE", False),
        ("predict the noise", False),
        ("GAN, VAE", False),
        ("", False),
        ("3.5", False),
    ],
)
def test_code_is_told_from_prose(text, code):
    assert is_code(text) is code


def test_code_or_a_configuration_given_as_a_text_is_read_as_such():
    placed = place(DENOISING)
    assert placed.cell is Cell.DIFFUSION
    assert {row.kind for row in placed.evidence} == {Reader.CODE}
    assert {row.kind for row in place(json.dumps(CAUSAL)).evidence} == {Reader.FILES}
    assert place("objective: denoising, predict the added noise; remove noise in 50 steps").cell is Cell.DIFFUSION


def gguf(path, metadata, tensors=()):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    def field(value):
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        if isinstance(value, list):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        return struct.pack("<II", 4, value)

    raw = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    raw += b"".join(text(key) + field(value) for key, value in metadata.items())
    raw += b"".join(text(name) + struct.pack("<IQQIQ", 2, 4, 8, 0, 0) for name in tensors)
    path.write_bytes(raw)
    return path


def test_gguf_headers_speak(tmp_path):
    path = tmp_path / "model.gguf"
    words = {"general.architecture": "llama", "tokenizer.ggml.tokens": ["a", "b" * 300], "llama.block_count": 2}
    gguf(path, words, ["token_embd.weight", "output.weight"])
    metadata, tensors = gguf_header(path)
    assert metadata == {"general.architecture": "llama", "llama.block_count": 2}
    assert tensors == {"token_embd.weight": (4, 8), "output.weight": (4, 8)}
    assert place(path).cell is Cell.AUTOREGRESSIVE
    assert place(tmp_path).cell is Cell.AUTOREGRESSIVE
    gguf(path, {"general.architecture": "qwen2", "qwen2.pooling_type": 1})
    assert place(path).cell is Cell.NOT_GENERATIVE
    gguf(path, {"general.architecture": "some"}, ["double_blocks.0.img_attn.qkv.weight"])
    assert place(path).cell is Cell.DIFFUSION


def test_a_gguf_header_cut_anywhere_is_read_in_part_or_refused(tmp_path):
    path = gguf(tmp_path / "m.gguf", {"general.architecture": "llama", "t": ["a"] * 3, "n": 2}, ["output.weight"])
    raw = path.read_bytes()
    first = raw.index(b"llama") + len("llama")
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        if size >= first:
            assert gguf_header(path)[0]["general.architecture"] == "llama"
        else:
            with pytest.raises(UnreadableError, match="GGUF header"):
                gguf_header(path)
    huge = b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63) + struct.pack("<Q", 2**63)
    path.write_bytes(huge)
    with pytest.raises(UnreadableError, match="GGUF header"):
        place(path)


def test_pipes_and_devices_are_never_opened(tmp_path):
    """A pipe without a writer would wait for ever, and so would this test."""
    for suffix in ("safetensors", "gguf", "json", "md", "py", "ipynb", "txt", "yaml"):
        pipe = tmp_path / f"pipe.{suffix}"
        os.mkfifo(pipe)
        with pytest.raises(UnreadableError, match="not a regular file"):
            place(pipe)
    write(tmp_path, {"README.md": CARD})
    (tmp_path / "model.safetensors").symlink_to("/dev/zero")
    (tmp_path / "config.json").symlink_to("/dev/zero")
    (tmp_path / "readme.rst").symlink_to(tmp_path / "pipe.txt")
    assert place(tmp_path).cell is Cell.FLOW
    for device in ("/dev/zero", "/dev/null"):
        for read in (read_text, open_regular, safetensors_names, gguf_header):
            with pytest.raises(UnreadableError, match="not a regular file"):
                read(tmp_path.__class__(device))


def test_broken_json_and_comments_say_nothing_in_files_given_as_text():
    keys = "discriminator: 1\nn_critic: 5\nlambda_gp: 10\n"
    assert place_files({"a.yaml": keys}).cell is Cell.ADVERSARIAL
    assert place_files({"a.yaml": "".join(f"# {line}\n" for line in keys.splitlines())}).cell is None
    assert place_files({"a.ini": "".join(f"; {line}\n" for line in keys.splitlines())}).cell is None
    assert place_files({"a.json": "{" + keys}).cell is None
    assert place_files({"a.yaml": "colour: '#fff'\nurl: a#b\n" + keys}).cell is Cell.ADVERSARIAL


@pytest.mark.parametrize(
    "text",
    [
        "<!--" * 7_500,
        "<!-- " * 6_000,
        "@article{" * 3_000,
        "@article{ a\n" * 2_500,
        "<a " * 10_000,
        "<img " * 6_000,
        "a-" * 15_000,
        "```@article" * 2_500,
        "no " * 10_000,
    ],
    ids=["comment", "comments", "entry", "entries", "link", "image", "word", "fence", "negation"],
)
def test_hostile_texts_take_linear_time(text):
    """Each of these took from 3 to 27 s when patterns looked for an end that never comes."""
    place(f"# Title\n\n{text}")


def test_hostile_settings_take_linear_time():
    """Minutes, when a pattern looked for the end of a dotted name at each of its dots."""
    for sign in ("a.", "a.b.c.", "a_b", "embedding_dim 1", "mask_token_id "):
        place_files({"a.yaml": (sign * 60_000)[:60_000]})


def test_what_no_language_writes_says_nothing():
    assert place("A " + "GAN-with-a-discriminator." * 40).cell is None
    assert place("A " + "GAN with a discriminator. " * 40).cell is Cell.ADVERSARIAL


def test_an_open_comment_reaches_to_the_end():
    assert place(f"# Title\n\n<!-- draft\n\n{CARD}").cell is None


def test_the_benchmark_scores_folders_and_their_readmes(tmp_path, capsys):
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from atlas import clones, read_cases

    write(tmp_path / "a+one", {"README.md": CARD, "train.py": GAME})
    write(tmp_path / "a+two", {"README.md": UNTOLD, "train.py": GAME})
    labels = {"a/one": "flow", "a/two": "adversarial", "a/absent": "energy"}
    cases = [
        {"repository": name, "part": "kept", "kind": "folder", "label": {"paradigm": label}}
        for name, label in labels.items()
    ]
    clones(cases, tmp_path, errors=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["kept", "folder", "2", "1.000", "1.000", "0", "0"],
        ["kept", "readme", "2", "0.500", "0.500", "0", "1"],
    ]
    named = read_cases(Path(__file__).parents[2] / "benchmarks" / "atlas_folders.jsonl")
    assert len(named) == 90
    assert sum(case["part"] == "kept" for case in named) == 40
    assert all(set(case) == {"repository", "commit", "kind", "part", "label"} for case in named), "no text of theirs"


def test_a_script_without_suffix_is_read_where_its_first_line_calls_python(tmp_path):
    lines = "x_t = alpha * x + sigma * noise\nloss = F.mse_loss(net(x_t, t), noise)\nloss.backward()\n"
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    script = f"#!/usr/bin/env python3\nfor x in loader:\n    noise = torch.randn_like(x)\n    t = torch.rand(8)\n{body}"
    (tmp_path / "train").write_text(script)
    assert place(tmp_path).cell is Cell.DIFFUSION
    (tmp_path / "train").write_text(script.partition("\n")[2])
    assert place(tmp_path).cell is None


def test_the_values_of_a_loss_overrule_its_names(tmp_path):
    (tmp_path / "train.py").write_text(
        "criterion = nn.CrossEntropyLoss()\n"
        "def train(net, loader, optimizer):\n"
        "    for images, labels in loader:\n"
        "        target = (images[:, 0] * 255).long()\n"
        "        output = net(images)\n"
        "        loss = criterion(output, target)\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
    )
    placed = place(tmp_path)
    assert placed.cell is Cell.AUTOREGRESSIVE
    assert "criterion(output, target)" in placed.reason.quote
    at_loss = [row for row in placed.evidence if row.where == "train.py:6"]
    assert at_loss
    assert not any(row.claim.cell is Cell.NOT_GENERATIVE for row in at_loss)


def test_a_codec_that_is_trained_beside_a_model_of_its_codes_is_set_aside(tmp_path):
    codec = (
        "def train_codec(self, x):\n"
        "    decoded, commit_loss = self.codec(x)\n"
        "    g_loss = -self.disc(decoded).mean()\n"
        "    loss = F.l1_loss(decoded, x) + commit_loss + g_loss\n"
        "    loss.backward()\n"
        "    d_loss = F.relu(1 - self.disc(x)).mean() + F.relu(1 + self.disc(decoded.detach())).mean()\n"
        "    d_loss.backward()\n"
    )
    codes = (
        "def train_codes(self, x):\n"
        "    ids = self.codec.encode(x)\n"
        "    logits = self.net(ids[:, :-1])\n"
        "    loss = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:])\n"
        "    loss.backward()\n"
    )
    write(tmp_path, {"first.py": codec})
    assert place(tmp_path).cell is not Cell.ADVERSARIAL
    write(tmp_path, {"second.py": codes})
    assert place(tmp_path).cell is Cell.AUTOREGRESSIVE


GAME = """
def train(G, D, data, opt):
    for real in data:
        fake = G(torch.randn(64, 100))
        d_loss = F.binary_cross_entropy(D(real), torch.ones(64)) + F.binary_cross_entropy(D(fake), torch.zeros(64))
        d_loss.backward()
"""
BOUND = """
def train(encoder, decoder, data, opt):
    for x in data:
        mu, logvar = encoder(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = F.binary_cross_entropy(decoder(z), x) + kl
        loss.backward()
"""


def _collection(folder, files, card):
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    (folder / "README.md").write_text(card)
    return place(folder)


def test_a_collection_of_several_paradigms_is_named_as_one_with_its_files(tmp_path):
    files = {"gan/plain.py": GAME, "gan/other.py": GAME, "vae/plain.py": BOUND}
    placed = _collection(tmp_path, files, "# Models\n\nA collection of generative models in PyTorch, such as GANs.\n")
    assert placed.cell is None
    assert "this is a collection, by its files adversarial (2), latent-variable (1)" in placed.missing
    assert placed.notes == ("adversarial: gan/other.py, gan/plain.py", "latent-variable: vae/plain.py")
    assert {row.claim.cell for row in placed.evidence} == {Cell.ADVERSARIAL, Cell.LATENT_VARIABLE}


def test_a_collection_of_one_paradigm_and_a_system_of_two_stages_have_a_place(tmp_path):
    games = _collection(tmp_path / "games", {f"{i}.py": GAME for i in range(3)}, "# GANs\n\nA collection of GANs.\n")
    assert games.cell is Cell.ADVERSARIAL
    stages = {"critic.py": GAME, "vae.py": BOUND}
    assert _collection(tmp_path / "stages", stages, "# Thing\n\nThing is a GAN on the codes of a VAE.\n").cell
