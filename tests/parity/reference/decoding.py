"""Masked decoding of image codes as UniGen publishes it: one text-to-image batch with guidance, all computed anew at each step."""

import torch

from .common import Draws, Fixture, allow_block
from .qwen2 import decoder, hidden, with_prefix

TEXTS, CODES = 40, 32
PAD, SOI, EOI = 0, 38, 39
MASK = TEXTS + CODES
# Scores that lie nearer together may change places in float32.
TIE = 1e-3


def image_rows(before, codes, pads):
    """Ids of text, soi, codes and eoi, and who sees whom. `codes` are ids of the whole vocabulary; `pads` come first."""
    images, length = before.shape
    delimiters = torch.tensor([SOI, EOI]).expand(images, 2)
    ids = torch.cat([before, delimiters[:, :1], codes, delimiters[:, 1:]], dim=1)
    total = ids.shape[1]
    return ids, torch.stack([allow_block(total, p, (length, total)) for p in pads])


def code_logits(model, before, codes, pads):
    """Logits of the code columns at the codes' places, [images, tokens, CODES]."""
    ids, allow = image_rows(before, codes, pads)
    first, tokens = before.shape[1] + 1, codes.shape[1]
    rows = hidden(model, ids, allow)[:, first : first + tokens]
    return model.lm_head(rows)[..., TEXTS:MASK]


def still_masked(tokens, unknown, step, steps):
    """How many codes stay masked after `step`, counted from 1. In float32, in which thirds round otherwise than in float64."""
    ratio = torch.tensor(step / steps, dtype=torch.float32)
    scheduled = torch.floor(tokens * torch.cos(ratio * torch.pi * 0.5)).long()
    return int(scheduled.clamp(max=unknown - 1).clamp(min=1))


def noise(draws, steps, images, tokens, classes):
    return {
        "gumbel_tokens": draws.gumbel(steps, images, tokens, classes),
        "gumbel_confidence": draws.gumbel(steps, images, tokens),
    }


def decode(guided_logits, start, steps, temperature, noise, top_k=None):
    """Draws the codes that are -1 in `start` [images, tokens]; `guided_logits` gives [images, tokens, classes] for codes so far.

    With `top_k`, among that many of the likeliest only. The schedule counts all codes. Refuses noise that leaves a tie.
    """
    codes, tokens = start.clone(), start.shape[1]
    step_ids, step_masked, first = [], [], None
    for step in range(1, steps + 1):
        with torch.no_grad():
            logits = guided_logits(codes)
        first = logits if first is None else first
        log_p = torch.log_softmax(logits, dim=-1)

        unknown = codes < 0
        scores = log_p + noise["gumbel_tokens"][step - 1]
        if top_k is not None:
            likeliest = log_p.topk(top_k + 1, dim=-1).values
            last, next = likeliest[..., -2:].unbind(-1)
            assert (last - next > 1e-5)[unknown].all(), "the cut is a tie: choose another seed"
            scores = scores.masked_fill(log_p < last.unsqueeze(-1), -torch.inf)
        best = scores.topk(2, dim=-1).values
        assert ((best[..., 0] - best[..., 1])[unknown] > TIE).all(), "a draw is a tie: choose another seed"
        drawn = torch.where(unknown, scores.argmax(-1), codes)

        temperature *= 1 - step / steps
        confidence = log_p.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        confidence = confidence + temperature * noise["gumbel_confidence"][step - 1]
        confidence = confidence.masked_fill(~unknown, torch.inf)
        left = torch.tensor([[still_masked(tokens, int(row.sum()), step, steps)] for row in unknown])
        ordered = confidence.sort(dim=-1).values
        threshold = ordered.gather(1, left)
        sure = threshold - ordered.gather(1, left - 1) > TIE
        assert step == steps or sure.all(), "a re-masking is a tie: choose another seed"
        masked = confidence < threshold
        step_ids.append(drawn)
        step_masked.append(masked.to(torch.uint8))
        codes = torch.where(masked, -1, drawn)
    return {
        **noise,
        "guided_logits_step0": first,
        "step_ids": torch.stack(step_ids),
        "step_masked": torch.stack(step_masked),
        "final_ids": drawn,
    }


def make():
    draws = Draws(52)
    images, tokens, steps, guidance, temperature = 2, 14, 6, 2.5, 0.8
    config = {
        "model_type": "qwen2",
        "vocab_size": MASK + 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "text_vocab": TEXTS,
        "codebook_size": CODES,
        "mask_token_id": MASK,
        "num_image_tokens": tokens,
        "steps": steps,
        "guidance": guidance,
        "temperature": temperature,
        "pad": PAD,
        "soi": SOI,
        "eoi": EOI,
    }
    model = decoder(config, draws)
    cond, uncond = draws.integers(1, SOI, images, 9), torch.zeros(images, 9, dtype=torch.int64)
    cond[0, :3] = PAD
    uncond[:, 6:] = draws.integers(1, SOI, 3)

    def guided_logits(codes):
        ids = torch.where(codes < 0, MASK, codes + TEXTS)
        with_text = code_logits(model, cond, ids, [3, 0])
        without = code_logits(model, uncond, ids, [6, 6])
        return without + guidance * (with_text - without)

    start = torch.full((images, tokens), -1)
    drawn = decode(guided_logits, start, steps, temperature, noise(draws, steps, images, tokens, CODES))
    return Fixture(config, with_prefix("llm.", model), {"cond_ids": cond, "uncond_ids": uncond, **drawn})
