// A `bf16` is the upper half of an `f32`.
@group(0) @binding(2) var<storage, read_write> weight: array<vec2<u32>>;

/// Four consecutive weights of a row.
fn weight_at(quad: u32) -> vec4<f32> {
    let words = weight[quad];
    let bits = vec4<u32>(words.x << 16u, words.x, words.y << 16u, words.y) & vec4<u32>(0xffff0000u);
    return bitcast<vec4<f32>>(bits);
}
