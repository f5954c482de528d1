// Adds a bias to every row.

struct Info {
    values: u32,
    width: u32,
}

// [rows, width]
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
// [width]
@group(0) @binding(1) var<storage, read_write> bias: array<f32>;
// [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    if (index < info.values) {
        y[index] = x[index] + bias[index % info.width];
    }
}
