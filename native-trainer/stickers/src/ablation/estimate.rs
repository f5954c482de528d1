//! Estimates with standard errors, from the cases that they were measured on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::zip;

/// The values measured on the cases, by kind of case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cases(pub Vec<Vec<f64>>);

impl Cases {
    /// The unweighted mean of the means of the kinds, as benchmarks compute it. None without cases. The error comes
    /// from the cases, which are sampled, and not from the kinds, which are fixed.
    pub fn estimate(&self) -> Option<Estimate> {
        let kinds: Vec<Estimate> = self.0.iter().filter_map(|cases| Estimate::of(cases)).collect();
        Estimate::mean(&kinds)
    }

    /// Differences case by case. None if the cases differ. Their error is smaller than that of the difference of two
    /// independent estimates.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        let same = self.0.len() == other.0.len() && zip(&self.0, &other.0).all(|(a, b)| a.len() == b.len());
        let kinds = zip(&self.0, &other.0).map(|(a, b)| zip(a, b).map(|(a, b)| a - b).collect());
        same.then(|| Self(kinds.collect()))
    }
}

/// An estimate from a sample of cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    /// The standard error of the mean.
    pub error: f64,
}

impl Estimate {
    /// The mean of `values`. None if `values` is empty.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0).max(1.0) / count).sqrt();
        (count > 0.0).then_some(Self { mean, error })
    }

    /// The mean of independent estimates. None if there are none.
    pub fn mean(parts: &[Self]) -> Option<Self> {
        let count = parts.len() as f64;
        let mean = parts.iter().map(|part| part.mean).sum::<f64>() / count;
        let error = parts.iter().map(|part| part.error.powi(2)).sum::<f64>().sqrt() / count;
        (count > 0.0).then_some(Self { mean, error })
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
        // Twice as many kinds that differ as much: half of the variance.
        let cases = Cases(vec![vec![0.0, 0.0, 1.0, 1.0], vec![2.0, 2.0, 3.0, 3.0], vec![]]);
        let kinds = cases.estimate().unwrap();
        assert_eq!(kinds.mean, 1.5);
        assert!((kinds.error - (1.0_f64 / 24.0).sqrt()).abs() < 1e-12);
        assert_eq!((Estimate::of(&[]), Cases::default().estimate()), (None, None));
        assert_eq!(format!("{kinds:+.2}, {four:.1}"), "+1.50 ± 0.20, 0.5 ± 0.3");
    }

    #[test]
    fn the_same_cases_are_compared_one_by_one() {
        let (before, after) =
            (Cases(vec![vec![0.0, 5.0], vec![1.0]]), Cases(vec![vec![1.0, 6.0], vec![2.0]]));
        assert_eq!(after.minus(&before).unwrap().estimate(), Some(Estimate { mean: 1.0, error: 0.0 }));
        assert_eq!(after.minus(&Cases(vec![vec![0.0], vec![1.0]])), None);
        assert_eq!(after.minus(&Cases(vec![vec![0.0, 5.0]])), None);
    }
}
