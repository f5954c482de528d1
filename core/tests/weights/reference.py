"""Makes reference.gguf and reference.safetensors: tensors of every type that is read, packed and unpacked by llama.cpp's own
Python package, and a tokenizer.

    pip install gguf==0.19.0 numpy safetensors
    python3 reference.py
"""

from pathlib import Path

import numpy
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants
from safetensors.numpy import save_file

here = Path(__file__).parent
random = numpy.random.default_rng(7)
writer = GGUFWriter(here / "reference.gguf", "llama")
values = {}


def add(name, packed, kind):
    writer.add_tensor(name, packed, raw_dtype=kind)
    values[f"value.{name}"] = quants.dequantize(packed, kind).astype(numpy.float32)


writer.add_block_count(1)
writer.add_context_length(32)
writer.add_embedding_length(32)
writer.add_feed_forward_length(64)
writer.add_head_count(4)
writer.add_head_count_kv(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_freq_base(10000.0)
tokens = ["<|endoftext|>"] + [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ", "th", "the", "Ġthe"]
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("smollm")
writer.add_token_list(tokens)
writer.add_token_types([3] + [1] * (len(tokens) - 1))
writer.add_token_merges(["t h", "th e", "Ġ the"])

# Weights as a network has them, and blocks of zeros and of one outlier.
weights = random.normal(0, 0.05, (12, 64)).astype(numpy.float32)
weights[0, :32] = 0
weights[1, :32] = 0
weights[1, 5] = -3.5
weights[2, 40] = 1.75
values["original"] = weights
for kind in (Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.F32, Type.F16, Type.BF16):
    packed = quants.quantize(weights, kind)
    add(kind.name.lower(), packed, kind)

# The package does not pack K-formats: any bits are a block, but for the scales, which are finite.
for kind, size, halves in ((Type.Q4_K, 144, (0, 2)), (Type.Q6_K, 210, (208,))):
    packed = random.integers(0, 256, (3, size), dtype=numpy.uint8)
    for at in halves:
        scale = random.normal(0, 0.01, 3).astype(numpy.float16)
        packed[:, at : at + 2] = scale.view(numpy.uint8).reshape(3, 2)
    add(kind.name.lower(), packed, kind)

# Queries and keys as llama.cpp's converter turns them (LlamaModel.permute).
table = random.normal(0, 1, (len(tokens), 32)).astype(numpy.float32)
add("token_embd.weight", table, Type.F32)
for name, heads, rows in (("attn_q", 4, 32), ("attn_k", 2, 16)):
    weight = random.normal(0, 1, (rows, 32)).astype(numpy.float32)
    turned = weight.reshape(heads, 2, rows // heads // 2, 32).swapaxes(1, 2).reshape(weight.shape)
    packed = quants.quantize(turned, Type.Q8_0)
    writer.add_tensor(f"blk.0.{name}.weight", packed, raw_dtype=Type.Q8_0)
    unpacked = quants.dequantize(packed, Type.Q8_0).astype(numpy.float32)
    values[f"straight.{name}"] = (
        unpacked.reshape(heads, rows // heads // 2, 2, 32).swapaxes(1, 2).reshape(weight.shape)
    )

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file({name: numpy.ascontiguousarray(value) for name, value in values.items()}, here / "reference.safetensors")
