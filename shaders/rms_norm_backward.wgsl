// Gradient of rms_norm.wgsl, where an invocation also owns a row. With `x̂ = s x`: `dx = s (g w - x̂ mean(g w x̂))`.
// The second output is `g x̂`, whose sum over the rows is the weight's gradient.

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
@group(0) @binding(2) var<storage, read_write> grad: array<vec4<f32>>;
// [rows, width]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;
// [rows, width]
@group(0) @binding(4) var<storage, read_write> dweight: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = place(workgroup) * 64u + lane;
    if (row >= info.rows) {
        return;
    }
    let first = row * info.quads;
    var squares = vec4<f32>();
    var products = vec4<f32>();
    for (var i = 0u; i < info.quads; i++) {
        let value = x[first + i];
        squares += value * value;
        products += grad[first + i] * weight[i] * value;
    }
    let width = f32(4u * info.quads);
    let scale = 1.0 / sqrt(dot(squares, vec4<f32>(1.0)) / width + info.eps);
    let mean = dot(products, vec4<f32>(1.0)) / width * scale * scale;
    for (var i = 0u; i < info.quads; i++) {
        let value = x[first + i];
        let g = grad[first + i];
        dx[first + i] = scale * (g * weight[i] - value * mean);
        dweight[first + i] = scale * g * value;
    }
}
