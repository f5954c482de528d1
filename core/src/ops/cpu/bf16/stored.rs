//! Products of rows with a matrix that stays as it is stored: a task rounds a panel of 32 outputs at a time to `bf16`.

use super::matmul::{INNER_BLOCK, multiply_edge};
use super::pack::{Operand, Side, TILE, mask, round_pair, transpose, with_scratch};
use super::unit::{multiply, with_unit};
use crate::ops::cpu::matrix::Mat;
use crate::ops::cpu::stored::{Format, Matrix};
use crate::ops::cpu::threads::{self, Shared};
use crate::quantized::BlockFormat;
use half::f16;
use std::arch::x86_64::*;

/// `c += a wᵀ` on all threads, `c` row after row.
///
/// # Safety
/// The processor multiplies `bf16`, see [`available`](super::available).
pub unsafe fn matmul_stored(a: Mat, weight: &Matrix, c: Shared<f32>) {
    let (m, n, k) = (a.rows, weight.outputs(), weight.inputs);
    assert!(a.cols == k && a.col_stride == 1 && c.len() == m * n);
    let left = Operand { data: a.data, outer: m, inner: k, outer_stride: a.row_stride, inner_stride: 1 };
    let (groups, steps) = (m.div_ceil(32), k.div_ceil(32));
    let group_items = steps * 2 * TILE;
    with_scratch(groups * steps * 2, |packed| {
        let shared = Shared::new(packed);
        threads::for_each(groups, |g| {
            // SAFETY: group `g` is this task's own; AVX-512 is there, as demanded of the caller.
            unsafe { left.pack_panel(Side::Left, g * 32, 0, k, shared.slice(g * group_items, group_items)) };
        });
        let packed = &*packed;
        threads::for_each(n.div_ceil(32), |p| {
            let cols = (n - p * 32).min(32);
            with_scratch(INNER_BLOCK.min(steps * 32) / 32 * 2, |panel| {
                for k0 in (0..k).step_by(INNER_BLOCK) {
                    let kb = (k - k0).min(INNER_BLOCK);
                    let ks = kb.div_ceil(32);
                    // SAFETY: AVX-512 is there, and the panel has room for `ks` steps.
                    unsafe { pack_panel(weight, p * 32, k0, kb, panel) };
                    with_unit(|unit| {
                        for g in 0..groups {
                            let rows = (m - g * 32).min(32);
                            let a = packed[g * group_items + k0 / 32 * 2 * TILE..].as_ptr();
                            // SAFETY: the columns of this panel belong to this task; sizes as packed.
                            unsafe {
                                let c = c.at(g * 32 * n + p * 32);
                                if rows == 32 && cols == 32 {
                                    multiply(unit, [a, panel.as_ptr()], 32, ks, c, n, true);
                                } else {
                                    multiply_edge(unit, [a, panel.as_ptr()], ks, c, n, true, [rows, cols]);
                                }
                            }
                        }
                    });
                }
            });
        });
    });
}

/// Packs outputs `o0..o0 + 32`, inputs `k0..k0 + k`, as (k / 32) x 2 tiles of the right operand; outside is zero.
///
/// # Safety
/// AVX-512 with BF16 is there and `out` holds the tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_panel(weight: &Matrix, o0: usize, k0: usize, k: usize, out: &mut [u16]) {
    let format = weight.format;
    if !matches!(format, Format::F16 | Format::Bf16 | Format::Blocks(BlockFormat::Q8_0 | BlockFormat::Q4_0)) {
        // SAFETY: as demanded of the caller.
        return unsafe { pack_values(weight, o0, k0, k, out) };
    }
    for half in 0..2 {
        let o = o0 + half * 16;
        let outer = weight.outputs().saturating_sub(o).min(16);
        let mut sources = [std::ptr::null::<u8>(); 16];
        for (r, source) in sources.iter_mut().enumerate().take(outer) {
            *source = weight.bytes(o + r, k0..k0 + k).as_ptr();
        }
        for step in 0..k.div_ceil(32) {
            let inner = (k - step * 32).min(32);
            let mut rows = [_mm512_setzero_si512(); 16];
            // SAFETY: a row has `inner` more values there; the tile is inside `out` and aligned to 64 bytes.
            unsafe {
                for (values, source) in rows.iter_mut().zip(sources).take(outer) {
                    *values = row(format, source.add(format.bytes(step * 32)), inner);
                }
                transpose(&mut rows);
                let tile = out[(step * 2 + half) * TILE..][..TILE].as_mut_ptr();
                for (r, values) in rows.iter().enumerate() {
                    _mm512_store_si512(tile.add(r * 32).cast(), *values);
                }
            }
        }
    }
}

/// [`pack_panel`] by way of `f32`.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_values(weight: &Matrix, o0: usize, k0: usize, k: usize, out: &mut [u16]) {
    let outputs = weight.outputs().saturating_sub(o0).min(32);
    let mut values = vec![0.0; outputs * k];
    weight.unpack(o0..o0 + outputs, k0..k0 + k, &mut values);
    let operand = Operand { data: &values, outer: outputs, inner: k, outer_stride: k, inner_stride: 1 };
    // SAFETY: as demanded of the caller.
    unsafe { operand.pack_panel(Side::Right, 0, 0, k, out) };
}

/// `inner` values of a row, at most 32, as `bf16`; zeros after them.
///
/// # Safety
/// AVX-512 with BF16 is there, and `inner` values in this format, a whole block where they are in blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn row(format: Format, from: *const u8, inner: usize) -> __m512i {
    // SAFETY: the masks keep to the values that are there; a block has two bytes of scale, and 32 or 16 bytes of steps.
    unsafe {
        match format {
            Format::Bf16 => {
                let mask = if inner >= 32 { u32::MAX } else { (1 << inner) - 1 };
                _mm512_maskz_loadu_epi16(mask, from.cast())
            }
            Format::F16 => {
                let [low, high] = [0, 16].map(|skip| {
                    let mask = mask(inner.saturating_sub(skip));
                    _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from.wrapping_add(2 * skip).cast()))
                });
                round_pair(low, high)
            }
            Format::Blocks(BlockFormat::Q8_0) => {
                let [low, high] =
                    [2, 18].map(|at| _mm512_cvtepi8_epi32(_mm_loadu_si128(from.add(at).cast())));
                scaled(from, low, high)
            }
            _ => {
                let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.add(2).cast()));
                let zero = _mm512_set1_epi32(8);
                let low = _mm512_sub_epi32(_mm512_and_si512(bytes, _mm512_set1_epi32(15)), zero);
                let high = _mm512_sub_epi32(_mm512_srli_epi32::<4>(bytes), zero);
                scaled(from, low, high)
            }
        }
    }
}

/// Whole numbers of steps times the scale with which a block begins.
///
/// # Safety
/// AVX-512 with BF16 is there, and two bytes at `block`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn scaled(block: *const u8, low: __m512i, high: __m512i) -> __m512i {
    // SAFETY: as demanded of the caller.
    let scale = f16::from_bits(unsafe { block.cast::<u16>().read_unaligned() });
    let scale = _mm512_set1_ps(scale.to_f32());
    let [low, high] = [low, high].map(|steps| _mm512_mul_ps(_mm512_cvtepi32_ps(steps), scale));
    round_pair(low, high)
}
