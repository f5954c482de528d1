//! Images on zero-padded grids, where a tap of a kernel is a fixed shift of the rows, and products of such images with
//! kernels and with one another.

use super::bf16;
use super::matmul::matmul_serial;
use super::matrix::{Mat, MatMut};
use super::memory::{assume_init, uninit};
use super::place::{Pixels, Place};
use super::registers::{COLUMNS, Item, Pair, Product, ROWS, Sums};
use super::sums::add_rows;
use super::threads::{self, Shared};
use super::vector::{self, vectorised};
use crate::precision::MatmulPrecision;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Images on grids, channels last, one plane after another.
pub struct Planes {
    values: Values,
    batch: usize,
    /// Rows and columns of an image in a plane.
    pub grid: [usize; 2],
    /// Pixel rows of a plane, all images together.
    pub pixels: usize,
    channels: usize,
}

enum Values {
    F32(Vec<f32>),
    /// The channels of a pixel by two.
    Pairs(Vec<Pair>),
    /// Channels padded to whole tiles.
    Tiles(bf16::Rows),
}

impl Planes {
    /// Lays images out on planes, one for each of `places`, with room for shifts by `reach` rows and columns.
    pub fn spread(
        image: &[f32],
        batch: usize,
        channels: usize,
        grid: [usize; 2],
        reach: usize,
        places: &[Place],
        precision: MatmulPrecision,
    ) -> Self {
        let pixels = batch * grid[0] * grid[1];
        let planes = places.len();
        // What a shift reads beyond the last plane is never used, but must be there.
        let slack = reach * (grid[1] + 1) + 1;
        let rows = planes * batch * grid[0];
        let columns: Vec<_> = places.iter().map(|place| place.cells(1, grid[1])).collect();
        // What belongs on grid row `row`, if anything.
        let source = |row: usize| {
            let (plane, row) = (row / (batch * grid[0]), row % (batch * grid[0]));
            let (place, cells) = (places[plane], columns[plane].clone());
            let y = place.pixel(0, row % grid[0])?;
            let x = place.pixel(1, cells.start)?;
            let start = (row / grid[0] * place.size[0] + y) * place.size[1] * channels;
            let line = &image[start + x * channels..start + place.size[1] * channels];
            Some(Pixels { cells, pixels: line, step: place.stride })
        };
        let size = planes * pixels + slack;
        let values = match precision {
            MatmulPrecision::Bf16 if bf16::has_tile_unit() => {
                Values::Tiles(bf16::Rows::fill(size, channels, rows, grid[1], source))
            }
            MatmulPrecision::Bf16 if bf16::available() => {
                Values::Pairs(items(size, channels, rows, grid[1], source))
            }
            _ => Values::F32(items(size, channels, rows, grid[1], source)),
        };
        Self { values, batch, grid, pixels, channels }
    }

    /// Writes for each pixel row `Σ_t self[starts[t] + row] kernel[t] + bias` at its place in `out`, if it has one.
    pub fn correlate(&self, taps: &Taps, bias: Option<&[f32]>, place: Place, out: &mut [MaybeUninit<f32>]) {
        match &self.values {
            Values::F32(values) if f32::able() => self.correlate_items(values, taps, bias, place, out),
            Values::F32(values) => self.correlate_bands(values, taps, bias, place, out),
            Values::Pairs(pairs) => self.correlate_items(pairs, taps, bias, place, out),
            Values::Tiles(tiles) => {
                let out = Shared::new(out);
                tiles.correlate(self.pixels, taps.starts, taps.kernel, taps.c_out, &|row, columns, sums| {
                    self.store(row, columns, sums, bias, taps.c_out, &place, out);
                });
            }
        }
    }

