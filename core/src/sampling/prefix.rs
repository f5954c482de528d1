//! What stands before a block of codes.

use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use crate::sequence::{Piece, Sequence};
use burn::tensor::{Device, Int, Tensor};

/// The embedded rows before a block of codes or an answer, and what each of them sees.
///
/// Row `i` sees the rows `0..visible[i]`. Nothing here sees into the block, so the keys and values of a prefix are computed
/// once per image and not once per step.
#[derive(Debug, Clone)]
pub struct Prefix {
    rows: Tensor<2>,
    visible: Vec<usize>,
}

impl Prefix {
    /// A prefix of `rows` `[rows, width]`, of which row `i` sees the rows `0..visible[i]`.
    ///
    /// # Errors
    /// `Config` where `visible` has not one entry per row, or an entry that is not 1 to the number of rows.
    pub fn new(rows: Tensor<2>, visible: Vec<usize>) -> Result<Self> {
        let count = rows.dims()[0];
        if visible.len() != count || visible.iter().any(|end| !(1..=count).contains(end)) {
            let what = format!("does not say for each of {count} rows which of them it sees");
            return Err(Error::new(ErrorKind::Config, "prefix", what)
                .fix(format!("give one number from 1 to {count} per row")));
        }
        Ok(Self { rows, visible })
    }

    /// A prefix of text `[rows, width]`: every row sees itself and what is before it.
    pub fn causal(rows: Tensor<2>) -> Self {
        let visible = (1..=rows.dims()[0]).collect();
        Self { rows, visible }
    }

    /// The rows of `plan` before its target, or all of them where it has none. `semantic` and `source` are the embedded
    /// rows of the source image, its projected features and its codes, `[rows, width]` each.
    ///
    /// # Errors
    /// `Config` where the plan has rows of the source image that are not given.
    pub fn of(
        model: &UniGen,
        plan: &Sequence,
        semantic: Option<&Tensor<2>>,
        source: Option<&Tensor<2>>,
        device: &Device,
    ) -> Result<Self> {
        let given = |name: &str, wanted: usize, rows: Option<&Tensor<2>>| match rows {
            Some(rows) if rows.dims()[0] == wanted => Ok(rows.clone()),
            _ => {
                let found = rows.map_or(0, |rows| rows.dims()[0]);
                let what = format!("has {wanted} {name} of the source image, but {found} are given");
                Err(Error::new(ErrorKind::Config, "sequence", what)
                    .fix("give the rows that the sequence has"))
            }
        };
        let mut parts = Vec::new();
        for piece in &plan.pieces {
            match piece {
                Piece::Tokens(ids) => {
                    parts.push(model.llm.embed(ints(ids.iter().map(|&id| id as i32), device)))
                }
                &Piece::Semantic(wanted) => parts.push(given("features", wanted, semantic)?),
                &Piece::Source(wanted) => parts.push(given("codes", wanted, source)?),
                Piece::Target(_) => break,
            }
        }
        if plan.prefix_len == 0 {
            return Err(Error::new(ErrorKind::Config, "sequence", "has nothing before its target")
                .fix("start it with at least one token"));
        }
        let rows = Tensor::cat(parts, 0).slice([0..plan.prefix_len]);
        Ok(Self { rows, visible: plan.ends()[..plan.prefix_len].to_vec() })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.visible.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.visible.is_empty()
    }

    /// The embedded rows, `[rows, width]`.
    pub(super) fn rows(&self) -> &Tensor<2> {
        &self.rows
    }

    /// How many of the rows each row sees.
    pub(super) fn visible(&self) -> &[usize] {
        &self.visible
    }

    /// Where the rows are.
    pub(super) fn device(&self) -> Device {
        self.rows.device()
    }
}

/// Numbers on a device, `[numbers]`.
pub(super) fn ints(numbers: impl Iterator<Item = i32>, device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i32> = numbers.collect();
    Tensor::from_ints(numbers.as_slice(), device)
}
