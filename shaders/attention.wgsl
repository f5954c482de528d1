// Grouped-query attention in one pass over the keys (online softmax: Milakov & Gimelshein 2018; Dao et al. 2022). An
// invocation owns one head of one query row, so scores stay in its registers and nothing has to be synchronised. A
// workgroup owns a tile: rows of one sequence that walk over the same keys together, so keys and values are loaded once
// for all of them.

// [keys, heads / group, width]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;
// [queries]: each row sees the keys [x, y)
@group(0) @binding(3) var<storage, read_write> visible: array<vec2<u32>>;
// [tiles]: query rows [x, y), of which none sees a key outside [z, w)
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4<u32>>;
// [queries, heads, width]
@group(0) @binding(5) var<storage, read_write> mixed: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> info: Info;

const LEAST: f32 = -3.0e38;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[workgroup.x];
    let head = workgroup.y;
    let row = tile.x + lane;
    if (row >= tile.y) {
        return;
    }
    let range = visible[row];
    let own = (row * info.heads + head) * QUADS;
    let kv_heads = info.heads / info.group;
    let kv_head = head / info.group;
    // repeat QUADS
    let query# = q[own + #u] * info.scale;
    var sum# = vec4<f32>();
    // end
    var top = LEAST;
    var total = 0.0;
    for (var first = tile.z; first < tile.w; first += 4u) {
        // Four keys. Beyond the end the last key is read again. Keys that a row does not see have weight 0.
        let keys = first + vec4<u32>(0u, 1u, 2u, 3u);
        let at = (min(keys, vec4<u32>(tile.w - 1u)) * kv_heads + kv_head) * QUADS;
        var score = vec4<f32>();
        // repeat QUADS
        score += vec4<f32>(
            dot(query#, k[at.x + #u]),
            dot(query#, k[at.y + #u]),
            dot(query#, k[at.z + #u]),
            dot(query#, k[at.w + #u]),
        );
        // end
        let seen = (keys >= vec4<u32>(range.x)) & (keys < vec4<u32>(range.y));
        score = select(vec4<f32>(LEAST), score, seen);
        let peak = max(max(max(score.x, score.y), max(score.z, score.w)), top);
        let kept = exp(top - peak);
        let weight = select(vec4<f32>(), exp(score - peak), seen);
        top = peak;
        total = total * kept + dot(weight, vec4<f32>(1.0));
        // repeat QUADS
        sum# = sum# * kept + weight.x * v[at.x + #u] + weight.y * v[at.y + #u] + weight.z * v[at.z + #u]
            + weight.w * v[at.w + #u];
        // end
    }
    // A row that sees no key gives zeros.
    let share = select(0.0, 1.0 / total, total > 0.0);
    // repeat QUADS
    mixed[own + #u] = sum# * share;
    // end
}