    /// [`Self::correlate`] where sums stay in registers.
    fn correlate_items<T: Item>(
        &self,
        values: &[T],
        taps: &Taps,
        bias: Option<&[f32]>,
        place: Place,
        out: &mut [MaybeUninit<f32>],
    ) {
        /// Approximate number of pixels of a task.
        const BAND: usize = 512;
        let &Taps { starts, c_out, .. } = taps;
        let steps = self.channels.div_ceil(T::INNER);
        let runs: Vec<_> =
            starts.iter().enumerate().map(|(t, start)| [start * steps, t * steps * COLUMNS]).collect();
        let panel = starts.len() * steps * COLUMNS;
        let packed = taps.packed::<T>(self.channels);
        let last = starts.iter().max().copied().unwrap_or(0) + self.pixels;
        assert!(last * steps <= values.len(), "a tap reaches beyond the planes");
        let (lines, columns) = (self.batch * self.grid[0], self.grid[1]);
        let band = (BAND / columns).max(1);
        let out = Shared::new(out);
        threads::for_each(lines.div_ceil(band), |task| {
            // Where each pixel is read and stored.
            let mut pixels = Vec::with_capacity(band * columns + ROWS);
            for line in task * band..lines.min((task + 1) * band) {
                let Some(to) = self.target_line(&place, line) else { continue };
                let target = |column| Some([line * columns + column, to + place.pixel(1, column)?]);
                pixels.extend((0..columns).filter_map(target));
            }
            // The last group is filled up with copies of its last pixel.
            let Some(&last) = pixels.last() else { return };
            pixels.resize(pixels.len().next_multiple_of(ROWS), last);
            for (first, packed) in (0..c_out).step_by(COLUMNS).zip(packed.chunks_exact(panel)) {
                let width = COLUMNS.min(c_out - first);
                let mut start = [0.0; COLUMNS];
                if let Some(bias) = bias {
                    start[..width].copy_from_slice(&bias[first..first + width]);
                }
                vectorised(
                    #[inline(always)]
                    || {
                        for pixels in pixels.as_chunks::<ROWS>().0 {
                            let mut sums = Sums([start; ROWS]);
                            let left = pixels.map(|[from, _]| values[from * steps..].as_ptr());
                            let product = Product {
                                left,
                                right: packed.as_ptr(),
                                runs: &runs,
                                steps,
                                strides: [1, COLUMNS],
                            };
                            // SAFETY: the processor is able, as planes are made of what it multiplies; the assertion above
                            // keeps the left operand inside, and the right one has whole rows.
                            unsafe { T::multiply(&product, width, &mut sums) };
                            for ([_, to], sums) in pixels.iter().zip(&sums.0) {
                                // SAFETY: no other task has this pixel.
                                copy(unsafe { out.slice(to * c_out + first, width) }, sums);
                            }
                        }
                    },
                );
            }
        });
    }

    /// [`Self::correlate`] by products of some hundred rows at once.
    fn correlate_bands(
        &self,
        values: &[f32],
        taps: &Taps,
        bias: Option<&[f32]>,
        place: Place,
        out: &mut [MaybeUninit<f32>],
    ) {
        /// Rows of a task.
        const BAND: usize = 512;
        let (c, &Taps { starts, kernel, c_out }) = (self.channels, taps);
        let out = Shared::new(out);
        threads::for_each(self.pixels.div_ceil(BAND), |band| {
            let first = band * BAND;
            let rows = BAND.min(self.pixels - first);
            let mut sums = vec![0.0; rows * c_out];
            for (t, start) in starts.iter().enumerate() {
                let under = Mat::new(&values[(start + first) * c..], rows, c);
                let tap = Mat::new(&kernel[t * c * c_out..(t + 1) * c * c_out], c, c_out);
                matmul_serial(
                    under,
                    tap,
                    MatMut { data: &mut sums, row_stride: c_out },
                    t > 0,
                    MatmulPrecision::F32,
                );
            }
            for (row, sums) in sums.chunks_exact(c_out).enumerate() {
                self.store(first + row, 0..c_out, sums, bias, c_out, &place, out);
            }
        });
    }

    /// The first pixel of the image row that grid row `line` is stored in, if it is stored.
    fn target_line(&self, place: &Place, line: usize) -> Option<usize> {
        let y = place.pixel(0, line % self.grid[0])?;
        Some((line / self.grid[0] * place.size[0] + y) * place.size[1])
    }

    /// Stores some columns of a row's sums at its place, if it has one.
    #[allow(clippy::too_many_arguments)]
    fn store(
        &self,
        row: usize,
        columns: Range<usize>,
        sums: &[f32],
        bias: Option<&[f32]>,
        c_out: usize,
        place: &Place,
        out: Shared<MaybeUninit<f32>>,
    ) {
        let (line, column) = (row / self.grid[1], row % self.grid[1]);
        let (Some(to), Some(x)) = (self.target_line(place, line), place.pixel(1, column)) else { return };
        let pixel = to + x;
        // SAFETY: no other row has this pixel.
        let to = unsafe { out.slice(pixel * c_out + columns.start, columns.len()) };
        let to = copy(to, sums);
        if let Some(bias) = bias {
            to.iter_mut().zip(&bias[columns]).for_each(|(to, bias)| *to += bias);
        }
    }

