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

use super::linear::{add_rows, column_sums};
use super::matmul::{Mat, MatMut, MatmulPrecision, matmul_precision, matmul_serial};
use super::threads::{self, Shared};
use super::{View, bf16, unwritten};
use crate::ops::extension::Kernel;
use std::ops::Range;

/// See [`crate::ops::conv::conv2d`]. Inputs: `x`, `weight`, `bias`.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    pub stride: usize,
    /// Top, bottom, left, right.
    pub padding: [usize; 4],
}

/// The sizes of one convolution.
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
        Planes::spread(x, sizes.batch, sizes.c_in, grid, self.reach(sizes), &place.phases())
    }

    /// The gradient of the result on one plane of the [backward grid](Self::backward_grid).
    fn gradient_planes(&self, sizes: &Sizes, grad: &[f32]) -> Planes {
        let reach = self.reach(sizes);
        let place = Place { stride: 1, start: [-(reach as isize); 2], size: sizes.result };
        Planes::spread(grad, sizes.batch, sizes.c_out, self.backward_grid(sizes), reach, &[place])
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
        // A stride beyond the kernel leaves pixels out; otherwise every one gets a sum.
        let size = batch * height * width * c_in;
        // SAFETY: as said.
        let mut dx = if s > k { vec![0.0; size] } else { unsafe { unwritten(size) } };
        for phase in 0..s * s {
            let (py, px) = (phase / s, phase % s);
            let steps = |p: usize| (0..=reach).filter(move |d| s * d + p < k);
            let taps: Vec<_> = steps(py).flat_map(|dy| steps(px).map(move |dx| [dy, dx])).collect();
            if taps.is_empty() {
                continue;
            }
            let starts: Vec<_> = taps.iter().map(|[dy, dx]| (reach - dy) * grid[1] + reach - dx).collect();
            let mut kernel = vec![0.0; taps.len() * c_out * c_in];
            threads::for_each_chunk(&mut kernel, c_out * c_in, |tap, kernel| {
                let [dy, dx] = taps[tap];
                let t = (s * dy + py) * k + s * dx + px;
                for (value, weight) in kernel.iter_mut().zip(weight.chunks_exact(k * k)) {
                    *value = weight[t];
                }
            });
            let start = [py as isize - top as isize, px as isize - left as isize];
            let place = Place { stride: s, start, size: sizes.image };
            grad.correlate(&starts, &kernel, None, c_in, place, &mut dx);
        }
        dx
    }

    fn gradient_of_weight(&self, sizes: &Sizes, x: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { c_in, c_out, k, .. } = sizes;
        let (planes, reach) = (self.planes(sizes, x, grad.grid), self.reach(sizes));
        let by_tap = planes.outer(&self.taps(sizes, &planes), reach, grad, reach * (grad.grid[1] + 1));
        let mut dweight = vec![0.0; by_tap.len()];
        threads::for_each_chunk(&mut dweight, c_in * k * k, |o, dweight| {
            for (i, taps) in dweight.chunks_exact_mut(k * k).enumerate() {
                for (t, value) in taps.iter_mut().enumerate() {
                    *value = by_tap[(t * c_in + i) * c_out + o];
                }
            }
        });
        dweight
    }
}

