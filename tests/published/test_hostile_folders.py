"""Published models from anybody: nothing is built, fetched, unpickled or run because a file of theirs says so."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest
import torch

from fourfold import build
from fourfold.adapters import open_published
from fourfold.spaces import Text
from fourfold_published.transformers import PublishedTransformer, write_language_model

pytestmark = pytest.mark.published
transformers = pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path):
    """A small language model as a folder of ``transformers``."""
    torch.manual_seed(0)
    write_language_model(build("autoregressive", Text("", 24), size="xs"), tmp_path / "pub")
    return tmp_path / "pub"


def changed(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def refused(folder, words):
    with pytest.raises(ValueError, match=words) as caught:
        open_published(folder)
    assert "\n" not in str(caught.value)
    assert folder.name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocab_size", 10**7),
        ("vocab_size", 10**9),
        ("hidden_size", 10**6),
        ("intermediate_size", 10**9),
        ("num_hidden_layers", 2000),
        ("num_hidden_layers", 100_000),
        ("num_hidden_layers", 10**12),
        ("max_position_embeddings", 10**12),
    ],
)
def test_settings_are_held_against_the_tensors_before_anything_is_built(folder, monkeypatch, name, value):
    """An edited ``vocab_size`` asked for 256 GB, and 100,000 layers for minutes."""

    def never(*arguments, **options):
        raise AssertionError("it was built")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", never)
    changed(folder / "config.json", **{name: value})
    tracemalloc.start()
    refused(folder, "its settings|more than|cannot be opened")
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_no_kernel_and_no_code_of_a_hub_is_asked_for(folder, monkeypatch):
    """The library takes its own attention, whatever the settings name, in a folder and in a run folder."""
    wanted = {
        "_attn_implementation": "org/name",
        "attn_implementation": "org/name",
        "_experts_implementation": "org/name",
        "auto_map": {"AutoModelForCausalLM": "org/name--code.Network"},
    }
    expected = open_published(folder).log_prob(torch.zeros(1, 24, dtype=torch.long)).nats
    changed(folder / "config.json", **wanted)
    model = open_published(folder)
    assert model.estimand.net.inner.config._attn_implementation in ("sdpa", "eager")
    torch.testing.assert_close(model.log_prob(torch.zeros(1, 24, dtype=torch.long)).nats, expected)
    settings = json.dumps(json.loads((folder / "config.json").read_text()))
    with torch.device("meta"):
        net = PublishedTransformer(settings, 24, 0)
    assert net.inner.config._attn_implementation in ("sdpa", "eager")
    assert os.environ["USE_HUB_KERNELS"] == "NO"
    changed(folder / "config.json", model_type="mine")
    refused(folder, "code of its own, which is not run here")


def test_quantised_weights_that_need_other_code_are_refused(folder):
    changed(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    refused(folder, "quantised")


@pytest.mark.parametrize("name", ["evil.bin", "../other.safetensors", "/etc/x.safetensors", 7])
def test_an_index_names_safetensors_of_its_folder_alone(folder, monkeypatch, name):
    """``torch.load`` opened what the index named."""
    opened = []
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: opened.append(arguments))
    (folder / "evil.bin").write_bytes(b"\x80\x04.")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": {"gpt_neox.embed_in.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "is no .safetensors of its folder")
    assert not opened


def test_an_adapter_of_another_folder_is_not_followed(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))
    refused(folder, "are added to those of another model: merge them")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "other.safetensors"])
def test_a_pipe_is_not_opened(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    refused(folder, "must be a regular file, got another kind: take it out")


def test_a_gguf_file_has_no_more_blocks_than_tensors(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "qwen2")
    writer.add_block_count(1 << 31)
    writer.add_tensor("token_embd.weight", torch.zeros(8, 8).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused(tmp_path / "m.gguf", "layers must be at most the 1 tensors of the weights, got 2,147,483,648")


def test_settings_of_a_part_of_a_pipeline_are_held_against_its_tensors(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    net = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    diffusers.DDIMPipeline(net, diffusers.DDIMScheduler()).save_pretrained(tmp_path / "pub")
    open_published(tmp_path / "pub")
    changed(tmp_path / "pub" / "unet" / "config.json", block_out_channels=[80_000, 80_000])
    refused(tmp_path / "pub", "its settings do not fit its weights")
