"""The image tokenizer of showlab/magvitv2: MAGVIT-v2 (arXiv 2310.05737) for still images, written anew in PyTorch.

No library holds it. Module names give the published key names. The published network has 32 groups in each norm;
`norm_groups` is our own key, without which no network of this size could be.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .common import Draws, Fixture, fill


def swish(x):
    return x * torch.sigmoid(x)


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs, groups):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        h = self.conv1(swish(self.norm1(x)))
        h = self.conv2(swish(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """One head over all pixels."""

    def __init__(self, channels, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2) for conv in (self.q, self.k, self.v))
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * x.shape[1] ** -0.5, dim=2)
        return x + self.proj_out(torch.einsum("bij,bcj->bci", weights, v).view_as(x))


class Mid(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, groups)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Resize(nn.Module):
    """Half or double the size; the convolution is called `conv` in both."""

    def __init__(self, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=0 if stride == 2 else 1)

    def forward(self, x):
        if self.conv.stride == (2, 2):
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution."""

    def __init__(self, inputs, outputs, blocks, groups):
        super().__init__()
        self.block = nn.ModuleList(
            ResnetBlock(inputs if i == 0 else outputs, outputs, groups) for i in range(blocks)
        )

    def forward(self, x):
        for block in self.block:
            x = block(x)
        return x


class Encoder(nn.Module):
    """Pixels [batch, 3, height, width] to the latent whose signs are the code."""

    def __init__(self, config):
        super().__init__()
        groups, z = config["norm_groups"], config["z_channels"]
        widths = [config["ch"] * mult for mult in config["encoder_ch_mult"]]
        self.conv_in = nn.Conv2d(config["in_ch"], config["ch"], 3, padding=1)
        self.down = nn.ModuleList()
        for i, (width, blocks) in enumerate(zip(widths, config["encoder_num_res_blocks"])):
            level = Level(config["ch"] if i == 0 else widths[i - 1], width, blocks, groups)
            if i < len(widths) - 1:
                level.downsample = Resize(width, 2)
            self.down.append(level)
        self.mid = Mid(widths[-1], groups)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], z, 3, padding=1)
        self.quant_conv = nn.Conv2d(z, z, 1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        return self.quant_conv(self.conv_out(swish(self.norm_out(self.mid(x)))))


class Decoder(nn.Module):
    """Bits of +1 and -1 [batch, z, rows, columns] to pixels, which are not clamped."""

    def __init__(self, config):
        super().__init__()
        groups, z = config["norm_groups"], config["z_channels"]
        widths = [config["ch"] * mult for mult in config["decoder_ch_mult"]]
        self.post_quant_conv = nn.Conv2d(z, z, 1)
        self.conv_in = nn.Conv2d(z, widths[-1], 3, padding=1)
        self.mid = Mid(widths[-1], groups)
        self.up = nn.ModuleList()
        for i, (width, blocks) in enumerate(zip(widths, config["decoder_num_res_blocks"])):
            level = Level(widths[min(i + 1, len(widths) - 1)], width, blocks, groups)
            if i > 0:
                level.upsample = Resize(width, 1)
            self.up.append(level)
        self.norm_out = nn.GroupNorm(groups, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], config["out_ch"], 3, padding=1)

    def forward(self, x):
        x = self.mid(self.conv_in(self.post_quant_conv(x)))
        for level in reversed(self.up):
            x = level(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(swish(self.norm_out(x)))


class Quantize(nn.Module):
    """Lookup-free quantisation: a bit a channel, channel 0 the most significant. The buffers are as published."""

    def __init__(self, bits):
        super().__init__()
        powers = 2 ** torch.arange(bits - 1, -1, -1)
        codes = torch.arange(2**bits).unsqueeze(1)
        self.register_buffer("power_vals", powers)
        self.register_buffer("embedding", ((codes & powers) > 0).float() * 2 - 1)

    def codes(self, latent):
        """Latent [batch, z, rows, columns] to codes [batch, rows * columns]; 0 counts as negative."""
        bits = (latent > 0).long().movedim(1, -1)
        return (bits * self.power_vals).sum(-1).flatten(1)

    def bits(self, codes, rows, columns):
        """Codes to bits, [batch, z, rows, columns]."""
        return self.embedding[codes].unflatten(1, (rows, columns)).movedim(-1, 1)


class MagVitV2(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = Quantize(config["z_channels"])


def make():
    draws = Draws(41)
    config = {
        "ch": 4,
        "encoder_ch_mult": [1, 2, 3],
        "encoder_num_res_blocks": [1, 2, 1],
        "decoder_ch_mult": [1, 2, 2],
        "decoder_num_res_blocks": [2, 1, 2],
        "z_channels": 6,
        "in_ch": 3,
        "out_ch": 3,
        "norm_groups": 2,
    }
    model = fill(MagVitV2(config), draws)
    pixels = draws.uniform(-1, 1, 2, 3, 12, 20)
    random_codes = draws.integers(0, 64, 2, 9)
    with torch.no_grad():
        latent = model.encoder(pixels)
        codes = model.quantize.codes(latent)
        io = {
            "pixel_values": pixels,
            "latent": latent,
            "indices": codes,
            "reconstruction": model.decoder(model.quantize.bits(codes, 3, 5)),
            "random_indices": random_codes,
            "random_decoded": model.decoder(model.quantize.bits(random_codes, 3, 3)),
        }
    return Fixture(config, model.state_dict(), io)
