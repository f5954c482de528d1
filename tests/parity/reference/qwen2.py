"""Qwen2ForCausalLM and LlamaForCausalLM of transformers: logits under the causal mask and under one with a bidirectional block."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from .common import Draws, Fixture, additive, allow_block, fill


def decoder(config, draws):
    """A Qwen2 or Llama with drawn weights. `config` may hold keys that are not the model's."""
    known = {key: value for key, value in config.items() if key not in ("adamw", "model_type")}
    kinds = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    sizes, model = kinds[config["model_type"]]
    return fill(model(sizes(**known, attn_implementation="eager")), draws)


def hidden(model, ids, allow):
    """Hidden states after the final norm, [batch, tokens, width]; positions count from the row's start."""
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return model.model(
        input_ids=ids, attention_mask=additive(allow), position_ids=positions, use_cache=False
    ).last_hidden_state


def with_prefix(prefix, model):
    return {f"{prefix}{name}": value for name, value in model.state_dict().items()}


def make():
    draws = Draws(11)
    config = {
        "model_type": "qwen2",
        "vocab_size": 61,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5,
        "rope_theta": 50000.0,
        "tie_word_embeddings": False,
    }
    return outputs(decoder(config, draws), config, draws)


def outputs(model, config, draws):
    """The fixture of a decoder: what it computes for random texts."""
    assert model.config.rope_parameters["rope_theta"] == config["rope_theta"]
    ids = draws.integers(0, config["vocab_size"], 2, 11)
    causal = allow_block(11, 0, (0, 0)).expand(2, 11, 11)
    omni = torch.stack([allow_block(11, 0, (3, 8)), allow_block(11, 2, (5, 11))])
    with torch.no_grad():
        hidden_omni = hidden(model, ids, omni)
        io = {
            "input_ids": ids,
            "omni_allow": omni.long(),
            "logits_causal": model.lm_head(hidden(model, ids, causal)),
            "hidden_omni": hidden_omni,
            "logits_omni": model.lm_head(hidden_omni),
        }
    return Fixture(config, model.state_dict(), io)
