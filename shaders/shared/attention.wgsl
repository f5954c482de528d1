// Bindings that all attention kernels share. `const QUADS: u32`, the width of a head / 4, comes before this text.

struct Info {
    heads: u32,
    // number of heads that share keys and values
    group: u32,
    // factor of the scores
    scale: f32,
}

// [queries, heads, width]
@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>;
// [keys, heads / group, width]
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>;
