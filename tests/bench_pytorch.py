#!/usr/bin/env python3
"""The training steps of `unigen bench` in PyTorch, on the processor: same shapes, same lines.

    python3 tests/bench_pytorch.py --threads 2

Needs torch and nothing else. Decoder: the nano preset, causal, cross-entropy over its vocabulary, GFLOP counted as
6 x parameters x rows. Image tokenizer: the nano preset at 96 x 96, channels last, squared error, GFLOP counted as three
forward passes of its convolutions. bf16 is autocast.
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional as F

# The preset nano of core/src/config.rs.
WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCABULARY = 256, 704, 8, 4, 2, 1024
HEAD, THETA, EPS = WIDTH // HEADS, 1e4, 1e-6
SIDE, CH, Z, GROUPS = 96, 16, 16, 8
ENCODER, ENCODER_BLOCKS = [1, 4, 8, 8], [1, 1, 2, 2]
DECODER, DECODER_BLOCKS = [2, 4, 8, 8], [1, 2, 2, 2]
# Seconds that each measurement runs at least.
SPAN = 5.0


class RmsNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return F.rms_norm(x, (WIDTH,), self.weight, EPS)


def rotate(x, cos, sin):
    low, high = x.chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(), RmsNorm()
        self.q = nn.Linear(WIDTH, HEADS * HEAD)
        self.k = nn.Linear(WIDTH, KV_HEADS * HEAD)
        self.v = nn.Linear(WIDTH, KV_HEADS * HEAD)
        self.o = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.gate = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x, cos, sin):
        batch, rows, _ = x.shape
        h = self.norm1(x)
        q, k, v = (
            project(h).view(batch, rows, heads, HEAD).transpose(1, 2)
            for project, heads in [(self.q, HEADS), (self.k, KV_HEADS), (self.v, KV_HEADS)]
        )
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        k, v = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, rows, HEADS * HEAD))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    """Qwen2 with its head tied to the token table."""

    def __init__(self, rows):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RmsNorm()
        frequencies = THETA ** (-2.0 * torch.arange(HEAD // 2) / HEAD)
        angles = torch.arange(rows)[:, None] * frequencies
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embed.weight)


class Block(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(GROUPS, c, eps=1e-6) for c in (c_in, c_out))
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.shortcut = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """One head over all pixels."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2).transpose(1, 2) for conv in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(1, 2).reshape(x.shape))


def middle(channels):
    return [Block(channels, channels), Attention(channels), Block(channels, channels)]


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def encoder():
    layers, channels = [nn.Conv2d(3, CH, 3, padding=1)], CH
    for level, (mult, blocks) in enumerate(zip(ENCODER, ENCODER_BLOCKS)):
        for _ in range(blocks):
            layers.append(Block(channels, CH * mult))
            channels = CH * mult
        if level + 1 < len(ENCODER):
            layers.append(Down(channels))
    layers += middle(channels) + [nn.GroupNorm(GROUPS, channels, eps=1e-6), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels, Z, 3, padding=1), nn.Conv2d(Z, Z, 1))


def decoder():
    channels = CH * DECODER[-1]
    layers = [nn.Conv2d(Z, Z, 1), nn.Conv2d(Z, channels, 3, padding=1), *middle(channels)]
    for level in reversed(range(len(DECODER))):
        for _ in range(DECODER_BLOCKS[level]):
            layers.append(Block(channels, CH * DECODER[level]))
            channels = CH * DECODER[level]
        if level > 0:
            layers.append(Up(channels))
    layers += [nn.GroupNorm(GROUPS, channels, eps=1e-6), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, padding=1))


class Tokenizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = encoder(), decoder()

    def forward(self, pixels):
        z = self.encoder(pixels)
        bits = torch.where(z > 0, 1.0, -1.0)
        return self.decoder((bits - z).detach() + z)


def convolution_flops(model, image):
    """Floating-point operations of the convolutions of one forward pass."""
    total = 0

    def count(conv, _, output):
        nonlocal total
        total += 2 * conv.weight.numel() * output.shape[2] * output.shape[3]

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return total


def measure(name, batch, flops, model, loss):
    for precision in ("f32", "bf16"):

        def step():
            model.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                value = loss()
            value.backward()

        step()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < SPAN:
            step()
            steps += 1
        samples = steps * batch / (time.perf_counter() - start)
        print(f"{name}, {precision}: {samples:.1f} samples/s, {samples * flops / 1e9:.0f} GFLOP/s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=32, help="sequences a step")
    parser.add_argument("--rows", type=int, default=180, help="rows of a sequence")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    model = Decoder(args.rows)
    ids = (torch.arange(args.batch * args.rows) * 7919 % VOCABULARY).view(args.batch, args.rows)
    flops = 6.0 * sum(p.numel() for p in model.parameters()) * args.rows
    measure(
        "decoder",
        args.batch,
        flops,
        model,
        lambda: F.cross_entropy(model(ids).flatten(0, 1).float(), ids.flatten()),
    )

    batch = min(args.batch, 8)
    tokenizer = Tokenizer().to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, SIDE, SIDE).mul(2).sub(1).to(memory_format=torch.channels_last)
    flops = 3.0 * convolution_flops(tokenizer, images[:1])
    measure("image tokenizer", batch, flops, tokenizer, lambda: (tokenizer(images) - images).square().mean())


if __name__ == "__main__":
    main()
