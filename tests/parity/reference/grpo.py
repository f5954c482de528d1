"""GRPO on stored rollouts of two prompts, as UniGen-1.5 trains (arXiv 2511.14760, section 3.4): loss, divergence, gradients.

A token's log-probability is that of the step that fixed it: softmax over the code columns, temperature 1, no guidance. A token
adds -(exp(lp - stopgrad lp) A - beta KL) with KL = exp(ref - lp) - (ref - lp) - 1; the mean is over tokens, then samples.
"""

import torch

from .common import Draws, Fixture
from .decoding import CODES, MASK, SOI, TEXTS, code_logits
from .qwen2 import decoder, with_prefix
from .training import LENGTH, TOKENS, gradients, settings

GROUP, STEPS, BETA = 6, 4, 0.04


def log_probs(model, prompts, inputs, codes, fixed):
    """The codes' log-probabilities at the steps that fix them, [GROUP, TOKENS]."""
    total = torch.zeros(GROUP, TOKENS)
    for step in range(STEPS):
        logits = code_logits(model, prompts, inputs[step], [0] * GROUP)
        of_codes = torch.log_softmax(logits, dim=-1).gather(-1, codes.unsqueeze(-1)).squeeze(-1)
        total = total + of_codes * fixed[step]
    return total


def make():
    draws = Draws(71)
    config = {**settings(tie=True), "group": GROUP, "steps": STEPS, "beta": BETA}
    model, reference = decoder(config, draws), decoder(config, draws)
    # The reference is the policy of some steps ago.
    with torch.no_grad():
        for now, then in zip(model.parameters(), reference.parameters()):
            then.copy_(now + 0.1 * then)
    # Three samples of each prompt.
    prompts = draws.integers(1, SOI, 2, LENGTH).repeat_interleave(GROUP // 2, dim=0)
    codes = draws.integers(0, CODES, GROUP, TOKENS)
    # The step that fixes each code: every step fixes at least one.
    when = torch.stack(
        [torch.cat([torch.arange(STEPS), draws.integers(0, STEPS, TOKENS - STEPS)])[draws.permutation(TOKENS)]
         for _ in range(GROUP)]
    )  # fmt: skip
    steps = torch.arange(STEPS).view(STEPS, 1, 1)
    inputs = torch.where(when < steps, codes + TEXTS, MASK)
    fixed = (when == steps).to(torch.uint8)
    rewards = draws.normal(2, GROUP // 2)
    deviation = rewards.std(dim=1, keepdim=True, unbiased=False)
    advantages = ((rewards - rewards.mean(dim=1, keepdim=True)) / deviation).flatten()

    now = log_probs(model, prompts, inputs, codes, fixed)
    with torch.no_grad():
        then = log_probs(reference, prompts, inputs, codes, fixed)
    ratio = torch.exp(now - now.detach())
    away = then - now
    kl = torch.exp(away) - away - 1
    loss = -(ratio * advantages.unsqueeze(1) - BETA * kl).mean(dim=1).mean()
    loss.backward()
    io = {
        "prompt_ids": prompts,
        "final_codes": codes,
        "newly_fixed": fixed,
        "step_inputs": inputs,
        "advantages": advantages,
        "log_probs": now,
        "reference_log_probs": then,
        "kl": kl.mean(dim=1).mean(),
        "loss": loss,
        **gradients(model),
    }
    return Fixture(config, with_prefix("llm.", model) | with_prefix("reference.llm.", reference), io)
