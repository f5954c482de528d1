//! The products of a convolution in `bf16` on the tile unit, see `planes`: rows that are multiplied where they lie.

use super::pack::{Line, Operand, Side, TILE, mask, round_pair, transpose, with_scratch};
use super::unit::with_unit;
use crate::ops::cpu::place::Pixels;
use crate::ops::cpu::threads;
use crate::ops::cpu::vector;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A matrix of `bf16`, its rows padded with zeros to whole cache lines.
pub struct Rows {
    lines: Vec<Line>,
    columns: usize,
    /// Cache lines of a row.
    width: usize,
}

/// Rows below the matrix that a tile may load; zero.
const SLACK: usize = 64;
/// Rows of sums that tiles hold at once.
const GROUP: usize = 32;

impl Rows {
    /// A matrix of `rows` rows. The first are `bands` bands of `band` rows, each with the pixels that `source` gives and zeros
    /// elsewhere; the rows after them are zero.
    pub fn fill<'a>(
        rows: usize,
        columns: usize,
        bands: usize,
        band: usize,
        source: impl Fn(usize) -> Option<Pixels<'a>> + Sync + Send,
    ) -> Self {
        let width = columns.div_ceil(32);
        let mut lines = take((rows + SLACK) * width);
        let items = band * width;
        let (filled, rest) = lines[..(rows + SLACK) * width].split_at_mut(bands * items);
        rest.fill(Line([0; 32]));
        threads::for_each_chunk(filled, items, |index, band| {
            let Some(Pixels { cells, pixels, step }) = source(index) else { return band.fill(Line([0; 32])) };
            band[..cells.start * width].fill(Line([0; 32]));
            band[cells.end * width..].fill(Line([0; 32]));
            // SAFETY: AVX-512 is there, see `available`.
            unsafe { round(pixels, columns, step, &mut band[cells.start * width..cells.end * width]) };
        });
        Self { lines, columns, width }
    }

    /// Hands `Σ_t self[starts[t] + row] kernel[t]` to `store` for each of `total` rows, with the row and the columns of the sums. `kernel` is `[taps, columns, c_out]`.
    pub fn correlate(
        &self,
        total: usize,
        starts: &[usize],
        kernel: &[f32],
        c_out: usize,
        store: &(impl Fn(usize, Range<usize>, &[f32]) + Sync),
    ) {
        /// Groups of a task.
        const BAND: usize = 8;
        let (c, width) = (self.columns, self.width);
        let panels = c_out.div_ceil(32);
        let steps = starts.len() * width;
        let last = starts.iter().max().copied().unwrap_or(0) + total.next_multiple_of(GROUP);
        assert!(last * width <= self.lines.len(), "a tap reaches beyond the rows");
        // Where, in bytes, the tiles of each step begin.
        let offsets: Vec<usize> =
            starts.iter().flat_map(|start| (0..width).map(move |line| (start * width + line) * 64)).collect();
        with_scratch(panels * steps * 2, |packed| {
            for panel in 0..panels {
                for (t, tap) in kernel.chunks_exact(c * c_out).enumerate() {
                    let operand =
                        Operand { data: tap, outer: c_out, inner: c, outer_stride: 1, inner_stride: c_out };
                    let to = &mut packed[(panel * steps + t * width) * 2 * TILE..][..width * 2 * TILE];
                    // SAFETY: AVX-512 is there, see `available`.
                    unsafe { operand.pack_panel(Side::Right, panel * 32, 0, c, to) };
                }
            }
            let packed = &*packed;
            threads::for_each(total.div_ceil(BAND * GROUP), |band| {
                let rows = band * BAND * GROUP..total.min((band + 1) * BAND * GROUP);
                with_unit(|_| {
                    for first in rows.clone().step_by(GROUP) {
                        for panel in 0..panels {
                            let mut sums = [[0.0_f32; 32]; GROUP];
                            // SAFETY: the tile unit is ready; the assertion above keeps the loads inside the rows.
                            unsafe {
                                let a = self.lines.as_ptr().add(first * width).cast();
                                let b = packed[panel * steps * 2 * TILE..].as_ptr();
                                multiply(a, width * 64, &offsets, b, sums.as_mut_ptr().cast());
                            }
                            let columns = panel * 32..c_out.min(panel * 32 + 32);
                            for (row, sums) in (first..rows.end).zip(&sums) {
                                store(row, columns.clone(), &sums[..columns.len()]);
                            }
                        }
                    }
                });
            });
        });
    }

    /// For each tap `Σ_row self[start + row]ᵀ other[offset + row]` over `rows` rows: `[taps, columns, other.columns]`.
    /// A start is a multiple of `rows`, the plane, plus a shift of at most `reach`. Beyond `rows`, up to the next multiple
    /// of 32, one of the two is zero.
    pub fn outer(
        &self,
        rows: usize,
        starts: &[usize],
        reach: usize,
        other: &Self,
        offset: usize,
    ) -> Vec<f32> {
        let (c, d) = (self.columns, other.columns);
        let size = starts.len() * c * d;
        let planes = starts.iter().map(|start| start / rows + 1).max().unwrap_or(1);
        // So many rows at once that both operands stay in the second-level cache.
        let chunk = ((1 << 19) / (32 * (planes * self.width + other.width))).clamp(256, 2048) / 32 * 32;
        let tasks = threads::count().min(rows.div_ceil(chunk)).max(1);
        let share = rows.div_ceil(tasks).next_multiple_of(32);
        let mut partial = vec![0.0; tasks * size];
        threads::for_each_chunk(&mut partial, size, |task, sums| {
            let end = rows.min((task + 1) * share);
            for first in (task * share..end).step_by(chunk) {
                let here = first..end.min(first + chunk);
                self.outer_chunk(rows, here, starts, reach, planes, (other, offset), sums);
            }
        });
        let mut parts = partial.chunks_exact(size);
        let mut sums = parts.next().unwrap_or_default().to_vec();
        parts.for_each(|part| vector::add(&mut sums, part));
        sums
    }

    /// Adds the products of `here`, some of the `rows`, to `sums`.
    #[allow(clippy::too_many_arguments)]
    fn outer_chunk(
        &self,
        rows: usize,
        here: Range<usize>,
        starts: &[usize],
        reach: usize,
        planes: usize,
        (other, offset): (&Self, usize),
        sums: &mut [f32],
    ) {
        let (c, d) = (self.columns, other.columns);
        let steps = here.len().div_ceil(32);
        // Cache lines of a transposed row: an odd number, so that the rows of a tile use different cache sets.
        let pitch = (steps + reach.div_ceil(32)) | 1;
        let plane_lines = self.width * 32 * pitch;
        let pair_lines = other.width * 2;
        let lines = planes * plane_lines + steps * 16 * pair_lines;
        with_scratch(lines.div_ceil(16), |scratch| {
            let (turned, paired) = scratch.split_at_mut(planes * plane_lines * 32);
            // SAFETY: AVX-512 is there, see `available`; both buffers hold what is written.
            unsafe {
                for plane in 0..planes {
                    let to = &mut turned[plane * plane_lines * 32..][..plane_lines * 32];
                    self.turn(plane * rows + here.start, steps * 32 + reach, pitch, to);
                }
                other.pair(offset + here.start, steps, paired);
            }
            with_unit(|_| {
                for (tap, start) in sums.chunks_exact_mut(c * d).zip(starts) {
                    let (plane, shift) = (start / rows, start % rows);
                    for i in (0..c).step_by(32) {
                        for o in (0..d).step_by(32) {
                            let mut part = [[0.0_f32; 32]; 32];
                            // SAFETY: the tile unit is ready; a transposed row has room for the shift.
                            unsafe {
                                let a = turned.as_ptr().add((plane * plane_lines + i * pitch) * 32 + shift);
                                let b = paired.as_ptr().add(o / 16 * 32);
                                let strides = [pitch * 64, pair_lines * 64];
                                multiply_turned(a.cast(), b.cast(), strides, steps, part.as_mut_ptr().cast());
                            }
                            for (row, part) in part.iter().enumerate().take(c - i) {
                                let to = &mut tap[(i + row) * d + o..(i + row) * d + d.min(o + 32)];
                                vector::add(to, part);
                            }
                        }
                    }
                }
            });
        });
    }

    /// Transposes rows from `first` on, at least `rows` of them: a row of `pitch` cache lines for each column.
    ///
    /// # Safety
    /// AVX-512 is there and `out` holds them.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn turn(&self, first: usize, rows: usize, pitch: usize, out: &mut [u16]) {
        let [low, high] = pair_index();
        for block in 0..rows.div_ceil(32) {
            for line in 0..self.width {
                let mut halves = [[_mm512_setzero_si512(); 16]; 2];
                let [lows, highs] = &mut halves;
                for (pair, (low_half, high_half)) in lows.iter_mut().zip(highs).enumerate() {
                    let row = first + block * 32 + 2 * pair;
                    let [a, b] = [self.line(row, line), self.line(row + 1, line)];
                    *low_half = _mm512_permutex2var_epi16(a, low, b);
                    *high_half = _mm512_permutex2var_epi16(a, high, b);
                }
                for (half, rows) in halves.iter_mut().enumerate() {
                    transpose(rows);
                    for (column, row) in rows.iter().enumerate() {
                        let to = &mut out[((line * 32 + half * 16 + column) * pitch + block) * 32..][..32];
                        // SAFETY: 64 writable bytes.
                        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *row) };
                    }
                }
            }
        }
    }

    /// Puts the rows from `first` on together in pairs, `steps` times 16 pairs: two cache lines for each of a row.
    ///
    /// # Safety
    /// AVX-512 is there and `out` holds them.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pair(&self, first: usize, steps: usize, out: &mut [u16]) {
        let [low, high] = pair_index();
        for p in 0..steps * 16 {
            for line in 0..self.width {
                let row = first + 2 * p;
                let [a, b] = [self.line(row, line), self.line(row + 1, line)];
                let to = &mut out[(p * self.width + line) * 64..][..64];
                // SAFETY: 128 writable bytes.
                unsafe {
                    _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_permutex2var_epi16(a, low, b));
                    _mm512_storeu_si512(to[32..].as_mut_ptr().cast(), _mm512_permutex2var_epi16(a, high, b));
                }
            }
        }
    }

    /// Cache line `line` of `row`, zero below the rows there are.
    #[target_feature(enable = "avx512f")]
    fn line(&self, row: usize, line: usize) -> __m512i {
        match self.lines.get(row * self.width + line) {
            // SAFETY: a line is 64 readable bytes.
            Some(line) => unsafe { _mm512_load_si512(line.0.as_ptr().cast()) },
            None => _mm512_setzero_si512(),
        }
    }
}

