"""Show-o on Phi, as its published code draws and answers: (1 + w) guidance, draws from the top k, all codes counted, a block before a
question. PhiForCausalLM of transformers with `qk_layernorm` computes what Show-o's own file does.
"""

import torch
from transformers import PhiConfig, PhiForCausalLM

from .common import Draws, Fixture, allow_block, fill
from .decoding import decode, noise
from .qwen2 import hidden, with_prefix

TEXTS, CODES, BOS = 40, 32, 3
# Show-o appends ten tokens to the text tokenizer's: pad, soi, eoi, sov, eov, t2i, mmu, t2v, v2v, lvg.
PAD, SOI, EOI, T2I, MMU = TEXTS, TEXTS + 1, TEXTS + 2, TEXTS + 5, TEXTS + 6
FIRST = TEXTS + 10
MASK = FIRST + CODES


def code_logits(model, texts, codes):
    """Logits of the code columns at the codes' places, one row of text [.., eos] an image: [images, tokens, CODES]."""
    logits = []
    for text, row in zip(texts, codes):
        ids = torch.cat([text, torch.tensor([SOI]), row, torch.tensor([EOI])])
        allow = allow_block(len(ids), 0, (len(text), len(ids)))
        found = hidden(model, ids.unsqueeze(0), allow.unsqueeze(0))[0]
        logits.append(model.lm_head(found[len(text) + 1 : -1])[:, FIRST:MASK])
    return torch.stack(logits)


def answer(model, codes, question, tokens):
    """The likeliest answer to a question about a picture, and the logits of its first token."""
    ids = torch.cat([torch.tensor([MMU, SOI]), codes + FIRST, torch.tensor([EOI, BOS]), question])
    block, first = len(codes) + 3, None
    for _ in range(tokens):
        allow = allow_block(len(ids), 0, (0, block))
        logits = model.lm_head(hidden(model, ids.unsqueeze(0), allow.unsqueeze(0))[0, -1])
        first = logits if first is None else first
        best = logits.topk(2)
        assert best.values[0] - best.values[1] > 1e-3, "a token is a tie: choose another seed"
        ids = torch.cat([ids, best.indices[:1]])
    return first, ids[-tokens:]


def make():
    draws = Draws(88)
    images, tokens, steps, guidance, temperature, top_k = 2, 16, 6, 1.5, 1.0, 9
    sizes = {
        "vocab_size": MASK + 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "layer_norm_eps": 1e-5,
        "partial_rotary_factor": 0.5,
        "rope_theta": 10000.0,
        "qk_layernorm": True,
        "hidden_act": "gelu_new",
    }
    model = fill(PhiForCausalLM(PhiConfig(**sizes, attn_implementation="eager")), draws)
    # Logits that differ enough for a cut among them.
    with torch.no_grad():
        model.lm_head.weight *= 2
    texts = [draws.integers(BOS + 1, TEXTS, length) for length in (7, 4)]
    row = lambda text: torch.cat([torch.tensor([T2I, BOS]), text, torch.tensor([BOS])])
    cond, uncond = [row(text) for text in texts], [row(texts[0][:0])] * images
    start = torch.full((images, tokens), -1)
    start[1, 3:12] = draws.integers(0, CODES, 9)

    def guided_logits(codes):
        ids = torch.where(codes < 0, MASK, codes + FIRST)
        return (1 + guidance) * code_logits(model, cond, ids) - guidance * code_logits(model, uncond, ids)

    drawn = decode(guided_logits, start, steps, temperature, noise(draws, steps, images, tokens, CODES), top_k)
    codes, question = draws.integers(0, CODES, tokens), draws.integers(BOS + 1, TEXTS, 5)
    with torch.no_grad():
        first, said = answer(model, codes, question, 6)
    padded = lambda rows: torch.stack([torch.nn.functional.pad(r, (12 - len(r), 0), value=PAD) for r in rows])
    config = {
        "model_type": "phi",
        "model": "showo",
        **sizes,
        "llm_vocab_size": TEXTS,
        "num_new_special_tokens": 10,
        "codebook_size": CODES,
        "num_vq_tokens": tokens,
        "mask_token_id": MASK,
        "steps": steps,
        "guidance": guidance,
        "temperature": temperature,
        "top_k": top_k,
        "pad": PAD,
        "bos": BOS,
        "eos": BOS,
        "soi": SOI,
        "eoi": EOI,
        "t2i": T2I,
        "mmu": MMU,
    }
    io = {
        "cond_ids": padded(cond),
        "uncond_ids": padded(uncond),
        "start_ids": torch.where(start < 0, MASK, start),
        **drawn,
        "mmu_codes": codes,
        "mmu_question": question,
        "mmu_first_logits": first,
        "mmu_answer": said,
    }
    return Fixture(config, with_prefix("showo.", model), io)
