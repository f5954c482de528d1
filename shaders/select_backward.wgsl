// Gradient of a choice of rows. Each row takes the gradient of the place where it went, or zero if it was not chosen.

struct Info {
    rows: u32,
    // width / 4
    quads: u32,
}

// [rows]: 1 + where the row went, or 0
@group(0) @binding(0) var<storage, read_write> inverse: array<u32>;
// [chosen rows, width]
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<f32>>;
// [rows, width]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    if (index >= info.rows * info.quads) {
        return;
    }
    let at = inverse[index / info.quads];
    var value = vec4<f32>();
    if (at > 0u) {
        value = grad[(at - 1u) * info.quads + index % info.quads];
    }
    dx[index] = value;
}