/// Rounds every `step`th pixel of `columns` values into whole cache lines, padded with zeros.
///
/// # Safety
/// AVX-512 with BF16 is there.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn round(pixels: &[f32], columns: usize, step: usize, lines: &mut [Line]) {
    let width = columns.div_ceil(32);
    for (lines, pixel) in lines.chunks_exact_mut(width).zip(pixels.chunks(columns).step_by(step)) {
        for (line, values) in lines.iter_mut().zip(pixel.chunks(32)) {
            let (low, high) = (mask(values.len()), mask(values.len().saturating_sub(16)));
            let from = values.as_ptr();
            // SAFETY: the masks keep to `values`.
            unsafe {
                let [low, high] =
                    [_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from.wrapping_add(16))];
                _mm512_store_si512(line.0.as_mut_ptr().cast(), round_pair(low, high));
            }
        }
    }
}

/// Matrices no longer in use, to be written over: fresh pages cost more than the work in them.
static SPARE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Spare matrices kept.
const SPARES: usize = 4;

/// Memory for `lines` lines, which holds whatever it held last.
fn take(lines: usize) -> Vec<Line> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let best = (0..spare.len()).filter(|&i| spare[i].len() >= lines).min_by_key(|&i| spare[i].len());
    match best.or_else(|| (0..spare.len()).max_by_key(|&i| spare[i].len())) {
        Some(index) => {
            let mut found = spare.swap_remove(index);
            drop(spare);
            found.resize(lines.max(found.len()), Line([0; 32]));
            found
        }
        None => vec![Line([0; 32]); lines],
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARES {
            spare.push(std::mem::take(&mut self.lines));
        }
    }
}

