//! MaskGIT's cosine mask schedule (Chang et al., arXiv 2202.04200).

/// How many of `tokens` stay masked after step `step` of `steps` (counted from 1), where `unknown` are masked
/// before it.
///
/// At least one stays and at least one is fixed. In `f32`, as the published decoder computes it: `f64` would
/// keep one token more where `steps` is a multiple of three.
pub fn still_masked(tokens: usize, unknown: usize, step: usize, steps: usize) -> usize {
    scheduled(tokens, step, steps).min(unknown.saturating_sub(1)).max(1)
}

/// The schedule alone: how many of `tokens` are masked after step `step` of `steps` (counted from 1).
pub fn scheduled(tokens: usize, step: usize, steps: usize) -> usize {
    let ratio = (step as f64 / steps as f64) as f32;
    let masked = (tokens as f32 * (ratio * std::f32::consts::PI * 0.5).cos()).floor();
    masked.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::still_masked;

    #[test]
    fn rounds_as_float32() {
        for (tokens, wanted) in [(256, 127), (576, 287), (1024, 511)] {
            assert_eq!(still_masked(tokens, tokens, 2, 3), wanted);
        }
    }

    #[test]
    fn fixes_the_published_counts() {
        // unigen, 256 tokens, 50 steps: tokens fixed at each of the first steps.
        let mut unknown = 256;
        let fixed: Vec<usize> = (1..=16)
            .map(|k| {
                let left = still_masked(256, unknown, k, 50);
                let fixed = unknown - left;
                unknown = left;
                fixed
            })
            .collect();
        assert_eq!(fixed, [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 2, 4, 3, 3, 4]);
        assert_eq!(still_masked(256, 9, 50, 50), 1);
    }
}
