// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, four at a time: (1 + tanh z) / 2 is the logistic function of 2 z.

struct Info {
    quads: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = place(workgroup) * 64u + lane;
    if (quad >= info.quads) {
        return;
    }
    let value = x[quad];
    y[quad] = value / (1.0 + exp(-SLOPE * value * (1.0 + CUBE * value * value)));
}
