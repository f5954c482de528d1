//! What a caller sees of a step of masked decoding, and how it stops one.

use super::read::{read_codes, read_logits};
use crate::error::{Error, ErrorKind, Result};
use burn::tensor::{Int, Tensor};

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop: decoding ends with a `Cancelled` error.
    Cancel,
}

impl Flow {
    /// A `Cancelled` error for [`Flow::Cancel`] after step `step`.
    pub(super) fn check(self, step: usize) -> Result<()> {
        match self {
            Flow::Continue => Ok(()),
            Flow::Cancel => {
                Err(Error::new(ErrorKind::Cancelled, "masked decoding", format!("cancelled at step {step}")))
            }
        }
    }
}

/// A step that is done, or on a GPU at least under way.
#[derive(Debug)]
pub struct StepReport<'a> {
    /// Number of the step, counted from 1.
    pub step: usize,
    /// Number of all steps.
    pub steps: usize,
    pub(super) state: StepState<'a>,
}

/// Where the codes of a step are.
#[derive(Debug)]
pub(super) enum StepState<'a> {
    Here(&'a Preview),
    OnDevice {
        /// `[images, codes]`
        drawn: &'a Tensor<2, Int>,
        /// `[images, codes]`
        log_probs: &'a Tensor<2>,
        /// `[images, codes]`, negative where masked again
        codes: &'a Tensor<2, Int>,
    },
}

/// What a step has drawn.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Of each image, the codes drawn so far, before any are masked again. 0 where none has been drawn, which
    /// [`Order::Halton`](super::Order::Halton) allows.
    pub codes: Vec<Vec<u32>>,
    /// Of each image, the guided log-probabilities (at temperature 1) that its codes had when they were drawn.
    pub log_probs: Vec<Vec<f32>>,
    /// Of each image, which codes are masked again.
    pub masked: Vec<Vec<bool>>,
}

impl StepReport<'_> {
    /// Reads what the step has drawn. On a GPU this waits for the step, so call it only where the codes are shown.
    ///
    /// # Errors
    /// `Device` where the codes cannot be read.
    pub async fn preview(&self) -> Result<Preview> {
        match self.state {
            StepState::Here(preview) => Ok(preview.clone()),
            StepState::OnDevice { drawn, log_probs, codes } => {
                let length = drawn.dims()[1].max(1);
                let log_probs = read_logits(log_probs.clone()).await?;
                Ok(Preview {
                    codes: read_codes(drawn.clone(), |code| code as u32).await?,
                    log_probs: log_probs.chunks(length).map(<[f32]>::to_vec).collect(),
                    masked: read_codes(codes.clone(), |code| code < 0).await?,
                })
            }
        }
    }
}
