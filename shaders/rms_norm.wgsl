// Root-mean-square normalisation. An invocation owns a row: a reduction across a workgroup would need barriers, which cost
// more than they save on rows of this length.

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
// [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = place(workgroup) * 64u + lane;
    if (row >= info.rows) {
        return;
    }
    let first = row * info.quads;
    var squares = vec4<f32>();
    for (var i = 0u; i < info.quads; i++) {
        let value = x[first + i];
        squares += value * value;
    }
    let scale = 1.0 / sqrt(dot(squares, vec4<f32>(1.0)) / f32(4u * info.quads) + info.eps);
    for (var i = 0u; i < info.quads; i++) {
        y[first + i] = x[first + i] * scale * weight[i];
    }
}
