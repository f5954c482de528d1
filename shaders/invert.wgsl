// Inverts a choice of distinct rows: `inverse[rows[i]] = i + 1`. The buffer holds zeros before, so a row that was not
// chosen keeps 0.

struct Info {
    rows: u32,
}

// [rows]
@group(0) @binding(0) var<storage, read_write> rows: array<u32>;
@group(0) @binding(1) var<storage, read_write> inverse: array<u32>;
@group(0) @binding(2) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = place(workgroup) * 64u + lane;
    if (row < info.rows) {
        inverse[rows[row]] = row + 1u;
    }
}
