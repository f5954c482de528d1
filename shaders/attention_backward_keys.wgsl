// Gradient of the keys of attention: an invocation owns one key row and walks over the queries that may see it.
// `dk = scale Σ p (g · v - δ) q`; see `attention_backward_queries.wgsl`.

// [keys, heads / group, width]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;
// [queries]: each row sees the keys [x, y)
@group(0) @binding(3) var<storage, read_write> visible: array<vec2<u32>>;
// [tiles]: key rows [x, y), which no query outside [z, w) sees
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4<u32>>;
// [queries, heads, width]
@group(0) @binding(5) var<storage, read_write> grad: array<vec4<f32>>;
// [queries, heads]
@group(0) @binding(6) var<storage, read_write> stats: array<vec2<f32>>;
// [keys, heads / group, width]
@group(0) @binding(7) var<storage, read_write> dk: array<vec4<f32>>;
@group(0) @binding(8) var<uniform> info: Info;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[workgroup.x];
    let kv_head = workgroup.y;
    let row = tile.x + lane;
    if (row >= tile.y) {
        return;
    }
    let own = (row * (info.heads / info.group) + kv_head) * QUADS;
    // repeat QUADS
    let key# = k[own + #u] * info.scale;
    let value# = v[own + #u];
    var sum# = vec4<f32>();
    // end
    for (var query = tile.z; query < tile.w; query++) {
        let range = visible[query];
        if (row < range.x || row >= range.y) {
            continue;
        }
        for (var head = kv_head * info.group; head < (kv_head + 1u) * info.group; head++) {
            let place = query * info.heads + head;
            let at = place * QUADS;
            var score = 0.0;
            var value = 0.0;
            // repeat QUADS
            score += dot(key#, q[at + #u]);
            value += dot(value#, grad[at + #u]);
            // end
            let weight = exp(score - stats[place].x) * (value - stats[place].y) * info.scale;
            // repeat QUADS
            sum# += weight * q[at + #u];
            // end
        }
    }
    // repeat QUADS
    dk[own + #u] = sum#;
    // end
}