    /// For each tap `Σ_row self[starts[t] + row]ᵀ other[first + row]`: `[taps, channels, other.channels]`. Rows `first + row` of
    /// `other` are zero but for those of `size` rows and columns from there on in each image; starts shift by at most `reach`
    /// rows and columns.
    pub fn outer(
        &self,
        starts: &[usize],
        reach: usize,
        (other, first): (&Self, usize),
        size: [usize; 2],
    ) -> Vec<f32> {
        let reach = reach * (self.grid[1] + 1);
        let (c, d, columns) = (self.channels, other.channels, size[1]);
        match (&self.values, &other.values) {
            (Values::F32(left), Values::F32(right)) if f32::able() => {
                let taps: Vec<_> = starts.iter().map(|start| start * c).collect();
                self.over_lines(size, starts.len() * c * d, |lines, _, sums| {
                    let runs: Vec<_> = lines.iter().map(|line| [line * c, (first + line) * d]).collect();
                    let (steps, strides) = (columns, [c, d]);
                    Lines { left, taps: &taps, right, runs: &runs, steps, strides }.add_outer(c, d, sums);
                })
            }
            (Values::F32(left), Values::F32(right)) => self.outer_parts(left, starts, &right[first * d..], d),
            (Values::Pairs(left), Values::Pairs(right)) => {
                let taps = |rows: usize| {
                    let tap = move |start: &usize| {
                        (start / self.pixels * rows + start % self.pixels) * 2 * c.div_ceil(2)
                    };
                    starts.iter().map(tap).collect::<Vec<_>>()
                };
                let planes = starts.iter().map(|start| start / self.pixels + 1).max().unwrap_or(0);
                self.over_lines(size, starts.len() * c * d, |lines, scratch, sums| {
                    let (top, bottom) = (lines[0], lines[lines.len() - 1]);
                    // Pairs of channels become pairs of rows: on the left of every row with the next, as taps shift by any
                    // number of them, on the right of every other row.
                    let rows = bottom + columns + reach - top;
                    let [left_turned, right_turned] = scratch;
                    let tops = (0..planes).map(|plane| plane * self.pixels + top);
                    let left_width = turn(left, c, tops, (rows, 1), left_turned);
                    let starts = lines.iter().map(|line| first + line);
                    let right_width = turn(right, d, starts, (columns, 2), right_turned);
                    let steps = columns.div_ceil(2);
                    let runs: Vec<_> = lines
                        .iter()
                        .enumerate()
                        .map(|(i, line)| [(line - top) * left_width, i * steps * right_width])
                        .collect();
                    let strides = [2 * left_width, right_width];
                    Lines {
                        left: left_turned,
                        taps: &taps(rows),
                        right: right_turned,
                        runs: &runs,
                        steps,
                        strides,
                    }
                    .add_outer(c, d, sums);
                })
            }
            (Values::Tiles(left), Values::Tiles(right)) => {
                left.outer(self.pixels, starts, reach, right, first)
            }
            _ => unreachable!("both are spread in one backward pass"),
        }
    }

    /// Sums over all lines of pixels, `size` items: `add` adds a part of the lines, which stays in the cache, given the first
    /// pixel of each line on the grid.
    fn over_lines(
        &self,
        [rows, columns]: [usize; 2],
        size: usize,
        add: impl Fn(&[usize], &mut [Vec<Pair>; 2], &mut [f32]) + Sync + Send,
    ) -> Vec<f32> {
        /// Approximate number of pixels of a part.
        const PART: usize = 256;
        let line = |line: usize| (line / rows * self.grid[0] + line % rows) * self.grid[1];
        let lines: Vec<_> = (0..self.batch * rows).map(line).collect();
        let part = (PART / columns.max(1)).max(1);
        let share = lines.len().div_ceil(threads::count()).next_multiple_of(part).max(part);
        let mut partial = vec![0.0; lines.len().div_ceil(share) * size];
        threads::for_each_chunk(&mut partial, size, |task, sums| {
            let lines = &lines[task * share..lines.len().min((task + 1) * share)];
            let mut scratch = [Vec::new(), Vec::new()];
            lines.chunks(part).for_each(|lines| add(lines, &mut scratch, sums));
        });
        add_rows(&partial, size)
    }

