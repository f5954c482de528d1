// Gradients of silu(gate) * up, four at a time.

struct Info {
    quads: u32,
}

@group(0) @binding(0) var<storage, read_write> gate: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> up: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> grad: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dgate: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dup: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = place(workgroup) * 64u + lane;
    if (quad >= info.quads) {
        return;
    }
    let x = gate[quad];
    let g = grad[quad];
    let sigmoid = 1.0 / (1.0 + exp(-x));
    dgate[quad] = g * up[quad] * sigmoid * (1.0 + x * (1.0 - sigmoid));
    dup[quad] = g * x * sigmoid;
}
