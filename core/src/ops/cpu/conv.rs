//! Two-dimensional convolution on channels-last images, forward and backward, as one kind of product.
//!
//! The zero-padded image is laid out as rows of pixels, each a row of channels, so that a tap of the kernel is the
//! same rows shifted by a fixed number: an output row is `Σ_taps x[row + shift] W_tap`, with nothing unfolded. Where
//! a shift runs over the edge of the image the sum means nothing and is not stored. With a stride the image is cut
//! into `stride²` planes first, pixels with the same remainders together, so that inside a plane taps are shifts
//! again.
//!
//! The gradient of the image is the same product with the kernel turned around, once for each plane; the gradient of
//! the kernel multiplies each shifted plane, transposed, with the gradient of the result.

use super::memory::{assume_init, uninit};
use super::place::Place;
use super::planes::{Planes, Taps};
use super::sums::column_sums;
use super::threads;
use super::vector;
use crate::ops::fused::{FusedOp, View};
use crate::precision::MatmulPrecision;
use std::mem::MaybeUninit;
use std::ops::Range;

/// See [`crate::ops::conv::conv2d`]. Inputs: `x`, `weight`, `bias`.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    pub stride: usize,
    /// Top, bottom, left, right.
    pub padding: [usize; 4],
    pub precision: MatmulPrecision,
}

/// The sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    /// Rows and columns of the image.
    image: [usize; 2],
    /// Rows and columns of the result.
    result: [usize; 2],
    c_in: usize,
    c_out: usize,
    k: usize,
}

impl Conv2d {
    fn sizes(&self, x: &[usize], weight: &[usize]) -> Sizes {
        let (&[batch, height, width, c_in], &[c_out, _, k, _]) = (x, weight) else {
            panic!("conv2d wants four dimensions, got {x:?} and {weight:?}")
        };
        let [top, bottom, left, right] = self.padding;
        let padded = [height + top + bottom, width + left + right];
        assert!(
            padded.iter().all(|&side| side >= k),
            "an image of {padded:?} is smaller than the kernel, {k}"
        );
        let result = padded.map(|side| (side - k) / self.stride + 1);
        Sizes { batch, image: [height, width], result, c_in, c_out, k }
    }

    /// How many rows and columns of a plane a tap can shift.
    fn reach(&self, sizes: &Sizes) -> usize {
        (sizes.k - 1) / self.stride
    }

    /// The planes' grid in the forward pass: what the taps touch of the padded image.
    fn grid(&self, sizes: &Sizes) -> [usize; 2] {
        sizes.result.map(|side| side + self.reach(sizes))
    }

    /// The planes' grid in the backward pass: every pixel of the image and of the result, after `reach` rows and
    /// columns of zeros.
    fn backward_grid(&self, sizes: &Sizes) -> [usize; 2] {
        let ([height, width], [top, _, left, _]) = (sizes.image, self.padding);
        let side = |image: usize, result: usize| image.div_ceil(self.stride).max(result) + self.reach(sizes);
        [side(height + top, sizes.result[0]), side(width + left, sizes.result[1])]
    }

    /// The image on planes of `grid`.
    fn planes(&self, sizes: &Sizes, x: &[f32], grid: [usize; 2]) -> Planes {
        let [top, _, left, _] = self.padding;
        let start = [-(top as isize), -(left as isize)];
        let place = Place { stride: self.stride, start, size: sizes.image };
        Planes::spread(x, sizes.batch, sizes.c_in, grid, self.reach(sizes), &place.phases(), self.precision)
    }

    /// The gradient of the result on one plane of the [backward grid](Self::backward_grid).
    fn gradient_planes(&self, sizes: &Sizes, grad: &[f32]) -> Planes {
        let reach = self.reach(sizes);
        let place = Place { stride: 1, start: [-(reach as isize); 2], size: sizes.result };
        Planes::spread(
            grad,
            sizes.batch,
            sizes.c_out,
            self.backward_grid(sizes),
            reach,
            &[place],
            self.precision,
        )
    }

    /// For each tap, by rows: the first pixel row of its plane that it touches.
    fn taps(&self, sizes: &Sizes, planes: &Planes) -> Vec<usize> {
        let (k, s) = (sizes.k, self.stride);
        let tap = |t: usize| {
            let (dy, dx) = (t / k, t % k);
            ((dy % s) * s + dx % s) * planes.pixels + (dy / s) * planes.grid[1] + dx / s
        };
        (0..k * k).map(tap).collect()
    }

