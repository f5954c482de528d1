//! When two tensors count as the same.

use anyhow::Result;
use burn::tensor::Tensor;
use unigen_runs::floats;

use crate::folder::Io;

/// Bounds on the largest absolute difference.
pub mod bounds {
    /// Hidden states, logits, latents and embeddings.
    pub const FEATURES: f64 = 1e-3;
    /// What stored numbers stand for, relative to the largest of their tensor.
    pub const VALUES: f64 = 1e-6;
    /// Logits of a published model of full size.
    pub const LARGE_LOGITS: f64 = 2e-2;
    /// Pixels, which lie about -1 to 1.
    pub const PIXELS: f64 = 2e-3;
    /// A latent nearer to zero than this may fall to either side, and with it a bit of the code.
    pub const SIGN: f32 = 1e-4;
    /// Log-probabilities of drawn codes.
    pub const LOG_PROBABILITIES: f64 = 1e-4;
    /// Losses and divergences.
    pub const LOSSES: f64 = 1e-5;
    /// Gradients, relative to the largest of their tensor.
    pub const GRADIENTS: f64 = 1e-4;
    /// Weights after some steps of the optimiser.
    pub const WEIGHTS: f64 = 1e-4;
    /// Ids must be equal.
    pub const IDS: f64 = 0.0;
}

/// One compared tensor.
pub struct Comparison {
    /// Name, as in io.safetensors; `[missing]` follows where that file lacks it, `[unknown]` where the model does.
    pub tensor: String,
    /// Largest absolute difference, or for ids the number that differ; NaN where one is, or where only one side has the
    /// tensor.
    pub difference: f64,
    /// Whether it is within the bound.
    pub ok: bool,
}

/// Compares what the core computes with what the reference did, and reports it.
pub struct Comparer<'a> {
    io: &'a Io,
    report: &'a mut dyn FnMut(Comparison),
}

impl<'a> Comparer<'a> {
    /// A comparer that looks up the reference's tensors in `io`.
    pub fn new(io: &'a Io, report: &'a mut dyn FnMut(Comparison)) -> Self {
        Self { io, report }
    }

    /// Reports a difference that was found otherwise.
    pub fn difference(&mut self, tensor: impl Into<String>, difference: f64, bound: f64) {
        // A NaN is not within any bound.
        (self.report)(Comparison { tensor: tensor.into(), difference, ok: difference <= bound });
    }

    /// Compares a tensor with the reference's of the same name.
    pub fn tensor<const D: usize>(&mut self, name: &str, found: Tensor<D>, bound: f64) -> Result<()> {
        self.rows(name, found, bound, |_| true)
    }

    /// Compares the rows (all but the last dimension) that `keep` wants.
    pub fn rows<const D: usize>(
        &mut self,
        name: &str,
        found: Tensor<D>,
        bound: f64,
        keep: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let shape = found.dims();
        let wanted = self.io.values(name, &shape)?;
        let width = shape.last().copied().unwrap_or(1);
        let kept = |values: Vec<f32>| -> Vec<f32> {
            values.into_iter().enumerate().filter(|(i, _)| keep(i / width)).map(|(_, value)| value).collect()
        };
        self.difference(name, largest_difference(&kept(floats(found)?), &kept(wanted)), bound);
        Ok(())
    }

    /// Compares values of this shape that were found in one way of several, which `label` tells apart.
    pub fn values(
        &mut self,
        name: &str,
        label: &str,
        found: &[f32],
        shape: &[usize],
        bound: f64,
    ) -> Result<()> {
        let difference = largest_difference(found, &self.io.values(name, shape)?);
        self.difference(format!("{name}[{label}]"), difference, bound);
        Ok(())
    }

    /// Compares ids, which `name` may say more about than io.safetensors does.
    pub fn ids(&mut self, name: &str, found: &[i64], wanted: &[i64]) {
        let differ =
            found.iter().zip(wanted).filter(|(a, b)| a != b).count() + found.len().abs_diff(wanted.len());
        self.difference(name, differ as f64, bounds::IDS);
    }
}

/// The largest absolute difference; NaN where there is one, and where the two are not as long or have nothing to compare.
pub fn largest_difference(found: &[f32], wanted: &[f32]) -> f64 {
    if found.len() != wanted.len() || found.is_empty() {
        return f64::NAN;
    }
    let differences = found.iter().zip(wanted).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |max: f64, d| if d > max || d.is_nan() { d } else { max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use unigen_core::weights::Checkpoint;

    #[test]
    fn what_is_not_a_number_or_not_there_is_within_no_bound() {
        assert_eq!(largest_difference(&[1.0, -3.0], &[1.5, -1.0]), 2.0);
        let nan = f32::NAN;
        let cases: [(&[f32], &[f32]); 5] = [
            (&[nan, nan], &[0.0, 0.0]),
            (&[nan, 5.0], &[0.0, 0.0]),
            (&[5.0, nan], &[0.0, 0.0]),
            (&[1.0], &[1.0, 1.0]),
            (&[], &[]),
        ];
        for (found, wanted) in cases {
            assert!(largest_difference(found, wanted).is_nan(), "{found:?} {wanted:?}");
        }

        // A file with one tensor of [2, 2, 2].
        let header = r#"{"x":{"dtype":"F32","shape":[2,2,2],"data_offsets":[0,32]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 32]].concat();
        let io = Io(Checkpoint::from_bytes("io.safetensors", bytes).unwrap());
        let mut reported = Vec::new();
        let mut report = |comparison: Comparison| reported.push(comparison.ok);
        let mut comparer = Comparer::new(&io, &mut report);
        let nan = Tensor::<3>::full([2, 2, 2], f32::NAN, &Device::flex());
        comparer.tensor("x", nan.clone(), 1e9).unwrap();
        comparer.rows("x", nan, 1e9, |_| false).unwrap();
        comparer.values("x", "cached", &[f32::NAN; 8], &[2, 2, 2], 1e9).unwrap();
        let shape = comparer.values("x", "cached", &[0.0; 8], &[4, 2], 1e9).unwrap_err();
        assert_eq!(shape.to_string(), "io.safetensors: x: shape [2, 2, 2], wanted [4, 2]");
        comparer.ids("x", &[1, 2], &[1, 2, 3]);
        assert_eq!(reported, [false; 4]);
    }
}
