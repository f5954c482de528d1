// Gradient of the activation in gelu_tanh.wgsl, four at a time: with z its logistic function's argument,
// `dx = g (σ(z) + x σ(z) (1 - σ(z)) dz/dx)`.

struct Info {
    quads: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = place(workgroup) * 64u + lane;
    if (quad >= info.quads) {
        return;
    }
    let value = x[quad];
    let square = CUBE * value * value;
    let sigmoid = 1.0 / (1.0 + exp(-SLOPE * value * (1.0 + square)));
    dx[quad] = grad[quad] * sigmoid * (1.0 + value * (1.0 - sigmoid) * SLOPE * (1.0 + 3.0 * square));
}
