// silu(gate) * up, four at a time.

struct Info {
    quads: u32,
}

@group(0) @binding(0) var<storage, read_write> gate: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> up: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = place(workgroup) * 64u + lane;
    if (quad >= info.quads) {
        return;
    }
    let x = gate[quad];
    y[quad] = x / (1.0 + exp(-x)) * up[quad];
}
