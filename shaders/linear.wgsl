// y = x wᵀ + b. An invocation keeps a tile of four rows by four outputs in registers and walks along the inputs four at
// a time, so that eight loads feed sixty-four products; neither workgroup memory nor barriers.

struct Info {
    rows: u32,
    // inputs / 4
    quads: u32,
    outputs: u32,
}

// [rows, inputs]
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
// [rows, outputs]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

/// Four outputs of a row, as far as they exist.
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

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let output = 4u * id.x;
    let row = 4u * id.y;
    if (row >= info.rows || output >= info.outputs) {
        return;
    }
    // Where the tile runs over the edge the last row is read again; nothing is written there.
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let r = min(row + four, vec4<u32>(info.rows - 1u)) * info.quads;
    let o = min(output + four, vec4<u32>(info.outputs - 1u)) * info.quads;
    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    for (var quad = 0u; quad < info.quads; quad++) {
        let w0 = weight_at(o.x + quad);
        let w1 = weight_at(o.y + quad);
        let w2 = weight_at(o.z + quad);
        let w3 = weight_at(o.w + quad);
        let x0 = x[r.x + quad];
        let x1 = x[r.y + quad];
        let x2 = x[r.z + quad];
        let x3 = x[r.w + quad];
        sums0 += vec4<f32>(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
        sums1 += vec4<f32>(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
        sums2 += vec4<f32>(dot(x2, w0), dot(x2, w1), dot(x2, w2), dot(x2, w3));
        sums3 += vec4<f32>(dot(x3, w0), dot(x3, w1), dot(x3, w2), dot(x3, w3));
    }
    store(row, output, sums0);
    store(row + 1u, output, sums1);
    store(row + 2u, output, sums2);
    store(row + 3u, output, sums3);
}
