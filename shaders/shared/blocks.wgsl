// Weights in GGML's blocks, as they lie in a file: the `f16` scale of 32 neighbours, then their whole numbers. A block is an
// odd number of halfwords, so that every second one begins in the middle of a word.
@group(0) @binding(2) var<storage, read_write> weight: array<u32>;

/// The 32 bits that begin at a halfword.
fn word_at(halfword: u32) -> u32 {
    let at = halfword / 2u;
    if (halfword % 2u == 0u) {
        return weight[at];
    }
    return (weight[at] >> 16u) | (weight[at + 1u] << 16u);
}

/// The number that begins at a halfword.
fn scale_at(halfword: u32) -> f32 {
    return unpack2x16float(weight[halfword / 2u] >> (16u * (halfword % 2u))).x;
}