/// Which items of two rows interleave their first and their last 16.
#[target_feature(enable = "avx512f")]
fn pair_index() -> [__m512i; 2] {
    [0, 16].map(|start| {
        let mut index = [0_u16; 32];
        for i in 0..16 {
            index[2 * i] = start + i as u16;
            index[2 * i + 1] = 32 + start + i as u16;
        }
        // SAFETY: 64 readable bytes.
        unsafe { _mm512_loadu_si512(index.as_ptr().cast()) }
    })
}

/// 32 x 32 sums: at each step rows of `stride` bytes that begin `offset` bytes after `a`, times two tiles of `b`.
///
/// # Safety
/// The tile unit is ready, every load is inside its buffer, and `c` has 32 rows of 32 items.
unsafe fn multiply(a: *const u8, stride: usize, offsets: &[usize], b: *const u16, c: *mut f32) {
    // SAFETY: as demanded of the caller.
    unsafe {
        asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "mov {at}, [{offset}]",
            "add {at}, {a}",
            "tileloadd tmm4, [{at} + {stride}]",
            "tileloadd tmm6, [{b} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {at}, {half}",
            "tileloadd tmm5, [{at} + {stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {b}, 2048",
            "add {offset}, 8",
            "dec {n}",
            "jnz 2b",
            "mov {at}, 128",
            "tilestored [{c} + {at}], tmm0", "tilestored [{c} + {at} + 64], tmm1",
            "tilestored [{c} + {at} + 2048], tmm2", "tilestored [{c} + {at} + 2112], tmm3",
            at = out(reg) _, offset = inout(reg) offsets.as_ptr() => _, a = in(reg) a, stride = in(reg) stride,
            half = in(reg) 16 * stride, b = inout(reg) b => _, line = in(reg) 64_usize,
            n = inout(reg) offsets.len() => _, c = in(reg) c, options(nostack));
    }
}

