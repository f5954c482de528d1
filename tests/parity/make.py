"""Writes the parity fixtures: make.py [NAME ...], all of them without a name. README.md says what they are."""

import sys

import torch

from reference import clip, decoding, gguf, grpo, llama, magvitv2, qwen2, showo, siglip, training

MAKERS = {
    "clip": clip.hugging_face,
    "gguf": gguf.make,
    "grpo": grpo.make,
    "llama": llama.make,
    "magvitv2": magvitv2.make,
    "openclip": clip.open_clip,
    "qwen2": qwen2.make,
    "showo": showo.make,
    "siglip": siglip.fixed,
    "siglip2": siglip.naflex,
    "train": training.make,
    "unigen": decoding.make,
}


def main():
    names = sys.argv[1:] or MAKERS
    unknown = [name for name in names if name not in MAKERS]
    if unknown:
        sys.exit(f"no fixture {', '.join(unknown)}; there are {', '.join(MAKERS)}")
    # One thread, so that sums are always taken in the same order.
    torch.set_num_threads(1)
    for name in names:
        fixture = MAKERS[name]()
        size = fixture.write(name)
        print(f"{name}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
