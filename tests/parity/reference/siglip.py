"""SiglipVisionModel and Siglip2VisionModel (NaFlex) of transformers.

`penultimate` is the output of the last encoder layer but one, before post_layernorm: what UniGen feeds to its projector.
"""

import torch
from transformers import Siglip2VisionConfig, Siglip2VisionModel, SiglipVisionConfig, SiglipVisionModel

from .common import Draws, Fixture, fill


def sizes(**others):
    return {
        "hidden_size": 24,
        "intermediate_size": 44,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        **others,
    }


def published(model):
    """The weights under the names of the tower itself."""
    return {name.removeprefix("vision_model."): value for name, value in model.state_dict().items()}


def fixed():
    """Every picture has one size. Patches of 5 leave 2 of 22 pixels over."""
    draws = Draws(21)
    config = sizes(model_type="siglip_vision_model", image_size=22, patch_size=5)
    known = {key: value for key, value in config.items() if key != "model_type"}
    model = fill(SiglipVisionModel(SiglipVisionConfig(**known, attn_implementation="eager")), draws)
    pixels = draws.uniform(-1, 1, 2, 3, 22, 22)
    with torch.no_grad():
        out = model(pixel_values=pixels, output_hidden_states=True)
    io = {
        "pixel_values": pixels,
        "penultimate": out.hidden_states[-2],
        "last_hidden_state": out.last_hidden_state,
    }
    return Fixture(config, published(model), io)


def naflex():
    """Pictures of any shape: flattened patches, [batch, longest, patch * patch * 3] in the order y, x, channel.

    One picture is wider than the table of positions, one is higher, one has its shape.
    """
    draws = Draws(22)
    config = sizes(model_type="siglip2_vision_model", patch_size=4, num_patches=16)
    known = {key: value for key, value in config.items() if key != "model_type"}
    model = fill(Siglip2VisionModel(Siglip2VisionConfig(**known, attn_implementation="eager")), draws)
    shapes = torch.tensor([[2, 7], [6, 3], [4, 4]])
    longest = int(shapes.prod(1).max())
    mask = (torch.arange(longest) < shapes.prod(1, keepdim=True)).long()
    pixels = draws.uniform(-1, 1, 3, longest, 48) * mask.unsqueeze(2)
    with torch.no_grad():
        embeddings = getattr(model, "vision_model", model).embeddings(pixels, shapes)
        out = model(
            pixel_values=pixels,
            pixel_attention_mask=mask,
            spatial_shapes=shapes,
            output_hidden_states=True,
        )
    io = {
        "pixel_values": pixels,
        "pixel_mask": mask,
        "spatial_shapes": shapes,
        "embeddings": embeddings,
        "penultimate": out.hidden_states[-2],
        "last_hidden_state": out.last_hidden_state,
    }
    return Fixture(config, published(model), io)