/// 32 x 32 sums of `steps` times 32 inner values: `a` has a row for each sum's row, `b` one for each pair of inner
/// values, `strides` bytes apart.
///
/// # Safety
/// The tile unit is ready, every load is inside its buffer, and `c` has 32 rows of 32 items.
unsafe fn multiply_turned(a: *const u8, b: *const u8, strides: [usize; 2], steps: usize, c: *mut f32) {
    let [a_stride, b_stride] = strides;
    // SAFETY: as demanded of the caller.
    unsafe {
        asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a} + {a_stride}]",
            "tileloadd tmm6, [{b} + {b_stride}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {b_stride} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{low} + {a_stride}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 64",
            "add {low}, 64",
            "add {b}, {b_step}",
            "dec {n}",
            "jnz 2b",
            "mov {a}, 128",
            "tilestored [{c} + {a}], tmm0", "tilestored [{c} + {a} + 64], tmm1",
            "tilestored [{c} + {a} + 2048], tmm2", "tilestored [{c} + {a} + 2112], tmm3",
            a = inout(reg) a => _, low = inout(reg) a.add(16 * a_stride) => _, a_stride = in(reg) a_stride,
            b = inout(reg) b => _, b_stride = in(reg) b_stride, b_step = in(reg) 16 * b_stride,
            n = inout(reg) steps => _, c = in(reg) c, options(nostack));
    }
}