    /// [`Self::outer`] by products of all rows, frames included.
    fn outer_parts(&self, left: &[f32], starts: &[usize], right: &[f32], d: usize) -> Vec<f32> {
        /// Rows multiplied at once.
        const PART: usize = 1024;
        let c = self.channels;
        // The sums are small and the rows many: each task takes a share of the rows, in parts that stay in the cache
        // for all taps.
        let size = starts.len() * c * d;
        let tasks = threads::count().min(self.pixels.div_ceil(PART));
        let share = self.pixels.div_ceil(tasks);
        let mut partial = vec![0.0; tasks * size];
        threads::for_each_chunk(&mut partial, size, |task, sums| {
            let end = self.pixels.min((task + 1) * share);
            for row in (task * share..end).step_by(PART) {
                let rows = PART.min(end - row);
                let right = Mat::new(&right[row * d..], rows, d);
                for (start, sums) in starts.iter().zip(sums.chunks_exact_mut(c * d)) {
                    let left = Mat::new(&left[(start + row) * c..], rows, c);
                    matmul_serial(
                        left.t(),
                        right,
                        MatMut { data: sums, row_stride: d },
                        true,
                        MatmulPrecision::F32,
                    );
                }
            }
        });
        add_rows(&partial, size)
    }
}

/// The taps of a kernel.
#[derive(Clone, Copy)]
pub struct Taps<'a> {
    /// For each the first pixel row that it touches.
    pub starts: &'a [usize],
    /// `[taps, channels, c_out]`
    pub kernel: &'a [f32],
    pub c_out: usize,
}

impl Taps<'_> {
    /// The kernel by [`COLUMNS`] columns as items, filled up with zeros: `[c_out / COLUMNS, taps, channels / INNER, COLUMNS]`.
    fn packed<T: Item>(&self, channels: usize) -> Vec<T> {
        let (taps, c_out, steps) = (self.starts.len(), self.c_out, channels.div_ceil(T::INNER));
        let mut packed = vec![T::default(); c_out.div_ceil(COLUMNS) * taps * steps * COLUMNS];
        threads::for_each_chunk(&mut packed, steps * COLUMNS, |index, packed| {
            let (first, tap) = (index / taps * COLUMNS, index % taps);
            let columns = first..c_out.min(first + COLUMNS);
            let tap = &self.kernel[tap * channels * c_out..(tap + 1) * channels * c_out];
            vectorised(
                #[inline(always)]
                || {
                    for (row, items) in packed.chunks_exact_mut(COLUMNS).enumerate() {
                        let row =
                            |inner: usize| tap.get((row * T::INNER + inner) * c_out..).unwrap_or_default();
                        let (even, odd) = (&row(0)[columns.clone()], row(T::INNER - 1).get(columns.clone()));
                        for (i, item) in items.iter_mut().take(columns.len()).enumerate() {
                            *item = T::new([even[i], odd.map_or(0.0, |odd| odd[i])]);
                        }
                    }
                },
            );
        });
        packed
    }
}

/// Operands of outer products, which are summed over the steps of some lines.
struct Lines<'a, T> {
    left: &'a [T],
    /// For each tap how many items its rows lie after those of the runs.
    taps: &'a [usize],
    right: &'a [T],
    runs: &'a [[usize; 2]],
    steps: usize,
    strides: [usize; 2],
}

