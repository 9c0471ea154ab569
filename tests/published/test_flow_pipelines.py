"""Pipelines of flow matching with prompts: the library's own pipeline, from the same noise, is the oracle."""

from __future__ import annotations

import json

import pytest
import torch

from fourfold import Run
from fourfold.core import Noise

pytestmark = pytest.mark.published
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")


def _tokenizer(folder):
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = {token: i for i, token in enumerate([*letters, *[f"{c}</w>" for c in letters]])}
    vocabulary |= {"<|startoftext|>": 52, "<|endoftext|>": 53}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def _clip():
    config = transformers.CLIPTextConfig(
        vocab_size=54, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=52, eos_token_id=53, pad_token_id=53, projection_dim=16,
    )  # fmt: skip
    return transformers.CLIPTextModelWithProjection(config).eval()


def _vae():
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4, shift_factor=0.1, scaling_factor=1.5,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        use_quant_conv=False, use_post_quant_conv=False,
    ).eval()  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shift", [{"shift": 3.0}, {"use_dynamic_shifting": True}], ids=["shifted", "dynamic"])
def test_stable_diffusion_3_draws_what_its_pipeline_draws(tmp_path, shift):
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=32, out_channels=4,
        pos_embed_max_size=8,
    ).eval()  # fmt: skip
    pipeline = diffusers.StableDiffusion3Pipeline(
        transformer, diffusers.FlowMatchEulerDiscreteScheduler(**shift), _vae(), _clip(), _tokenizer(tmp_path / "a"),
        _clip(), _tokenizer(tmp_path / "b"), None, None,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "sd3")
    run = Run.load(tmp_path / "sd3")
    x = run.sample(2, ["a cat", "a dog"], seed=3, steps=6, guidance=4.0)
    start = Noise(3, 0, 2).normal(4, 8, 8)
    images = pipeline(
        ["a cat", "a dog"], latents=start, num_inference_steps=6, guidance_scale=4.0, output_type="pt", height=16,
        width=16,
    ).images  # fmt: skip
    assert (x.int() - (images * 255).round().int()).abs().max() <= 1
    assert not torch.equal(x[0], x[1])