impl Kernel<3> for Conv2d {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        let sizes = self.sizes(x.shape, weight.shape);
        let &Sizes { batch, result: [rows, columns], c_in, c_out, k, .. } = &sizes;
        let planes = self.planes(&sizes, x.data, self.grid(&sizes));
        let mut kernel = vec![0.0; weight.data.len()];
        threads::for_each_chunk(&mut kernel, c_in * c_out, |t, kernel| {
            for (i, row) in kernel.chunks_exact_mut(c_out).enumerate() {
                for (o, value) in row.iter_mut().enumerate() {
                    *value = weight.data[(o * c_in + i) * k * k + t];
                }
            }
        });
        let place = Place { stride: 1, start: [0; 2], size: sizes.result };
        // SAFETY: every pixel of the result gets a sum.
        let mut y = unsafe { unwritten(batch * rows * columns * c_out) };
        planes.correlate(&self.taps(&sizes, &planes), &kernel, Some(bias.data), c_out, place, &mut y);
        (y, vec![batch, rows, columns, c_out])
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
pub struct UpsampleConv2d;

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
    fn framed(sizes: &Sizes, x: &[f32]) -> Planes {
        let place = Place { stride: 1, start: [-1; 2], size: sizes.image };
        Planes::spread(x, sizes.batch, sizes.c_in, sizes.image.map(|side| side + 2), 2, &[place])
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

    /// The weights of the four taps of `phase`: `[4, c_out, c_in]`.
    fn kernel(phase: usize, weight: &[f32]) -> Vec<f32> {
        let size = weight.len() / 9;
        let mut kernel = vec![0.0; 4 * size];
        threads::for_each_chunk(&mut kernel, size, |tap, kernel| {
            for (value, taps) in kernel.iter_mut().zip(weight.chunks_exact(9)) {
                *value = (0..9).filter(|&t| Self::tap(phase, t) == tap).map(|t| taps[t]).sum();
            }
        });
        kernel
    }

    /// The gradient of the result, a plane for each phase, after a row and a column of zeros.
    fn gradient_planes(sizes: &Sizes, grad: &[f32]) -> Planes {
        let places = Place { stride: 2, start: [-2; 2], size: sizes.result }.phases();
        Planes::spread(grad, sizes.batch, sizes.c_out, sizes.image.map(|side| side + 2), 2, &places)
    }

    /// Tap `a` of a phase took row `i - 1 + a` for row `i`, so row `u` gets from row `u + 1 - a`.
    fn gradient_of_image(sizes: &Sizes, weight: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { batch, image: [height, width], c_in, .. } = sizes;
        let (mut starts, mut kernel) = (Vec::new(), Vec::new());
        for phase in 0..4 {
            let (py, px) = (phase / 2, phase % 2);
            starts.extend(
                [0, 1, 2, 3]
                    .map(|tap| phase * grad.pixels + (2 - py - tap / 2) * grad.grid[1] + 2 - px - tap % 2),
            );
            kernel.extend(Self::kernel(phase, weight));
        }
        // SAFETY: every pixel gets a sum.
        let mut dx = unsafe { unwritten(batch * height * width * c_in) };
        let place = Place { stride: 1, start: [0; 2], size: sizes.image };
        grad.correlate(&starts, &kernel, None, c_in, place, &mut dx);
        dx
    }

    fn gradient_of_weight(sizes: &Sizes, x: &[f32], grad: &Planes) -> Vec<f32> {
        let &Sizes { c_in, c_out, .. } = sizes;
        let (planes, columns) = (Self::framed(sizes, x), grad.grid[1]);
        let by_phase = [0, 1, 2, 3].map(|phase| {
            planes.outer(&Self::starts(phase, columns), 2, grad, phase * grad.pixels + columns + 1)
        });
        let mut dweight = vec![0.0; c_out * c_in * 9];
        threads::for_each_chunk(&mut dweight, c_in * 9, |o, dweight| {
            for (i, taps) in dweight.chunks_exact_mut(9).enumerate() {
                for (t, value) in taps.iter_mut().enumerate() {
                    let part = |phase: usize| by_phase[phase][(Self::tap(phase, t) * c_in + i) * c_out + o];
                    *value = (0..4).map(part).sum();
                }
            }
        });
        dweight
    }
}

impl Kernel<3> for UpsampleConv2d {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        let sizes = Self::sizes(x.shape, weight.shape);
        let &Sizes { batch, result: [rows, columns], c_in, c_out, .. } = &sizes;
        let planes = Self::framed(&sizes, x.data);
        // SAFETY: the four phases together have every pixel.
        let mut y = unsafe { unwritten(batch * rows * columns * c_out) };
        for (phase, place) in Self::places(&sizes).into_iter().enumerate() {
            let kernel = transposed(&Self::kernel(phase, weight.data), c_out, c_in);
            let starts = Self::starts(phase, planes.grid[1]);
            planes.correlate(&starts, &kernel, Some(bias.data), c_out, place, &mut y);
        }
        (y, vec![batch, rows, columns, c_out])
    }

