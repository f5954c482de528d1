//! Position tables resized to the shape of a picture.

use super::resample::{Filter, windows};
use burn::tensor::{Tensor, TensorData};

/// Resizes a square position table to the shape of each picture, bilinear and antialiased.
///
/// `table` `[side * side, width]`, row by row; `shapes` rows and columns of patches, at most `length` together →
/// `[batch, length, width]`, where padding takes the picture's first position. One matrix product, so that gradients
/// reach the table.
pub fn resize(table: Tensor<2>, shapes: &[[usize; 2]], length: usize) -> Tensor<3> {
    let [entries, width] = table.dims();
    let side = entries.isqrt();
    let mut matrix = Vec::with_capacity(shapes.len() * length * entries);
    for &[rows, columns] in shapes {
        let across = windows(side, columns, Filter::Bilinear);
        let first = matrix.len();
        for down in windows(side, rows, Filter::Bilinear) {
            for across in &across {
                let row = matrix.len();
                matrix.resize(row + entries, 0.0f32);
                for (y, a) in down.weights.iter().enumerate() {
                    let at = row + (down.start + y) * side + across.start;
                    for (x, b) in across.weights.iter().enumerate() {
                        matrix[at + x] = (a * b) as f32;
                    }
                }
            }
        }
        for _ in rows * columns..length {
            matrix.extend_from_within(first..first + entries);
        }
    }
    let matrix = TensorData::new(matrix, [shapes.len() * length, entries]);
    let matrix = Tensor::<2>::from_data(matrix, &table.device());
    matrix.matmul(table).reshape([shapes.len(), length, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn resized(table: &[f32], shape: [usize; 2], length: usize) -> Vec<f32> {
        let table = Tensor::<1>::from_floats(table, &Device::flex()).reshape([table.len(), 1]);
        resize(table, &[shape], length).into_data().try_to_vec().unwrap()
    }

    fn close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {wanted:?}");
    }

    #[test]
    fn same_size_is_the_table() {
        let table: Vec<f32> = (0..9).map(|i| (i * i) as f32).collect();
        close(&resized(&table, [3, 3], 9), &table);
    }

    /// Two samples to four: centres at 0.25, 0.75, 1.25 and 1.75, samples at 0.5 and 1.5.
    #[test]
    fn grows_by_hand() {
        let wanted = [0.0, 0.25, 0.75, 1.0, 0.0, 0.25, 0.75, 1.0];
        close(&resized(&[0.0, 1.0, 0.0, 1.0], [2, 4], 8), &wanted);
    }

    /// Four samples to two: a triangle of half-width 2 about 1 weighs 0.75, 0.75, 0.25 (of 1.75) at samples 0 to 2;
    /// down, four rows to one: about 2, half-width 4, weights 5/8, 7/8, 7/8, 5/8 (of 3).
    #[test]
    fn shrinks_by_hand() {
        let table: Vec<f32> = [0.0, 7.0, 14.0, 70.0].repeat(4);
        let [left, right] =
            [(0.75 * 7.0 + 0.25 * 14.0) / 1.75, (0.25 * 7.0 + 0.75 * 14.0 + 0.75 * 70.0) / 1.75];
        close(&resized(&table, [4, 2], 9)[6..], &[left, right, left]);
        let rows: Vec<f32> = [0.0, 1.0, 2.0, 3.0].iter().flat_map(|&y| [y * y; 4]).collect();
        close(&resized(&rows, [1, 4], 4), &[(7.0 / 8.0 + 4.0 * 7.0 / 8.0 + 9.0 * 5.0 / 8.0) / 3.0; 4]);
    }
}
