"""LlamaForCausalLM of transformers: Qwen2 without biases, here with a head that is the token table."""

from .common import Draws
from .qwen2 import decoder, outputs


def make():
    config = {
        "model_type": "llama",
        "vocab_size": 53,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-4,
        "rope_theta": 20000.0,
        "tie_word_embeddings": True,
    }
    draws = Draws(13)
    return outputs(decoder(config, draws), config, draws)
