// y = x wᵀ + b. An invocation keeps a tile of eight rows by four outputs in registers and walks along the inputs four
// at a time: twelve loads feed 128 products, without workgroup memory or barriers. All lanes of a workgroup work on the
// same rows, so eight of the loads serve the whole workgroup.

struct Info {
    rows: u32,
    // inputs / 4
    quads: u32,
    outputs: u32,
    // row of the weight's storage where its first output is
    first: u32,
}

// [rows, inputs]
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
// [rows, outputs]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

/// Writes four outputs of a row, as far as they exist.
fn store(row: u32, output: u32, sums: vec4<f32>) {
    if (row >= info.rows) {
        return;
    }
    let at = row * info.outputs + output;
    y[at] = sums.x + bias_at(output);
    if (output + 1u < info.outputs) {
        y[at + 1u] = sums.y + bias_at(output + 1u);
    }
    if (output + 2u < info.outputs) {
        y[at + 2u] = sums.z + bias_at(output + 2u);
    }
    if (output + 3u < info.outputs) {
        y[at + 3u] = sums.w + bias_at(output + 3u);
    }
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = 8u * workgroup.y;
    let output = 4u * (32u * workgroup.x + lane);
    if (output >= info.outputs) {
        return;
    }
    // Beyond the last row the tile reads that row again and writes nothing.
    let outputs = min(output + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(info.outputs - 1u));
    let o = (info.first + outputs) * info.quads;
    // repeat 8
    let r# = min(row + #u, info.rows - 1u) * info.quads;
    var sums# = vec4<f32>();
    // end
    for (var quad = 0u; quad < info.quads; quad++) {
        let w0 = weight_at(o.x + quad);
        let w1 = weight_at(o.y + quad);
        let w2 = weight_at(o.z + quad);
        let w3 = weight_at(o.w + quad);
        // repeat 8
        let x# = x[r# + quad];
        sums# += vec4<f32>(dot(x#, w0), dot(x#, w1), dot(x#, w2), dot(x#, w3));
        // end
    }
    // repeat 8
    store(row + #u, output, sums#);
    // end
}
