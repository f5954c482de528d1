// A core function of WGSL unpacks the halves, so storing them needs no `shader-f16`.
@group(0) @binding(2) var<storage, read_write> weight: array<vec2<u32>>;

/// Four consecutive weights of a row.
fn weight_at(quad: u32) -> vec4<f32> {
    let words = weight[quad];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
