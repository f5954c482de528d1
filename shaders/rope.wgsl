// Rotary position embedding. The two halves of a head form the pairs. An invocation turns four pairs. The gradient is
// the same turn backwards.

struct Info {
    // number of invocations, each of which turns four pairs
    invocations: u32,
    heads: u32,
    // width of a head / 8
    quads: u32,
    // 1, or -1 to turn back
    direction: f32,
}

// [tokens, heads, width]
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
// [tokens, width / 2]
@group(0) @binding(1) var<storage, read_write> cosine: array<vec4<f32>>;
// [tokens, width / 2]
@group(0) @binding(2) var<storage, read_write> sine: array<vec4<f32>>;
// [tokens, heads, width]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    if (index >= info.invocations) {
        return;
    }
    let head = index / info.quads;
    let pair = index % info.quads;
    let low = 2u * head * info.quads + pair;
    let high = low + info.quads;
    let angle = (head / info.heads) * info.quads + pair;
    let turn = sine[angle] * info.direction;
    y[low] = x[low] * cosine[angle] - x[high] * turn;
    y[high] = x[high] * cosine[angle] + x[low] * turn;
}
