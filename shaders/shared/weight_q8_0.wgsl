/// Four consecutive weights of a row, a signed byte each.
fn weight_at(quad: u32) -> vec4<f32> {
    let block = 17u * (quad / 8u);
    let steps = bitcast<i32>(word_at(block + 1u + 2u * (quad % 8u)));
    let whole = vec4<i32>(steps << 24u, steps << 16u, steps << 8u, steps) >> vec4<u32>(24u);
    return scale_at(block) * vec4<f32>(whole);
}