    /// Pixel `s i + phase` of the padded image gets `Σ grad[i - d] W[s d + phase]ᵀ`.
    fn gradient_of_image(&self, sizes: &Sizes, weight: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { batch, image: [height, width], c_in, c_out, k, .. } = sizes;
        let (s, [top, _, left, _]) = (self.stride, self.padding);
        let (reach, grid) = (self.reach(sizes), grad.grid);
        let (by_tap, size_of_tap) = (taps_first(weight, k * k), c_out * c_in);
        // A stride beyond the kernel leaves pixels out; otherwise every one gets a sum.
        let size = batch * height * width * c_in;
        let mut dx = if s > k { vec![MaybeUninit::new(0.0); size] } else { uninit(size) };
        for phase in 0..s * s {
            let (py, px) = (phase / s, phase % s);
            let steps = |p: usize| (0..=reach).filter(move |d| s * d + p < k);
            let taps: Vec<_> = steps(py).flat_map(|dy| steps(px).map(move |dx| [dy, dx])).collect();
            if taps.is_empty() {
                continue;
            }
            let starts: Vec<_> = taps.iter().map(|[dy, dx]| (reach - dy) * grid[1] + reach - dx).collect();
            let t = |[dy, dx]: &[usize; 2]| (s * dy + py) * k + s * dx + px;
            let kernel: Vec<f32> =
                taps.iter().flat_map(|tap| &by_tap[t(tap) * size_of_tap..][..size_of_tap]).copied().collect();
            let start = [py as isize - top as isize, px as isize - left as isize];
            let place = Place { stride: s, start, size: sizes.image };
            grad.correlate(&Taps { starts: &starts, kernel: &kernel, c_out: c_in }, None, place, &mut dx);
        }
        // SAFETY: as said above.
        unsafe { assume_init(dx) }
    }

    fn gradient_of_weight(&self, sizes: &Sizes, x: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { c_in, c_out, k, .. } = sizes;
        let (planes, reach) = (self.planes(sizes, x, grad.grid), self.reach(sizes));
        let by_tap =
            planes.outer(&self.taps(sizes, &planes), reach, (grad, reach * (grad.grid[1] + 1)), sizes.result);
        taps_last(&by_tap, k * k, c_in, c_out)
    }
}

impl Conv2d {
    /// Writes the result for images of these sizes; `kernel` is `[taps, c_in, c_out]`.
    fn write(&self, sizes: &Sizes, x: &[f32], kernel: &[f32], bias: &[f32], y: &mut [MaybeUninit<f32>]) {
        let planes = self.planes(sizes, x, self.grid(sizes));
        let place = Place { stride: 1, start: [0; 2], size: sizes.result };
        let starts = self.taps(sizes, &planes);
        planes.correlate(&Taps { starts: &starts, kernel, c_out: sizes.c_out }, Some(bias), place, y);
    }

    /// The convolution that gives the rows `result` alone, and the rows of the image that it reads.
    fn band(&self, sizes: &Sizes, result: Range<usize>) -> (Self, Sizes, Range<usize>) {
        let ([top, _, left, right], s) = (self.padding, self.stride);
        // In the image with its padding, then in the image.
        let seen = result.start * s..(result.end - 1) * s + sizes.k;
        let rows = seen.start.saturating_sub(top)..seen.end.saturating_sub(top).min(sizes.image[0]);
        let above = top.saturating_sub(seen.start);
        let below = seen.len() - above - rows.len();
        let image = [rows.len(), sizes.image[1]];
        let of_band = Sizes { batch: 1, image, result: [result.len(), sizes.result[1]], ..*sizes };
        (Self { padding: [above, below, left, right], ..*self }, of_band, rows)
    }
}

impl FusedOp<3> for Conv2d {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        /// Values of an image that are laid out at once. A large one, laid out as a whole, would be in memory once more.
        const BAND: usize = 1 << 22;
        let sizes = self.sizes(x.shape, weight.shape);
        let &Sizes { batch, image: [height, width], result: [rows, columns], c_in, c_out, k } = &sizes;
        let kernel = transposed(&taps_first(weight.data, k * k), c_out, c_in);
        let mut y = uninit(batch * rows * columns * c_out);
        if height * width * c_in <= BAND {
            self.write(&sizes, x.data, &kernel, bias.data, &mut y);
        } else {
            let band = (BAND / (self.stride * width * c_in)).max(1);
            let images = x.data.chunks_exact(height * width * c_in);
            for (image, y) in images.zip(y.chunks_exact_mut(rows * columns * c_out)) {
                for (index, y) in y.chunks_mut(band * columns * c_out).enumerate() {
                    let result = index * band..rows.min((index + 1) * band);
                    let (op, sizes, seen) = self.band(&sizes, result);
                    let line = width * c_in;
                    op.write(&sizes, &image[seen.start * line..seen.end * line], &kernel, bias.data, y);
                }
            }
        }
        // SAFETY: every pixel of the result gets a sum.
        (unsafe { assume_init(y) }, vec![batch, rows, columns, c_out])
    }

    fn backward(
        &self,
        [x, weight, bias]: [View; 3],
        grad: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let sizes = self.sizes(x.shape, weight.shape);
        let planes = self.gradient_planes(&sizes, grad);
        [
            wanted[0].then(|| self.gradient_of_image(&sizes, weight.data, &planes)),
            wanted[1].then(|| self.gradient_of_weight(&sizes, x.data, &planes)),
            wanted[2].then(|| column_sums(grad, bias.width())),
        ]
    }
}

