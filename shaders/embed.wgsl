// Entries of a table that stays as it is stored.

struct Info {
    // number of entries
    rows: u32,
    // width / 4
    quads: u32,
    // row of the table's storage where its first entry is
    first: u32,
}

// [rows]
@group(0) @binding(0) var<storage, read_write> ids: array<u32>;
// [rows, width]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    if (index < info.rows * info.quads) {
        y[index] = weight_at((info.first + ids[index / info.quads]) * info.quads + index % info.quads);
    }
}
