"""Masked prediction in PyTorch: loss, gradients, and the weights after ten steps of torch.optim.AdamW on one batch."""

import torch
from torch.nn import functional as F

from .common import Draws, Fixture
from .decoding import CODES, EOI, MASK, SOI, TEXTS, image_rows
from .qwen2 import decoder, hidden, with_prefix

STEPS, BATCH, LENGTH, TOKENS = 10, 3, 6, 9


def settings(tie):
    """A decoder that is small enough for its gradients to be kept."""
    return {
        "model_type": "qwen2",
        "vocab_size": MASK + 1,
        "hidden_size": 16,
        "intermediate_size": 28,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": tie,
        "text_vocab": TEXTS,
        "codebook_size": CODES,
        "mask_token_id": MASK,
        "num_image_tokens": TOKENS,
        "soi": SOI,
        "eoi": EOI,
    }


def gradients(model):
    return {f"grad.{name}": parameter.grad.clone() for name, parameter in model.named_parameters()}


def make():
    draws = Draws(61)
    # A larger eps than usual: at 1e-8 rounding decides where a weight goes whose gradient is almost 0.
    adamw = {"lr": 2e-3, "betas": [0.9, 0.95], "eps": 1e-5, "weight_decay": 0.05}
    config = {**settings(tie=False), "steps": STEPS, "adamw": adamw}
    model = decoder(config, draws)
    start = {name: value.clone() for name, value in with_prefix("llm.", model).items()}
    texts = draws.integers(1, SOI, BATCH, LENGTH)
    codes = draws.integers(0, CODES, BATCH, TOKENS)
    masked = torch.zeros(BATCH, TOKENS, dtype=torch.bool)
    for row, count in zip(masked, [2, 5, TOKENS]):
        row[draws.permutation(TOKENS)[:count]] = True
    ids, allow = image_rows(texts, torch.where(masked, MASK, codes + TEXTS), [2, 0, 0])

    def logits():
        rows = hidden(model, ids, allow)[:, LENGTH + 1 : LENGTH + 1 + TOKENS]
        return model.lm_head(rows[masked])

    def loss():
        """The mean over masked codes; the softmax is over the code columns."""
        return F.cross_entropy(logits()[:, TEXTS:MASK], codes[masked])

    with torch.no_grad():
        io = {
            "input_ids": ids,
            "codes": codes,
            "masked": masked.to(torch.uint8),
            "allow": allow,
            "loss_code_columns": loss(),
            "loss_full_vocabulary": F.cross_entropy(logits(), codes[masked] + TEXTS),
        }
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], **adamw
    )
    history = []
    for step in range(STEPS):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if step == 0:
            io |= gradients(model)
        history.append(value.detach())
        optimizer.step()
    io["loss_history"] = torch.stack(history)
    io |= {f"after.{name}": parameter for name, parameter in model.named_parameters()}
    return Fixture(config, start, io)
