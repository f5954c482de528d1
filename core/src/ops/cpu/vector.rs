//! Loops over rows that the compiler turns into vector instructions: the widest that the processor has, chosen
//! at run time by `pulp`.

const LANES: usize = 16;

/// Runs `body`, an `#[inline(always)]` closure, compiled for the vector instructions at hand.
#[inline(always)]
pub fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// `eˣ` to about two units in the last place, the argument clamped to the normal range (Cephes `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut y = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        y = y * r + coefficient;
    }
    let y = y * r * r + r + 1.0;
    f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `1 / (1 + e⁻ˣ)`
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `Σ aᵢ bᵢ`
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// `Σ aᵢ`
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    let (a, rest) = a.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for a in a {
        for i in 0..LANES {
            sums[i] += a[i];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// The greatest item, `-inf` of none.
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let (a, rest) = a.as_chunks::<LANES>();
    let mut top = [f32::NEG_INFINITY; LANES];
    for a in a {
        for i in 0..LANES {
            top[i] = if a[i] > top[i] { a[i] } else { top[i] };
        }
    }
    top.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `a += b`
#[inline(always)]
pub fn add(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// Replaces scores by `softmax(scale * scores)`.
#[inline(always)]
pub fn softmax(scores: &mut [f32], scale: f32) {
    let top = max(scores);
    for score in &mut *scores {
        *score = exp((*score - top) * scale);
    }
    let normal = 1.0 / sum(scores);
    for score in scores {
        *score *= normal;
    }
}
