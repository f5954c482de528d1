//! More rows for a token table, and weights for a layer that is new.

use super::tensors::{NewTensor, Pieces, Weights};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::iter;
use unigen_core::weights::{BlockFormat, Bytes, ElementType, StoredTensor};
use unigen_core::{Error, ErrorKind, Result};

/// How many values are made or read at a time.
const PIECE: usize = 1 << 20;
/// The noise on a new row, in deviations of its column.
const NOISE: f32 = 0.02;

/// The table at `path` of `weights`, with `rows` rows: the old ones, then new ones. A new row is the mean of the old, as
/// transformers' `resize_token_embeddings` has it, plus uniform noise of two hundredths of their deviation, so that no
/// two are alike in half precision.
///
/// # Errors
/// Where there is no such table of `columns` columns, or it has a value that is not finite.
pub fn extended(
    weights: &Weights,
    path: &str,
    name: String,
    [rows, columns]: [usize; 2],
    seed: u64,
) -> Result<NewTensor> {
    let old = weights.stored(path)?;
    let kept = match old.shape() {
        &[old, found] if found == columns => old.min(rows),
        other => {
            let what =
                format!("{name}: the token table has shape {other:?}, but the model has {columns} columns");
            return Err(Error::new(ErrorKind::Weights, path, what)
                .fix("check that config.json and the weights belong to the same model"));
        }
    };
    let moments = if kept < rows { Some(Moments::of(&old)?) } else { None };
    // New rows can be written in blocks of these formats alone.
    let found = match old.element_type() {
        ElementType::Blocks(format) if ![BlockFormat::Q4_0, BlockFormat::Q8_0].contains(format) => {
            ElementType::F16
        }
        other => other.clone(),
    };
    let (weights, path) = (weights.clone(), path.to_owned());
    Ok(NewTensor::new(name, vec![rows, columns], found, move || {
        let old = weights.stored(&path)?.rows(0..kept);
        let new = moments.clone().into_iter().flat_map(move |moments| moments.rows(rows - kept, seed));
        Ok(Box::new(iter::once(old).chain(new)))
    }))
}

/// Mean and deviation of each column.
#[derive(Clone)]
struct Moments {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Moments {
    fn of(table: &StoredTensor) -> Result<Self> {
        let &[rows, columns] = table.shape() else { return Ok(Self { mean: vec![], deviation: vec![] }) };
        let (mut sums, mut squares) = (vec![0.0_f64; columns], vec![0.0_f64; columns]);
        let step = (PIECE / columns.max(1)).max(1);
        for start in (0..rows).step_by(step) {
            let piece = table.rows(start..rows.min(start + step))?;
            for row in piece.values::<f32>()?.chunks_exact(columns) {
                for ((sum, square), &x) in sums.iter_mut().zip(&mut squares).zip(row) {
                    *sum += f64::from(x);
                    *square += f64::from(x).powi(2);
                }
            }
            piece.release();
        }
        let mean = sums.iter().map(|sum| sum / rows as f64);
        let variance = squares.iter().zip(mean.clone()).map(|(sum, mean)| sum / rows as f64 - mean * mean);
        Ok(Self {
            deviation: variance.map(|variance| variance.max(0.0).sqrt() as f32).collect(),
            mean: mean.map(|mean| mean as f32).collect(),
        })
    }

    fn rows(self, count: usize, seed: u64) -> Pieces {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let columns = self.mean.len();
        let step = (PIECE / columns.max(1)).max(1);
        Box::new((0..count).step_by(step).map(move |start| {
            let rows = step.min(count - start);
            let row = || self.mean.iter().zip(&self.deviation);
            let values = (0..rows)
                .flat_map(|_| row())
                .map(|(mean, deviation)| mean + NOISE * deviation * random.random_range(-1.0..1.0));
            stored("new rows of the token table", values, vec![rows, columns])
        }))
    }
}

/// A linear layer with random weights, `weight` `[outputs, inputs]` and `bias` `[outputs]`, drawn as PyTorch's `nn.Linear`
/// draws them: uniform within `1 / sqrt(inputs)`.
pub fn linear(name: &str, [outputs, inputs]: [usize; 2], found: &ElementType, seed: u64) -> [NewTensor; 2] {
    let bound = (inputs as f32).sqrt().recip();
    [("weight", vec![outputs, inputs], seed), ("bias", vec![outputs], seed ^ 1)].map(|(part, shape, seed)| {
        let (name, drawn) = (format!("{name}.{part}"), shape.clone());
        NewTensor::new(name.clone(), shape, found.clone(), move || {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let count = drawn.iter().product::<usize>();
            let values = (0..count).map(|_| random.random_range(-bound..bound));
            Ok(Box::new(iter::once(stored(&name, values, drawn.clone()))))
        })
    })
}

/// A tensor of values in memory.
fn stored(place: &str, values: impl Iterator<Item = f32>, shape: Vec<usize>) -> Result<StoredTensor> {
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    StoredTensor::new(place, ElementType::F32, shape, Bytes::from(bytes))
}
