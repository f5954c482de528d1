//! One code from its logits, and which of the drawn codes stay.

/// Draws one class per group of bits by the Gumbel-max trick. Returns the code and the sum of the groups' log-probabilities.
///
/// `logits` has the classes of all groups, one group after another; `noise` is standard Gumbel noise per class.
pub(super) fn draw_code(logits: &[f32], groups: &[usize], noise: impl Fn(usize) -> f32) -> (u32, f32) {
    let (mut code, mut log_p, mut first) = (0, 0.0, 0);
    for &bits in groups {
        let classes = 1 << bits;
        let row = &logits[first..first + classes];
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = row.iter().map(|l| (l - top).exp()).sum::<f32>().ln() + top;
        let score = |class: usize| row[class] + noise(first + class);
        let best = (1..classes).fold((0, score(0)), |best, class| {
            let s = score(class);
            if s > best.1 { (class, s) } else { best }
        });
        code = code << bits | best.0 as u32;
        log_p += row[best.0] - total;
        first += classes;
    }
    (code, log_p)
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
        let (code, log_p) = draw_code(&logits, &[2, 1], |_| 0.0);
        let wanted = 3.0 - (3.0 + 3f32.exp()).ln() + 1.0 - (1.0 + 1f32.exp()).ln();
        assert!(code == 0b101 && (log_p - wanted).abs() < 1e-6, "{code} {log_p} {wanted}");
        assert_eq!(draw_code(&logits, &[2, 1], |class| if class == 1 { 9.0 } else { 0.0 }).0, 0b011);
    }

    #[test]
    fn the_lowest_scores_are_masked_again() {
        let scores = [0.5, 0.1, 0.9, 0.5];
        assert_eq!(highest(&[0, 1, 2, 3], &scores, 3), [2]);
        assert_eq!(highest(&[0, 1, 3], &scores, 1), [0, 3]);
        assert_eq!(highest(&[1, 2], &scores, 2), [0; 0]);
    }
}
