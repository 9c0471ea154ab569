"""A small Qwen 2 as a GGUF file, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fourfold.spaces import Tokenizer

TEXT = "It was the best of times, it was the worst of times.\nIt was the age of wisdom. " * 40


def write_gguf(path: Path, model: Any, tied: bool = False) -> None:
    """A small Qwen 2 as a GGUF file."""
    import gguf  # an optional library

    config, settings = model.config, json.loads(Tokenizer.learn(TEXT, 300).file)["model"]
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tokens = sorted(settings["vocab"], key=settings["vocab"].get)
    writer.add_token_list([*tokens, *(f"<|{i}|>" for i in range(len(tokens), config.vocab_size))])
    writer.add_token_merges([" ".join(pair) for pair in settings["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
    names |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
    names |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    names |= {"embed_tokens": "token_embd", "layers.": "blk.", "lm_head": "output"}
    for name, value in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        theirs = name.removeprefix("model.")
        theirs = "output_norm.weight" if theirs == "norm.weight" else theirs
        for own, other in names.items():
            theirs = theirs.replace(own, other)
        writer.add_tensor(theirs, value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


QWEN2 = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
