// Sums over chunks of rows, for the gradient of a value that all rows share. Lanes lie along the columns. A second
// launch sums the chunks' sums.

struct Info {
    rows: u32,
    width: u32,
    // rows of a chunk
    chunk: u32,
}

// [rows, width]
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
// [chunks, width]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = workgroup.x * 64u + lane;
    if (column >= info.width) {
        return;
    }
    let end = min((workgroup.y + 1u) * info.chunk, info.rows);
    var sum = 0.0;
    for (var row = workgroup.y * info.chunk; row < end; row++) {
        sum += x[row * info.width + column];
    }
    sums[workgroup.y * info.width + column] = sum;
}