    fn backward(
        &self,
        [x, weight, bias]: [View; 3],
        grad: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let sizes = Self::sizes(x.shape, weight.shape);
        let planes = Self::gradient_planes(&sizes, grad);
        [
            wanted[0].then(|| Self::gradient_of_image(&sizes, weight.data, &planes)),
            wanted[1].then(|| Self::gradient_of_weight(&sizes, x.data, &planes)),
            wanted[2].then(|| column_sums(grad, bias.width())),
        ]
    }
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

/// Where cell `[i, j]` of a plane lies in an image: pixel `stride [i, j] + start`, if there is one.
#[derive(Clone, Copy)]
struct Place {
    stride: usize,
    start: [isize; 2],
    /// Rows and columns of the image.
    size: [usize; 2],
}

impl Place {
    /// The pixel of `cell` along `axis`.
    fn pixel(&self, axis: usize, cell: usize) -> Option<usize> {
        let at = (self.stride * cell) as isize + self.start[axis];
        (0..self.size[axis] as isize).contains(&at).then_some(at as usize)
    }

    /// A place for each remainder of rows and columns by the stride, row-major: together they have every pixel.
    fn phases(self) -> Vec<Self> {
        let ([row, column], stride) = (self.start, self.stride as isize);
        let phase = |p: isize| Self { start: [row + p / stride, column + p % stride], ..self };
        (0..stride * stride).map(phase).collect()
    }
}

/// Pixels for some cells of a grid row: the first, and every `step`th after it.
pub struct Pixels<'a> {
    pub cells: Range<usize>,
    pub pixels: &'a [f32],
    pub step: usize,
}

/// Images on zero-padded grids, channels last, one plane after another.
struct Planes {
    values: Values,
    batch: usize,
    /// Rows and columns of an image in a plane.
    grid: [usize; 2],
    /// Pixel rows of a plane, all images together.
    pixels: usize,
    channels: usize,
}

enum Values {
    F32(Vec<f32>),
    /// Channels padded to whole tiles.
    Bf16(bf16::Rows),
}

impl Planes {
    /// Lays images out on planes, one for each of `places`, with room for shifts by `reach` rows and columns.
    fn spread(
        image: &[f32],
        batch: usize,
        channels: usize,
        grid: [usize; 2],
        reach: usize,
        places: &[Place],
    ) -> Self {
        let pixels = batch * grid[0] * grid[1];
        let planes = places.len();
        // What a shift reads beyond the last plane is never used, but must be there.
        let slack = reach * (grid[1] + 1);
        let rows = planes * batch * grid[0];
        // What belongs on grid row `row`, if anything.
        let source = |row: usize| {
            let (plane, row) = (row / (batch * grid[0]), row % (batch * grid[0]));
            let place = places[plane];
            let y = place.pixel(0, row % grid[0])?;
            let start = (row / grid[0] * place.size[0] + y) * place.size[1] * channels;
            let cells = (0..grid[1]).position(|cell| place.pixel(1, cell).is_some())?;
            let cells = cells..(0..grid[1]).rposition(|cell| place.pixel(1, cell).is_some())? + 1;
            let x = place.pixel(1, cells.start)?;
            let line = &image[start + x * channels..start + place.size[1] * channels];
            Some(Pixels { cells, pixels: line, step: place.stride })
        };
        let values = match matmul_precision() {
            MatmulPrecision::F32 => {
                let mut values = vec![0.0; (planes * pixels + slack) * channels];
                let line = grid[1] * channels;
                threads::for_each_chunk(&mut values[..rows * line], line, |row, line| {
                    let Some(Pixels { cells, pixels, step }) = source(row) else { return };
                    let cells = line[cells.start * channels..cells.end * channels].chunks_exact_mut(channels);
                    for (cell, pixel) in cells.zip(pixels.chunks(channels).step_by(step)) {
                        cell.copy_from_slice(pixel);
                    }
                });
                Values::F32(values)
            }
            MatmulPrecision::Bf16 => {
                Values::Bf16(bf16::Rows::fill(planes * pixels + slack, channels, rows, grid[1], source))
            }
        };
        Self { values, batch, grid, pixels, channels }
    }