impl<T: Item> Lines<'_, T> {
    /// Adds for each tap the products of `c` columns on the left with `d` on the right to `sums`, `[taps, c, d]`.
    fn add_outer(&self, c: usize, d: usize, sums: &mut [f32]) {
        let &Self { left, taps, right, runs, steps, strides } = self;
        let end =
            |side: usize| runs.iter().map(|run| run[side] + (steps - 1) * strides[side]).max().unwrap_or(0);
        let shift = taps.iter().max().copied().unwrap_or(0);
        assert!(T::able() && shift + end(0) + c <= left.len() && end(1) + d + COLUMNS <= right.len() + 1);
        for o in (0..d).step_by(COLUMNS) {
            let width = COLUMNS.min(d - o);
            for (tap, sums) in taps.iter().zip(sums.chunks_exact_mut(c * d)) {
                for i in (0..c).step_by(ROWS) {
                    let mut part = Sums([[0.0; COLUMNS]; ROWS]);
                    // The last row stands in for those beyond it.
                    let left = std::array::from_fn(|r| left[tap + (i + r).min(c - 1)..].as_ptr());
                    let product = Product { left, right: right[o..].as_ptr(), runs, steps, strides };
                    // SAFETY: as asserted.
                    unsafe { T::multiply(&product, width, &mut part) };
                    vectorised(
                        #[inline(always)]
                        || {
                            for (sums, part) in
                                sums[i * d..].chunks_exact_mut(d).zip(&part.0[..ROWS.min(c - i)])
                            {
                                vector::add(&mut sums[o..o + width], part);
                            }
                        },
                    );
                }
            }
        }
    }
}

/// Pixels as items, on rows of a grid `columns` wide; the first `lines` of them as `source` says, the others zero.
fn items<'a, T: Item>(
    pixels: usize,
    channels: usize,
    lines: usize,
    columns: usize,
    source: impl Fn(usize) -> Option<Pixels<'a>> + Sync + Send,
) -> Vec<T> {
    let width = channels.div_ceil(T::INNER);
    // Products may read, and not use, items after the last.
    let (filled, size) = (lines * columns * width, pixels * width + COLUMNS);
    let zero = MaybeUninit::new(T::default());
    let mut items = uninit::<T>(size);
    items[filled..].fill(zero);
    threads::for_each_chunk(&mut items[..filled], columns * width, |line, items| {
        let Some(Pixels { cells, pixels, step }) = source(line) else { return items.fill(zero) };
        let (items, after) = items.split_at_mut(cells.end * width);
        let (before, items) = items.split_at_mut(cells.start * width);
        before.fill(zero);
        after.fill(zero);
        let whole = channels.is_multiple_of(T::INNER);
        if whole && step == 1 {
            return T::fill(items, &pixels[..cells.len() * channels]);
        }
        for (items, pixel) in items.chunks_exact_mut(width).zip(pixels.chunks_exact(channels).step_by(step)) {
            if whole {
                T::fill(items, pixel);
                continue;
            }
            for (item, values) in items.iter_mut().zip(pixel.chunks(T::INNER)) {
                item.write(T::new([values[0], values.get(1).copied().unwrap_or(0.0)]));
            }
        }
    });
    // SAFETY: each line is written: its cells with pixels, one a cell, and those before and after them.
    unsafe { assume_init(items) }
}

/// Turns pairs of channels into pairs of rows: of the `rows` rows from each of `starts` on, every `step`th row with the next one. Where
/// rows go by two, the last of an odd number is paired with zeros. Returns the items of a row.
fn turn(
    items: &[Pair],
    channels: usize,
    starts: impl ExactSizeIterator<Item = usize>,
    (rows, step): (usize, usize),
    turned: &mut Vec<Pair>,
) -> usize {
    let width = channels.div_ceil(2);
    let size = starts.len() * rows.div_ceil(step) * 2 * width + COLUMNS;
    turned.resize(size.max(turned.len()), Pair::default());
    let zeros = vec![Pair::default(); width];
    vectorised(
        #[inline(always)]
        || {
            let mut to = turned.chunks_exact_mut(2 * width);
            for start in starts {
                for (row, to) in (0..rows).step_by(step).zip(&mut to) {
                    let upper = &items[(start + row) * width..][..width];
                    let below = step == 1 || row + 1 < rows;
                    let lower = if below { &items[(start + row + 1) * width..][..width] } else { &zeros };
                    for (pair, (upper, lower)) in to.as_chunks_mut().0.iter_mut().zip(upper.iter().zip(lower))
                    {
                        *pair = upper.turn(*lower);
                    }
                }
            }
        },
    );
    2 * width
}

