"""A Llama in a GGUF file as llama.cpp's converter lays it out, its tensors of many types: what they hold, and the logits.

The package `gguf` writes the file and says what blocks mean.
"""

import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize

from .common import Draws, Fixture, allow_block
from .qwen2 import decoder, hidden

Type = gguf.GGMLQuantizationType

CONFIG = {
    "model_type": "llama",
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-5,
    "rope_theta": 30000.0,
    "tie_word_embeddings": True,
}

# The type of each layer's matrices. Blocks of the last two kinds have 256 values, as many as only a row of ffn_down has.
TYPES = {
    "attn_q": [Type.Q8_0, Type.Q4_1],
    "attn_k": [Type.Q4_1, Type.F16],
    "attn_v": [Type.BF16, Type.Q8_0],
    "attn_output": [Type.F16, Type.Q4_0],
    "ffn_gate": [Type.Q4_0, Type.Q8_0],
    "ffn_up": [Type.Q4_0, Type.Q4_1],
    "ffn_down": [Type.Q4_K, Type.Q6_K],
}
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def interleaved(weight, heads):
    """The rows of each head in llama.cpp's order: the two halves by turns."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def apart(weight, heads):
    """The inverse of `interleaved`."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def k_blocks(kind, rows, columns, draws):
    """Random blocks of a kind that the package reads but does not write, about as large as a matrix of `columns` inputs."""
    blocks = rows * columns // 256
    scale = columns**-0.5
    if kind == Type.Q4_K:
        # Values are d s q - dmin m, with six bits for s and m and four for q.
        steps = np.full((blocks, 1), scale / 200, np.float16).view(np.uint8)
        least = np.full((blocks, 1), scale / 25, np.float16).view(np.uint8)
        rest = draws.integers(0, 256, blocks, 140).numpy().astype(np.uint8)
        data = np.concatenate([steps, least, rest], axis=1)
    else:
        # Values are d s q with eight bits for s and six for q.
        rest = draws.integers(0, 256, blocks, 208).numpy().astype(np.uint8)
        steps = np.full((blocks, 1), scale / 1200, np.float16).view(np.uint8)
        data = np.concatenate([rest, steps], axis=1)
    return data.reshape(rows, -1)


def stored(name, values, kind, draws):
    """The bytes of a tensor, as rows, and the values that they stand for."""
    if kind in (Type.F32, Type.F16):
        data = values.astype(np.float16 if kind == Type.F16 else np.float32)
        return data, data.astype(np.float32)
    known = kind not in (Type.Q4_K, Type.Q6_K)
    data = quantize(values, kind) if known else k_blocks(kind, *values.shape, draws)
    return data, dequantize(data, kind)


def make():
    draws = Draws(29)
    model = decoder(CONFIG, draws)
    state, heads = model.state_dict(), {"attn_q": 2, "attn_k": 1}
    tensors = {"token_embd.weight": ("model.embed_tokens.weight", Type.Q4_0), "output_norm.weight": ("model.norm.weight", Type.F32)}
    for layer in range(CONFIG["num_hidden_layers"]):
        for theirs, name in NAMES.items():
            kind = TYPES[theirs][layer] if theirs in TYPES else Type.F32
            tensors[f"blk.{layer}.{theirs}.weight"] = (f"model.layers.{layer}.{name}.weight", kind)

    file = Path(tempfile.mkdtemp()) / "model.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_rope_freq_base(CONFIG["rope_theta"])
    io = {}
    for name, (key, kind) in tensors.items():
        of_heads = heads.get(name.split(".")[-2])
        values = state[key].numpy()
        data, meant = stored(name, interleaved(values, of_heads) if of_heads else values, kind, draws)
        writer.add_tensor(name, data, raw_dtype=kind)
        state[key].copy_(torch.from_numpy(apart(meant, of_heads) if of_heads else meant))
        if kind != Type.F32:
            io[f"value.{name}"] = torch.from_numpy(meant.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    # One tensor of each type is enough: the smallest.
    by_size = sorted(io, key=lambda name: -io[name].numel())
    kinds = {tensors[name.removeprefix("value.")][1]: name for name in by_size}
    io = {name: io[name] for name in kinds.values()}
    ids = draws.integers(0, CONFIG["vocab_size"], 2, 9)
    with torch.no_grad():
        io["logits"] = model.lm_head(hidden(model, ids, allow_block(9, 0, (0, 0)).expand(2, 9, 9)))
    return Fixture(None, file.read_bytes(), {"input_ids": ids, **io})
