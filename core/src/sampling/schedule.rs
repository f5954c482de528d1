//! MaskGIT's cosine schedule (Chang et al., arXiv 2202.04200, section 3.3): how many codes are masked after each step.

/// Which codes of an image the schedule counts, where some are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counted {
    /// Those that are to be drawn.
    #[default]
    Unknown,
    /// All, as Show-o's published code. Where much is given, early steps then fix one code each.
    All,
}

impl Counted {
    /// The counted codes of an image of `all` codes, `unknown` of which are to be drawn.
    pub(super) fn of(self, all: usize, unknown: usize) -> usize {
        match self {
            Self::Unknown => unknown,
            Self::All => all,
        }
    }
}

/// How many of `codes` stay masked after step `step` of `steps` (counted from 1), where `masked` are masked before it.
///
/// Each step fixes at least one code and leaves at least one masked.
pub fn still_masked(codes: usize, masked: usize, step: usize, steps: usize) -> usize {
    scheduled(codes, step, steps).min(masked.saturating_sub(1)).max(1)
}

/// The schedule alone: `⌊cos(π/2 · step/steps) · codes⌋` are masked after step `step` of `steps` (counted from 1).
///
/// In `f32`, as the published decoder computes it: `f64` would keep one code more where `steps` is a multiple of three.
pub fn scheduled(codes: usize, step: usize, steps: usize) -> usize {
    let ratio = (step as f64 / steps as f64) as f32;
    let masked = (codes as f32 * (ratio * std::f32::consts::PI * 0.5).cos()).floor();
    masked.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::{Counted, still_masked};

    #[test]
    fn rounds_as_float32() {
        for (codes, wanted) in [(256, 127), (576, 287), (1024, 511)] {
            assert_eq!(still_masked(codes, codes, 2, 3), wanted);
        }
    }

    #[test]
    fn fixes_the_published_counts() {
        // UniGen, 256 codes, 50 steps: codes fixed at each of the first steps.
        let mut masked = 256;
        let fixed: Vec<usize> = (1..=16)
            .map(|k| {
                let left = still_masked(256, masked, k, 50);
                let fixed = masked - left;
                masked = left;
                fixed
            })
            .collect();
        assert_eq!(fixed, [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 2, 4, 3, 3, 4]);
        assert_eq!(still_masked(256, 9, 50, 50), 1);
    }

    #[test]
    fn given_codes_count_where_all_do() {
        let counts = |counted: Counted| {
            let mut masked = 6;
            let after = (1..=4).map(|step| {
                masked = still_masked(counted.of(16, 6), masked, step, 4);
                masked
            });
            after.collect::<Vec<_>>()
        };
        assert_eq!(counts(Counted::Unknown), [5, 4, 2, 1]);
        assert_eq!(counts(Counted::All), [5, 4, 3, 1]);
    }
}