/// See [`crate::ops::conv::upsample2_conv2d`]. Inputs: `x`, `weight` (3 x 3), `bias`.
///
/// The pixels of the result with the same remainders of row and column by two see 2 x 2 pixels of the small image: some
/// of the nine taps fall on one pixel, and their weights add up. So four products of four taps on the small image do the
/// work of nine on the large one.
#[derive(Clone, Copy, Debug)]
pub struct UpsampleConv2d {
    pub precision: MatmulPrecision,
}

impl UpsampleConv2d {
    /// Which of two rows (or columns) of the small image tap `d` of three falls on, where the result's row has the
    /// remainder `phase`.
    fn side(phase: usize, d: usize) -> usize {
        (phase + d).div_ceil(2) - phase
    }

    fn sizes(x: &[usize], weight: &[usize]) -> Sizes {
        let (&[batch, height, width, c_in], &[c_out, _, 3, 3]) = (x, weight) else {
            panic!("upsample2_conv2d wants an image and a 3 x 3 kernel, got {x:?} and {weight:?}")
        };
        Sizes { batch, image: [height, width], result: [2 * height, 2 * width], c_in, c_out, k: 3 }
    }

    /// The result's four phases in the result.
    fn places(sizes: &Sizes) -> Vec<Place> {
        Place { stride: 2, start: [0; 2], size: sizes.result }.phases()
    }

    /// The small image in a frame of zeros.
    fn framed(self, sizes: &Sizes, x: &[f32]) -> Planes {
        let place = Place { stride: 1, start: [-1; 2], size: sizes.image };
        Planes::spread(
            x,
            sizes.batch,
            sizes.c_in,
            sizes.image.map(|side| side + 2),
            2,
            &[place],
            self.precision,
        )
    }

    /// For each of the four taps of `phase`, row-major, the first row of the framed image that it touches.
    fn starts(phase: usize, columns: usize) -> [usize; 4] {
        let (py, px) = (phase / 2, phase % 2);
        [0, 1, 2, 3].map(|tap| (py + tap / 2) * columns + px + tap % 2)
    }

    /// The tap of `phase` that tap `t` of nine is part of.
    fn tap(phase: usize, t: usize) -> usize {
        Self::side(phase / 2, t / 3) * 2 + Self::side(phase % 2, t % 3)
    }

    /// The weights of the four taps of `phase`, laid out as those of all nine are, tap by tap.
    fn kernel(phase: usize, nine: &[f32]) -> Vec<f32> {
        let size = nine.len() / 9;
        let mut kernel = vec![0.0; 4 * size];
        threads::for_each_chunk(&mut kernel, size, |tap, kernel| {
            for (t, weights) in nine.chunks_exact(size).enumerate() {
                if Self::tap(phase, t) == tap {
                    vector::add(kernel, weights);
                }
            }
        });
        kernel
    }

    /// The gradient of the result, a plane for each phase, after a row and a column of zeros.
    fn gradient_planes(self, sizes: &Sizes, grad: &[f32]) -> Planes {
        let places = Place { stride: 2, start: [-2; 2], size: sizes.result }.phases();
        Planes::spread(
            grad,
            sizes.batch,
            sizes.c_out,
            sizes.image.map(|side| side + 2),
            2,
            &places,
            self.precision,
        )
    }

