//! One code from its logits, and which of the drawn codes stay.

/// Draws one class per group of bits by the Gumbel-max trick. Returns the code and the sum of the groups' log-probabilities.
///
/// `logits` has the classes of all groups, one group after another; `noise` is standard Gumbel noise per class. With
/// `top_k`, only that many of the likeliest classes of a group are drawn from, and those that are as likely as the last of
/// them; the probability is that among all classes.
pub(super) fn draw_code(
    logits: &[f32],
    groups: &[usize],
    top_k: Option<usize>,
    noise: impl Fn(usize) -> f32,
) -> (u32, f32) {
    let (mut code, mut log_p, mut first) = (0, 0.0, 0);
    for &bits in groups {
        let classes = 1 << bits;
        let row = &logits[first..first + classes];
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = row.iter().map(|l| (l - top).exp()).sum::<f32>().ln() + top;
        let least = top_k.map_or(f32::NEG_INFINITY, |k| kth_largest(row, k));
        let score = |class: usize| row[class] + noise(first + class);
        let best =
            (0..classes).filter(|&class| row[class] >= least).fold((0, f32::NEG_INFINITY), |best, class| {
                let s = score(class);
                if s > best.1 { (class, s) } else { best }
            });
        code = code << bits | best.0 as u32;
        log_p += row[best.0] - total;
        first += classes;
    }
    (code, log_p)
}

/// The `k`-th of the values, the largest first; the smallest where there are fewer.
fn kth_largest(values: &[f32], k: usize) -> f32 {
    let mut values = values.to_vec();
    let at = k.clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(at, |a, b| b.total_cmp(a)).1
}

/// Those of `positions` that stay when the `masked` positions with the lowest scores are masked again. Positions of equal
/// score stay together.
pub(super) fn highest(positions: &[usize], scores: &[f32], masked: usize) -> Vec<usize> {
    let mut sorted: Vec<f32> = positions.iter().map(|&position| scores[position]).collect();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted.get(masked).copied().unwrap_or(f32::INFINITY);
    positions.iter().copied().filter(|&position| scores[position] >= threshold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_drawn_one_by_one() {
        // Two bits, then one: classes 2 and 1 make 0b101.
        let logits = [0.0, 0.0, 3.0, 0.0, 0.0, 1.0];
        let (code, log_p) = draw_code(&logits, &[2, 1], None, |_| 0.0);
        let wanted = 3.0 - (3.0 + 3f32.exp()).ln() + 1.0 - (1.0 + 1f32.exp()).ln();
        assert!(code == 0b101 && (log_p - wanted).abs() < 1e-6, "{code} {log_p} {wanted}");
        assert_eq!(draw_code(&logits, &[2, 1], None, |class| if class == 1 { 9.0 } else { 0.0 }).0, 0b011);
    }

    #[test]
    fn only_the_likeliest_are_drawn_from() {
        let logits = [1.0, 3.0, 0.5, 2.0];
        // The noise favours classes 2, then 0, then 3.
        let noise = |class: usize| [50.0, 0.0, 100.0, 20.0][class];
        let drawn = |top_k| draw_code(&logits, &[2], top_k, noise);
        let codes = [Some(1), Some(2), Some(3), Some(4), Some(9), None].map(|top_k| drawn(top_k).0);
        assert_eq!(codes, [1, 3, 0, 2, 2, 2]);
        // The probability is among all classes.
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        assert!((drawn(Some(2)).1 - (2.0 - total.ln())).abs() < 1e-6);
    }

    #[test]
    fn the_lowest_scores_are_masked_again() {
        let scores = [0.5, 0.1, 0.9, 0.5];
        assert_eq!(highest(&[0, 1, 2, 3], &scores, 3), [2]);
        assert_eq!(highest(&[0, 1, 3], &scores, 1), [0, 3]);
        assert_eq!(highest(&[1, 2], &scores, 2), [0; 0]);
    }
}
