@group(0) @binding(2) var<storage, read_write> weight: array<vec4<f32>>;

/// Four consecutive weights of a row.
fn weight_at(quad: u32) -> vec4<f32> {
    return weight[quad];
}
