/// Four consecutive weights of a row. The low halves of 16 bytes hold the first 16 weights of a block, the high halves the
/// others, each 8 steps above its value.
fn weight_at(quad: u32) -> vec4<f32> {
    let block = 9u * (quad / 8u);
    let part = quad % 8u;
    let steps = word_at(block + 1u + 2u * (part % 4u)) >> (4u * (part / 4u));
    let whole = vec4<u32>(steps, steps >> 8u, steps >> 16u, steps >> 24u) & vec4<u32>(15u);
    return scale_at(block) * (vec4<f32>(whole) - vec4<f32>(8.0));
}
