#!/usr/bin/env python3
"""A decoding step of `unigen bench model` in PyTorch with transformers, on the processor: the same decoder, random weights.

    python3 tests/bench_decoder_pytorch.py MODEL --threads 2 --rows 516

MODEL is a model folder of this project; only its config.json is read. Needs torch and transformers (for llama.cpp on a GGUF file,
run its own `llama-bench -m FILE -p 512 -n 0 -t 2`, which prints tokens a second). All rows see one another, in bfloat16 by default.
"""

import argparse
import json
import pathlib
import time

import torch
from transformers import Qwen2Config, Qwen2Model

# Seconds that the measurement runs at least.
SPAN = 10.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=int, default=516)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    decoder = json.loads((args.model / "config.json").read_text())["decoder"]
    names = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"]
    # The token table takes no part in a step.
    config = Qwen2Config(vocab_size=8, attn_implementation="sdpa", **{name: decoder[name] for name in names})
    torch.set_default_dtype(getattr(torch, args.dtype))
    model = Qwen2Model(config).eval()
    width, codes = config.hidden_size, 8192
    head = torch.nn.Linear(width, codes, bias=False)
    x = torch.randn(1, args.rows, width)
    mask = torch.zeros(1, 1, args.rows, args.rows)
    queries, keys = width, config.num_key_value_heads * width // config.num_attention_heads
    layer = 2 * width * (queries + keys) + 3 * width * config.intermediate_size + 2 * queries * args.rows
    flops = 2.0 * args.rows * (config.num_hidden_layers * layer + width * codes)
    with torch.inference_mode():

        def step():
            return head(model(inputs_embeds=x, attention_mask=mask, use_cache=False).last_hidden_state)

        step()
        fastest, end = float("inf"), time.perf_counter() + SPAN
        while time.perf_counter() < end:
            start = time.perf_counter()
            step()
            fastest = min(fastest, time.perf_counter() - start)
    print(f"{args.rows} rows: {fastest:.3f} s a step, {args.rows / fastest:.0f} rows/s, {flops / fastest / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