    /// The index of the pixel where grid row `row` goes, if anywhere.
    fn target(&self, place: &Place, row: usize) -> Option<usize> {
        let (line, column) = (row / self.grid[1], row % self.grid[1]);
        let y = place.pixel(0, line % self.grid[0])?;
        let x = place.pixel(1, column)?;
        Some((line / self.grid[0] * place.size[0] + y) * place.size[1] + x)
    }

    /// For each pixel row `Σ_t self[starts[t] + row] kernel[t] + bias`, stored at its place in `out`.
    /// `kernel` is `[taps, channels, c_out]`.
    fn correlate(
        &self,
        starts: &[usize],
        kernel: &[f32],
        bias: Option<&[f32]>,
        c_out: usize,
        place: Place,
        out: &mut [f32],
    ) {
        /// Rows a task sums up, in parts of [`GROUP`].
        const BAND: usize = 512;
        let total = self.batch * self.grid[0] * self.grid[1];
        let out = Shared::new(out);
        let store = |row: usize, columns: Range<usize>, sums: &[f32]| {
            let Some(pixel) = self.target(&place, row) else { return };
            // SAFETY: no other row has this pixel.
            let to = unsafe { out.slice(pixel * c_out + columns.start, columns.len()) };
            match bias {
                Some(bias) => {
                    for ((to, sum), bias) in to.iter_mut().zip(sums).zip(&bias[columns]) {
                        *to = sum + bias;
                    }
                }
                None => to.copy_from_slice(&sums[..columns.len()]),
            }
        };
        match &self.values {
            Values::F32(values) => {
                let c = self.channels;
                threads::for_each(total.div_ceil(BAND), |band| {
                    let first = band * BAND;
                    let rows = BAND.min(total - first);
                    // SAFETY: the first tap's product is written everywhere.
                    let mut sums = unsafe { unwritten(rows * c_out) };
                    for (t, start) in starts.iter().enumerate() {
                        let under = Mat::new(&values[(start + first) * c..], rows, c);
                        let tap = Mat::new(&kernel[t * c * c_out..(t + 1) * c * c_out], c, c_out);
                        matmul_serial(under, tap, MatMut { data: &mut sums, row_stride: c_out }, t > 0);
                    }
                    for (row, sums) in sums.chunks_exact(c_out).enumerate() {
                        store(first + row, 0..c_out, sums);
                    }
                });
            }
            Values::Bf16(values) => values.correlate(total, starts, kernel, c_out, &store),
        }
    }

    /// For each tap `Σ_row self[start + row]ᵀ other[first + row]`: `[taps, channels, other.channels]`.
    fn outer(&self, starts: &[usize], reach: usize, other: &Self, first: usize) -> Vec<f32> {
        /// Rows multiplied at once.
        const PART: usize = 1024;
        let (c, d) = (self.channels, other.channels);
        match (&self.values, &other.values) {
            (Values::F32(values), Values::F32(others)) => {
                // The sums are small and the rows many: each task takes a share of the rows, in parts that stay in
                // the cache for all taps.
                let size = starts.len() * c * d;
                let tasks = threads::count().min(self.pixels.div_ceil(PART));
                let share = self.pixels.div_ceil(tasks);
                let mut partial = vec![0.0; tasks * size];
                threads::for_each_chunk(&mut partial, size, |task, sums| {
                    let end = self.pixels.min((task + 1) * share);
                    for row in (task * share..end).step_by(PART) {
                        let rows = PART.min(end - row);
                        let other = Mat::new(&others[(first + row) * d..], rows, d);
                        for (start, sums) in starts.iter().zip(sums.chunks_exact_mut(c * d)) {
                            let under = Mat::new(&values[(start + row) * c..], rows, c);
                            matmul_serial(under.t(), other, MatMut { data: sums, row_stride: d }, true);
                        }
                    }
                });
                add_rows(&partial, size)
            }
            (Values::Bf16(values), Values::Bf16(others)) => {
                values.outer(self.pixels, starts, reach * (self.grid[1] + 1), others, first)
            }
            _ => unreachable!("both are spread in one backward pass"),
        }
    }
}
