"""CLIPModel of transformers and CLIP of OpenCLIP: normalised embeddings of pictures and texts."""

import math

import open_clip as library
import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from .common import Draws, Fixture, fill

VOCABULARY, LENGTH = 53, 12
START, END = VOCABULARY - 2, VOCABULARY - 1


def texts(draws):
    """Three texts of START, tokens, END, padded with 0; the last one fills its row. [3, LENGTH]"""
    ids = torch.zeros(3, LENGTH, dtype=torch.int64)
    for row, length in zip(ids, [4, 7, LENGTH]):
        row[:length] = torch.cat(
            [torch.tensor([START]), draws.integers(1, START, length - 2), torch.tensor([END])]
        )
    return ids


def hugging_face():
    """With the quick GELU of OpenAI's models; the text's feature is taken at its first END."""
    draws = Draws(31)
    config = {
        "model_type": "clip",
        "projection_dim": 20,
        "text_config": {
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "intermediate_size": 36,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": LENGTH,
            "hidden_act": "quick_gelu",
            "bos_token_id": START,
            "eos_token_id": END,
            "pad_token_id": 0,
        },
        "vision_config": {
            "hidden_size": 24,
            "intermediate_size": 52,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "image_size": 20,
            "patch_size": 5,
            "hidden_act": "quick_gelu",
        },
    }
    known = {key: value for key, value in config.items() if key != "model_type"}
    model = fill(CLIPModel(CLIPConfig(**known, attn_implementation="eager")), draws)
    ids, pixels = texts(draws), draws.normal(3, 3, 20, 20)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10.0))
        out = model(input_ids=ids, pixel_values=pixels)
    io = {
        "input_ids": ids,
        "pixel_values": pixels,
        "image_embeds": out.image_embeds,
        "text_embeds": out.text_embeds,
        "logits_per_image": out.logits_per_image,
    }
    return Fixture(config, model.state_dict(), io)


def open_clip():
    """In the layout that HPSv2 ships; the text's feature is taken at the highest id."""
    draws = Draws(32)
    config = {
        "embed_dim": 20,
        "vision_cfg": {
            "image_size": 20, "layers": 2, "width": 24, "head_width": 8, "patch_size": 5, "mlp_ratio": 2.5,
        },
        "text_cfg": {
            "context_length": LENGTH, "vocab_size": VOCABULARY, "width": 16, "heads": 2, "layers": 2,
        },
    }  # fmt: skip
    model = fill(library.CLIP(**config), draws)
    ids, pixels = texts(draws), draws.normal(3, 3, 20, 20)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10.0))
        image = F.normalize(model.encode_image(pixels), dim=-1)
        text = F.normalize(model.encode_text(ids), dim=-1)
        io = {
            "input_ids": ids,
            "pixel_values": pixels,
            "image_embeds": image,
            "text_embeds": text,
            "logits_per_image": model.logit_scale.exp() * image @ text.T,
        }
    return Fixture(config, model.state_dict(), io)
