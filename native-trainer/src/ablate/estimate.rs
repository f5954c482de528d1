//! Numbers with their errors.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Sub;

/// A number that was measured on some of many cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
}

impl Estimate {
    /// The unweighted mean of the means of some groups of cases, as benchmarks with kinds of cases score; its error is that of the cases
    /// drawn, the kinds being what they are. None without cases.
    pub fn over(groups: impl IntoIterator<Item = Vec<f64>>) -> Option<Self> {
        let groups: Vec<Self> = groups.into_iter().filter_map(|group| Self::of(&group)).collect();
        Self::mean(&groups)
    }

    /// The mean of `values`; none where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0).max(1.0) / count).sqrt();
        (count > 0.0).then_some(Self { mean, error })
    }

    /// The mean of estimates that have nothing to do with each other; none where there are none.
    pub fn mean(parts: &[Self]) -> Option<Self> {
        let count = parts.len() as f64;
        let mean = parts.iter().map(|part| part.mean).sum::<f64>() / count;
        let error = parts.iter().map(|part| part.error.powi(2)).sum::<f64>().sqrt() / count;
        (count > 0.0).then_some(Self { mean, error })
    }
}

impl Sub for Estimate {
    type Output = Self;

    /// The difference of two that have nothing to do with each other. Where both are of the same cases, its true error is smaller.
    fn sub(self, other: Self) -> Self {
        Self { mean: self.mean - other.mean, error: self.error.hypot(other.error) }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        match f.sign_plus() {
            true => write!(f, "{:+.digits$} ± {:.digits$}", self.mean, self.error),
            false => write!(f, "{:.digits$} ± {:.digits$}", self.mean, self.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_have_the_errors_of_their_cases() {
        let four = Estimate::of(&[0.0, 0.0, 1.0, 1.0]).unwrap();
        // A deviation of √(1/3), four cases.
        assert_eq!(four.mean, 0.5);
        assert!((four.error - (1.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        // Twice as many groups that differ as much: half of the variance.
        let groups = Estimate::over([vec![0.0, 0.0, 1.0, 1.0], vec![2.0, 2.0, 3.0, 3.0], vec![]]).unwrap();
        assert_eq!(groups.mean, 1.5);
        assert!((groups.error - (1.0_f64 / 24.0).sqrt()).abs() < 1e-12);
        assert_eq!((Estimate::of(&[]), Estimate::mean(&[])), (None, None));
        let difference = four - groups;
        assert!((difference.error - (3.0_f64 / 24.0).sqrt()).abs() < 1e-12);
        assert_eq!(format!("{difference:+.2}, {four:.1}"), "-1.00 ± 0.35, 0.5 ± 0.3");
    }
}
