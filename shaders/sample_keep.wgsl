// Re-masking: the least confident of an image's masked positions stay masked, as many as the schedule says. An
// invocation owns a position and counts the positions that are not more confident, so nothing is sorted.

struct Info {
    images: u32,
    tokens: u32,
    // counted from 0
    step: u32,
}

// [images, tokens], negative where masked
@group(0) @binding(0) var<storage, read_write> codes: array<i32>;
// [images, tokens]
@group(0) @binding(1) var<storage, read_write> drawn: array<i32>;
// [images, tokens]
@group(0) @binding(2) var<storage, read_write> confidence: array<f32>;
// [steps, images]: number of positions that should stay masked
@group(0) @binding(3) var<storage, read_write> schedule: array<i32>;
// [images, tokens]: the codes of the next step
@group(0) @binding(4) var<storage, read_write> next: array<i32>;
@group(0) @binding(5) var<uniform> info: Info;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = place(workgroup) * 64u + lane;
    if (index >= info.images * info.tokens) {
        return;
    }
    let image = index / info.tokens;
    let first = image * info.tokens;
    let own = confidence[index];
    var unknown = 0;
    var not_above = 0;
    for (var other = first; other < first + info.tokens; other++) {
        if (codes[other] < 0) {
            unknown += 1;
            not_above += select(0, 1, confidence[other] <= own);
        }
    }
    // At least one position stays masked, and at least one is fixed.
    let stay = max(min(schedule[info.step * info.images + image], unknown - 1), 1);
    let masked = codes[index] < 0 && not_above <= stay;
    next[index] = select(drawn[index], -1, masked);
}