/// Fills `to` with the first items of `from`, without a call for the usual lengths.
#[inline(always)]
fn copy<'a>(to: &'a mut [MaybeUninit<f32>], from: &[f32]) -> &'a mut [f32] {
    match to.len() {
        COLUMNS => to.write_copy_of_slice(&from[..COLUMNS]),
        16 => to.write_copy_of_slice(&from[..16]),
        len => to.write_copy_of_slice(&from[..len]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Planes, Taps, Values};
    use crate::ops::cpu::memory::{assume_init, uninit};
    use crate::ops::cpu::place::Place;
    use crate::precision::MatmulPrecision;

    /// A batch of images, channels last, with values of size 1.
    struct Images {
        values: Vec<f32>,
        batch: usize,
        size: [usize; 2],
        channels: usize,
    }

    impl Images {
        fn new(batch: usize, size: [usize; 2], channels: usize) -> Self {
            let values = (0..batch * size[0] * size[1] * channels).map(|i| (i as f32 * 0.7 + 1.0).sin());
            Self { values: values.collect(), batch, size, channels }
        }

        /// On a grid with a row and a column of zeros on each side.
        fn planes(&self) -> Planes {
            let &Self { ref values, batch, size, channels } = self;
            let place = Place { stride: 1, start: [-1; 2], size };
            let grid = size.map(|side| side + 2);
            Planes::spread(values, batch, channels, grid, 2, &[place], MatmulPrecision::F32)
        }

        /// The channels of the pixel under tap `t` of a 3 x 3 kernel around pixel `[image, row, column]`, if it has any.
        fn under(&self, [image, row, column]: [usize; 3], t: usize) -> Option<&[f32]> {
            let [rows, columns] = self.size;
            let (y, x) = ((row + t / 3).checked_sub(1)?, (column + t % 3).checked_sub(1)?);
            let pixel = (y < rows && x < columns).then_some((image * rows + y) * columns + x)?;
            Some(&self.values[pixel * self.channels..][..self.channels])
        }

        fn pixels(&self) -> impl Iterator<Item = [usize; 3]> {
            let (batch, [rows, columns]) = (self.batch, self.size);
            (0..batch * rows * columns).map(move |i| [i / (rows * columns), i / columns % rows, i % columns])
        }
    }

    fn assert_close(got: &[f32], want: &[f32]) {
        assert!(got.len() == want.len() && want.iter().any(|value| *value != 0.0));
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-3, "{got}, want {want}");
        }
    }

    /// The way that this processor takes, and the one for processors without AVX-512.
    #[test]
    fn both_ways_to_multiply_are_right() {
        for (batch, c, d, size) in [(1, 1, 1, [1, 1]), (2, 3, 20, [5, 7]), (3, 33, 70, [12, 9])] {
            let (image, gradient) = (Images::new(batch, size, c), Images::new(batch, size, d));
            let kernel: Vec<f32> = (0..9 * c * d).map(|i| (i as f32 * 0.3).cos()).collect();
            let bias: Vec<f32> = (0..d).map(|i| i as f32).collect();
            let mut want = vec![];
            let mut want_outer = vec![0.0; 9 * c * d];
            for (pixel, gradient) in image.pixels().zip(gradient.values.chunks_exact(d)) {
                let mut sums = bias.clone();
                for (t, kernel) in kernel.chunks_exact(c * d).enumerate() {
                    for (i, x) in image.under(pixel, t).into_iter().flatten().enumerate() {
                        for o in 0..d {
                            sums[o] += x * kernel[i * d + o];
                            want_outer[(t * c + i) * d + o] += x * gradient[o];
                        }
                    }
                }
                want.extend(sums);
            }

            let (x, gradient) = (image.planes(), gradient.planes());
            let (Values::F32(values), Values::F32(gradients)) = (&x.values, &gradient.values) else {
                panic!("planes in f32 have values in f32")
            };
            let columns = size[1] + 2;
            let starts: Vec<_> = (0..9).map(|t| t / 3 * columns + t % 3).collect();
            let taps = Taps { starts: &starts, kernel: &kernel, c_out: d };
            let place = Place { stride: 1, start: [0; 2], size };
            let [mut got, mut got_in_bands] = [0, 1].map(|_| uninit(batch * size[0] * size[1] * d));
            x.correlate(&taps, Some(&bias), place, &mut got);
            x.correlate_bands(values, &taps, Some(&bias), place, &mut got_in_bands);
            for got in [got, got_in_bands] {
                // SAFETY: every pixel has a sum.
                assert_close(&unsafe { assume_init(got) }, &want);
            }

            let first = columns + 1;
            assert_close(&x.outer(&starts, 2, (&gradient, first), size), &want_outer);
            assert_close(&x.outer_parts(values, &starts, &gradients[first * d..], d), &want_outer);
        }
    }
}
