// Guided logits, softmax and Gumbel-max draw of every bit group, and the confidence in the drawn code. A workgroup owns
// a position. Its lanes share the classes, and the first lane combines their results.

struct Info {
    // of the branches' logits
    weights: vec4<f32>,
    // of the groups of a code, the most significant first
    bits: vec4<u32>,
    branches: u32,
    groups: u32,
    images: u32,
    tokens: u32,
    classes: u32,
    // counted from 0
    step: u32,
    // scale of the noise on confidences
    temperature: f32,
}

// [branches, images, tokens, classes]
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
// [images, tokens], negative where masked
@group(0) @binding(1) var<storage, read_write> codes: array<i32>;
// [images]: low and high word
@group(0) @binding(2) var<storage, read_write> seeds: array<vec2<u32>>;
// [images, tokens]: the known code, else the drawn one
@group(0) @binding(3) var<storage, read_write> drawn: array<i32>;
// [images, tokens]: the probability of the drawn code, and the confidence in it. Both are undefined for known codes
@group(0) @binding(4) var<storage, read_write> log_probs: array<f32>;
@group(0) @binding(5) var<storage, read_write> confidence: array<f32>;
@group(0) @binding(6) var<uniform> info: Info;

const LANES: u32 = 64u;
const LEAST: f32 = -3.0e38;
// ln(1e-20), the lowest log-probability of a draw.
const FLOOR: f32 = -46.0517019;

/// The part of a group's classes that a lane has seen.
struct Seen {
    // the largest logit, and the sum of exp(logit - top)
    top: f32,
    total: f32,
    // the class with the largest logit + noise
    score: f32,
    class_index: u32,
    logit: f32,
}

// Each group has its own part, so no lane overwrites one that the first lane is still reading.
var<workgroup> lanes: array<Seen, 256>;

fn guided(row: u32, class_index: u32) -> f32 {
    let rows = info.images * info.tokens;
    var at = row * info.classes + class_index;
    var sum = 0.0;
    for (var branch = 0u; branch < info.branches; branch++) {
        sum += logits[at] * info.weights[branch];
        at += rows * info.classes;
    }
    return sum;
}

fn merge(a: Seen, b: Seen) -> Seen {
    var both = a;
    both.top = max(a.top, b.top);
    both.total = a.total * exp(a.top - both.top) + b.total * exp(b.top - both.top);
    // Among equal classes the first wins.
    if (b.score > a.score || (b.score == a.score && b.class_index < a.class_index)) {
        both.score = b.score;
        both.class_index = b.class_index;
        both.logit = b.logit;
    }
    return both;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = place(workgroup);
    if (row >= info.images * info.tokens) {
        return;
    }
    let position = row % info.tokens;
    let seed = seeds[row / info.tokens];
    var code = 0u;
    var log_p = 0.0;
    var first = 0u;
    for (var group = 0u; group < info.groups; group++) {
        let bits = info.bits[group];
        let end = first + (1u << bits);
        var seen = Seen(LEAST, 0.0, LEAST, end, 0.0);
        // Four classes share the words of one counter.
        for (var quad = first / 4u + lane; 4u * quad < end; quad += LANES) {
            let noise = gumbel(unit(philox(seed, vec4<u32>(quad, position, info.step, TOKEN))));
            for (var i = 0u; i < 4u; i++) {
                let class_index = 4u * quad + i;
                if (class_index >= first && class_index < end) {
                    let logit = guided(row, class_index);
                    seen = merge(seen, Seen(logit, 1.0, logit + noise[i], class_index, logit));
                }
            }
        }
        lanes[group * LANES + lane] = seen;
        workgroupBarrier();
        if (lane == 0u) {
            for (var other = 1u; other < LANES; other++) {
                seen = merge(seen, lanes[group * LANES + other]);
            }
            code = (code << bits) | (seen.class_index - first);
            log_p += seen.logit - (log(seen.total) + seen.top);
        }
        first = end;
    }
    if (lane == 0u) {
        let noise = gumbel(unit(philox(seed, vec4<u32>(0u, position, info.step, CONFIDENCE)))).x;
        log_probs[row] = log_p;
        confidence[row] = max(log_p, FLOOR) + info.temperature * noise;
        drawn[row] = select(i32(code), codes[row], codes[row] >= 0);
    }
}
