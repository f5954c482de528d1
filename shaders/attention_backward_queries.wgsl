// Gradient of the queries of attention. As in the forward pass, an invocation owns one head of one query row. It
// recomputes the scores (Dao et al. 2022). With the weights `p` and `δ = Σ p (g · v)`: `dq = scale Σ p (g · v - δ) k`.
// The kernels for keys and values need two numbers of each row, which go to `stats`: the logarithm of the sum of its
// exponentials, and δ.

// [keys, heads / group, width]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>;
// [queries]: each row sees the keys [x, y)
@group(0) @binding(3) var<storage, read_write> visible: array<vec2<u32>>;
// [tiles]: query rows [x, y)
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4<u32>>;
// [queries, heads, width]
@group(0) @binding(5) var<storage, read_write> grad: array<vec4<f32>>;
// [queries, heads, width]
@group(0) @binding(6) var<storage, read_write> dq: array<vec4<f32>>;
// [queries, heads]
@group(0) @binding(7) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(8) var<uniform> info: Info;

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
    let grad# = grad[own + #u];
    var sum# = vec4<f32>();
    // end
    var top = LEAST;
    var total = 0.0;
    var delta = 0.0;
    for (var key = range.x; key < range.y; key++) {
        let at = (key * kv_heads + kv_head) * QUADS;
        var score = 0.0;
        var value = 0.0;
        // repeat QUADS
        score += dot(query#, k[at + #u]);
        value += dot(grad#, v[at + #u]);
        // end
        let peak = max(score, top);
        let kept = exp(top - peak);
        let weight = exp(score - peak);
        top = peak;
        total = total * kept + weight;
        delta = delta * kept + weight * value;
    }
    // A row that sees no key has weights of 0.
    let share = select(0.0, 1.0 / total, total > 0.0);
    delta *= share;
    stats[row * info.heads + head] = vec2<f32>(top + log(max(total, 1.0e-30)), delta);
    for (var key = range.x; key < range.y; key++) {
        let at = (key * kv_heads + kv_head) * QUADS;
        var score = 0.0;
        var value = 0.0;
        // repeat QUADS
        score += dot(query#, k[at + #u]);
        value += dot(grad#, v[at + #u]);
        // end
        let weight = exp(score - top) * share * (value - delta) * info.scale;
        // repeat QUADS
        sum# += weight * k[at + #u];
        // end
    }
    // repeat QUADS
    dq[own + #u] = sum#;
    // end
}
