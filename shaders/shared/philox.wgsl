// Counter-based random numbers. Up to `unit` they equal those of core's module `philox` bit by bit.

// The purpose of a draw, word 3 of the counter.
const TOKEN: u32 = 0u;
const CONFIDENCE: u32 = 1u;

/// The upper and the lower word of a product of two words. WGSL has no 64-bit integers, so the upper word is computed
/// from products of halves.
fn product(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let cross = a_high * b_low;
    let middle = a_low * b_high + (cross & 0xffffu) + ((a_low * b_low) >> 16u);
    return vec2<u32>(a_high * b_high + (cross >> 16u) + (middle >> 16u), a * b);
}

/// Ten rounds of Philox4x32: four words of 32 random bits from a key and a counter.
fn philox(seed: vec2<u32>, place: vec4<u32>) -> vec4<u32> {
    var key = seed;
    var counter = place;
    for (var round = 0u; round < 10u; round++) {
        let even = product(0xD2511F53u, counter.x);
        let odd = product(0xCD9E8D57u, counter.z);
        counter = vec4<u32>(odd.x ^ counter.y ^ key.x, odd.y, even.x ^ counter.w ^ key.y, even.y);
        key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

/// Numbers in (0, 1) from the upper 23 bits of words, exactly.
fn unit(words: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(2u * (words >> vec4<u32>(9u)) + 1u) / 16777216.0;
}

/// Standard Gumbel variables `-ln(-ln(1 - u))`. For small `u`, where `log` is inexact, `-ln(1 - u)` is a series.
fn gumbel(u: vec4<f32>) -> vec4<f32> {
    let series = u * (1.0 + u * (1.0 / 2.0 + u * (1.0 / 3.0 + u * (1.0 / 4.0 + u * (1.0 / 5.0 + u / 6.0)))));
    return -log(select(-log(1.0 - u), series, u < vec4<f32>(0.0625)));
}
