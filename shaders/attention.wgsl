// Grouped-query attention in one pass over the keys (online softmax: Milakov & Gimelshein 2018; Dao et al. 2022): an
// invocation owns one head of one query row, so scores never leave its registers and nothing has to be synchronised.
//
// `const QUADS: u32`, the width of a head / 4, comes before this text.

struct Info {
    queries: u32,
    heads: u32,
    // heads that share keys and values
    group: u32,
    // of the scores
    scale: f32,
}

// [queries, heads, width]
@group(0) @binding(0) var<storage, read_write> q: array<vec4<f32>>;
// [keys, heads / group, width]
@group(0) @binding(1) var<storage, read_write> k: array<vec4<f32>>;
// [keys, heads / group, width]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;
// [queries]: each row sees the keys [x, y)
@group(0) @binding(3) var<storage, read_write> visible: array<vec2<u32>>;
// [queries, heads, width]
@group(0) @binding(4) var<storage, read_write> mixed: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> info: Info;

const LEAST: f32 = -3.0e38;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // Neighbours work on one head of neighbouring rows: they read the same keys.
    let index = place(workgroup) * 64u + lane;
    let head = index / info.queries;
    let row = index % info.queries;
    if (head >= info.heads) {
        return;
    }
    let own = (row * info.heads + head) * QUADS;
    let kv_heads = info.heads / info.group;
    let kv_head = head / info.group;
    var query: array<vec4<f32>, QUADS>;
    var sum: array<vec4<f32>, QUADS>;
    for (var i = 0u; i < QUADS; i++) {
        query[i] = q[own + i] * info.scale;
        sum[i] = vec4<f32>();
    }
    var top = LEAST;
    var total = 0.0;
    let range = visible[row];
    for (var first = range.x; first < range.y; first += 4u) {
        // Four keys; beyond the end the last is read again, with a weight of 0.
        let keys = first + vec4<u32>(0u, 1u, 2u, 3u);
        let at = (min(keys, vec4<u32>(range.y - 1u)) * kv_heads + kv_head) * QUADS;
        var score = vec4<f32>();
        for (var i = 0u; i < QUADS; i++) {
            let x = query[i];
            score += vec4<f32>(dot(x, k[at.x + i]), dot(x, k[at.y + i]), dot(x, k[at.z + i]), dot(x, k[at.w + i]));
        }
        score = select(vec4<f32>(LEAST), score, keys < vec4<u32>(range.y));
        let peak = max(max(max(score.x, score.y), max(score.z, score.w)), top);
        let kept = exp(top - peak);
        let weight = exp(score - peak);
        top = peak;
        total = total * kept + dot(weight, vec4<f32>(1.0));
        for (var i = 0u; i < QUADS; i++) {
            sum[i] = sum[i] * kept + weight.x * v[at.x + i] + weight.y * v[at.y + i] + weight.z * v[at.z + i]
                + weight.w * v[at.w + i];
        }
    }
    // A row that sees nothing gives zeros.
    let share = select(0.0, 1.0 / total, total > 0.0);
    for (var i = 0u; i < QUADS; i++) {
        mixed[own + i] = sum[i] * share;
    }
}
