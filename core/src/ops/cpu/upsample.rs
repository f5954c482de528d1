//! Nearest-neighbour enlargement.

use super::memory::{assume_init, uninit};
use super::{threads, vector};
use crate::ops::fused::{FusedOp, View};

/// See [`crate::ops::conv::upsample2`]. Input: `x`.
#[derive(Clone, Copy, Debug)]
pub struct Upsample2;

impl FusedOp<1> for Upsample2 {
    fn forward(&self, [x]: [View; 1]) -> (Vec<f32>, Vec<usize>) {
        let &[batch, height, width, channels] = x.shape else {
            panic!("upsample2 wants four dimensions, got {:?}", x.shape)
        };
        let row = width * channels;
        let mut y = uninit(4 * x.data.len());
        threads::for_each_chunk(&mut y, (4 * row).max(1), |index, lines| {
            let (first, second) = lines.split_at_mut(2 * row);
            let pixels = x.data[index * row..(index + 1) * row].chunks_exact(channels);
            for (pixel, pair) in pixels.zip(first.chunks_exact_mut(2 * channels)) {
                let (left, right) = pair.split_at_mut(channels);
                left.write_copy_of_slice(pixel);
                right.write_copy_of_slice(pixel);
            }
            second.copy_from_slice(first);
        });
        // SAFETY: a chunk is two lines, of which the first is written pixel by pixel and the second is copied.
        (unsafe { assume_init(y) }, vec![batch, 2 * height, 2 * width, channels])
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x]: [View; 1], grad: &[f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        let (width, channels) = (x.shape[2], x.width());
        let row = width * channels;
        let mut dx = vec![0.0; x.data.len()];
        threads::for_each_chunk(&mut dx, row.max(1), |index, dx| {
            for line in grad[index * 4 * row..(index + 1) * 4 * row].chunks_exact(2 * row) {
                for (pair, dx) in line.chunks_exact(2 * channels).zip(dx.chunks_exact_mut(channels)) {
                    vector::add(dx, &pair[..channels]);
                    vector::add(dx, &pair[channels..]);
                }
            }
        });
        [Some(dx)]
    }
}
