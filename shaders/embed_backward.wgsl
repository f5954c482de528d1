// Gradient of a lookup table. An invocation sums four columns of one entry over all rows that took it, in their order,
// so the sum is the same every time.

struct Info {
    entries: u32,
    rows: u32,
    // width / 4
    quads: u32,
}

// [rows]
@group(0) @binding(0) var<storage, read_write> ids: array<u32>;
// [rows, width]
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<f32>>;
// [entries, width]
@group(0) @binding(2) var<storage, read_write> dtable: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    let entry = index / info.quads;
    let quad = index % info.quads;
    if (entry >= info.entries) {
        return;
    }
    var sum = vec4<f32>();
    for (var row = 0u; row < info.rows; row++) {
        if (ids[row] == entry) {
            sum += grad[row * info.quads + quad];
        }
    }
    dtable[index] = sum;
}
