"""What the references share: random numbers, weights, attention masks and the files of a fixture."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


class Draws:
    """Random tensors from NumPy's RandomState, whose stream is the same in every version."""

    def __init__(self, seed):
        self.random = np.random.RandomState(seed)

    def normal(self, *shape, scale=1.0):
        return torch.tensor(self.random.standard_normal(shape) * scale, dtype=torch.float32)

    def uniform(self, low, high, *shape):
        return torch.tensor(self.random.uniform(low, high, shape), dtype=torch.float32)

    def gumbel(self, *shape):
        return torch.tensor(self.random.gumbel(size=shape), dtype=torch.float32)

    def integers(self, low, high, *shape):
        """Whole numbers from `low` to `high - 1`."""
        return torch.tensor(self.random.randint(low, high, shape), dtype=torch.int64)

    def permutation(self, count):
        return torch.tensor(self.random.permutation(count), dtype=torch.int64)


def fill(model, draws):
    """Draws every parameter of `model` anew, and returns it ready for inference.

    The libraries' own initial weights are too small to show a fault: norms are 1, biases 0, and logits hardly leave 0.
    """
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim >= 2:
                inputs = parameter.numel() // parameter.shape[0]
                parameter.copy_(draws.normal(*parameter.shape, scale=inputs**-0.5))
            elif parameter.ndim == 1:
                scale_of_norm = name.endswith("weight")
                parameter.copy_(draws.normal(*parameter.shape, scale=0.2) + float(scale_of_norm))
    return model.eval()


def additive(allow):
    """`allow` [batch, rows, columns] of 0 and 1 as the mask that attention adds to its scores, [batch, 1, rows, columns]."""
    hidden = torch.finfo(torch.float32).min
    return torch.where(allow.bool(), 0.0, hidden).unsqueeze(1)


def allow_block(length, pads, block):
    """Who sees whom in a row of `length` tokens: [length, length] of 0 and 1.

    The first `pads` tokens are padding, which no other token sees. Tokens in the range `block` see all tokens but padding
    up to the end of the block; all other tokens see themselves and what is before them.
    """
    row, column = torch.arange(length).unsqueeze(1), torch.arange(length).unsqueeze(0)
    start, end = block
    in_block = (row >= start) & (row < end)
    seen = (column <= row) | (in_block & (column < end))
    return (seen & ((column >= pads) | (row < pads))).to(torch.uint8)


@dataclass
class Fixture:
    """The three files of a parity folder, or its two where a GGUF file is its own configuration."""

    config: dict | None
    model: dict | bytes
    io: dict

    def write(self, name):
        """Writes the folder `name`; returns its size in bytes."""
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        if self.config is not None:
            (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n")
        files = [("io", self.io)]
        if isinstance(self.model, bytes):
            (folder / "model.gguf").write_bytes(self.model)
        else:
            files.append(("model", self.model))
        for file, tensors in files:
            tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
            save_file(tensors, folder / f"{file}.safetensors")
        return sum(file.stat().st_size for file in folder.iterdir())
