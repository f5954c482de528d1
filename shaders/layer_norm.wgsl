// Layer normalisation. As in rms_norm.wgsl, an invocation owns a row.

struct Info {
    rows: u32,
    // width / 4
    quads: u32,
    eps: f32,
}

// [rows, width]
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
// [width]
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;
// [width]
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
// [rows, width]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = place(workgroup) * 64u + lane;
    if (row >= info.rows) {
        return;
    }
    let first = row * info.quads;
    let stats = moments(first);
    for (var i = 0u; i < info.quads; i++) {
        y[first + i] = (x[first + i] - stats.x) * stats.y * weight[i] + bias[i];
    }
}