    /// Tap `a` of a phase took row `i - 1 + a` for row `i`, so row `u` gets from row `u + 1 - a`.
    fn gradient_of_image(sizes: &Sizes, weight: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { batch, image: [height, width], c_in, .. } = sizes;
        let (mut starts, mut kernel) = (Vec::new(), Vec::new());
        let nine = taps_first(weight, 9);
        for phase in 0..4 {
            let (py, px) = (phase / 2, phase % 2);
            starts.extend(
                [0, 1, 2, 3]
                    .map(|tap| phase * grad.pixels + (2 - py - tap / 2) * grad.grid[1] + 2 - px - tap % 2),
            );
            kernel.extend(Self::kernel(phase, &nine));
        }
        let mut dx = uninit(batch * height * width * c_in);
        let place = Place { stride: 1, start: [0; 2], size: sizes.image };
        grad.correlate(&Taps { starts: &starts, kernel: &kernel, c_out: c_in }, None, place, &mut dx);
        // SAFETY: every pixel gets a sum.
        unsafe { assume_init(dx) }
    }

    fn gradient_of_weight(self, sizes: &Sizes, x: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { c_in, c_out, .. } = sizes;
        let (planes, columns) = (self.framed(sizes, x), grad.grid[1]);
        let by_phase = [0, 1, 2, 3].map(|phase| {
            let first = phase * grad.pixels + columns + 1;
            planes.outer(&Self::starts(phase, columns), 2, (grad, first), sizes.image)
        });
        let size = c_in * c_out;
        let mut nine = vec![0.0; 9 * size];
        threads::for_each_chunk(&mut nine, size, |t, sums| {
            for (phase, taps) in by_phase.iter().enumerate() {
                vector::add(sums, &taps[Self::tap(phase, t) * size..]);
            }
        });
        taps_last(&nine, 9, c_in, c_out)
    }
}

impl FusedOp<3> for UpsampleConv2d {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        let sizes = Self::sizes(x.shape, weight.shape);
        let &Sizes { batch, result: [rows, columns], c_in, c_out, .. } = &sizes;
        let planes = self.framed(&sizes, x.data);
        let mut y = uninit(batch * rows * columns * c_out);
        let nine = transposed(&taps_first(weight.data, 9), c_out, c_in);
        for (phase, place) in Self::places(&sizes).into_iter().enumerate() {
            let kernel = Self::kernel(phase, &nine);
            let starts = Self::starts(phase, planes.grid[1]);
            planes.correlate(
                &Taps { starts: &starts, kernel: &kernel, c_out },
                Some(bias.data),
                place,
                &mut y,
            );
        }
        // SAFETY: the four phases together have every pixel.
        (unsafe { assume_init(y) }, vec![batch, rows, columns, c_out])
    }

    fn backward(
        &self,
        [x, weight, bias]: [View; 3],
        grad: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let sizes = Self::sizes(x.shape, weight.shape);
        let planes = self.gradient_planes(&sizes, grad);
        [
            wanted[0].then(|| Self::gradient_of_image(&sizes, weight.data, &planes)),
            wanted[1].then(|| self.gradient_of_weight(&sizes, x.data, &planes)),
            wanted[2].then(|| column_sums(grad, bias.width())),
        ]
    }
}

/// `[.., taps]` as `[taps, ..]`.
fn taps_first(weight: &[f32], taps: usize) -> Vec<f32> {
    let mut result = vec![0.0; weight.len()];
    threads::for_each_chunk(&mut result, weight.len() / taps, |tap, result| {
        for (value, weights) in result.iter_mut().zip(weight.chunks_exact(taps)) {
            *value = weights[tap];
        }
    });
    result
}

/// `[taps, c_in, c_out]` as `[c_out, c_in, taps]`.
fn taps_last(weight: &[f32], taps: usize, c_in: usize, c_out: usize) -> Vec<f32> {
    /// Outputs at once: a cache line of them.
    const BLOCK: usize = 16;
    let mut result = vec![0.0; weight.len()];
    threads::for_each_chunk(&mut result, BLOCK * c_in * taps, |block, result| {
        for (row, values) in weight.chunks_exact(c_out).enumerate() {
            let (tap, input) = (row / c_in, row % c_in);
            for (output, value) in values[block * BLOCK..].iter().take(BLOCK).enumerate() {
                result[(output * c_in + input) * taps + tap] = *value;
            }
        }
    });
    result
}

/// Matrices of `rows` x `columns`, one after another, transposed each.
fn transposed(matrices: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut result = vec![0.0; matrices.len()];
    threads::for_each_chunk(&mut result, rows * columns, |index, result| {
        let matrix = &matrices[index * rows * columns..];
        for (c, row) in result.chunks_exact_mut(rows).enumerate() {
            for (r, value) in row.iter_mut().enumerate() {
                *value = matrix[r * columns + c];
            }
        }
    });
    result
}
