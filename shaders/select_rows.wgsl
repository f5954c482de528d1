// Copies chosen rows.

struct Info {
    // number of chosen rows
    rows: u32,
    // width / 4
    quads: u32,
}

// [.., width]
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
// [rows]
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;
// [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    if (index < info.rows * info.quads) {
        y[index] = x[rows[index / info.quads] * info.quads + index % info.quads];
    }
}
