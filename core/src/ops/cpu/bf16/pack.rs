//! Operands of products, rounded to `bf16` and laid out as tiles.

use std::arch::x86_64::*;
use std::cell::RefCell;

/// Items (`u16`) of one tile.
pub const TILE: usize = 512;

/// Cache-line-aligned scratch memory for packed tiles.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct Line(pub [u16; 32]);

/// Lends `body` memory for `tiles` tiles, which holds whatever it held last.
pub fn with_scratch<R>(tiles: usize, body: impl FnOnce(&mut [u16]) -> R) -> R {
    // A stack, since a task can run while another one waits on the same thread.
    thread_local!(static SCRATCH: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) });
    let mut lines = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if lines.len() < tiles * TILE / 32 {
        lines.resize(tiles * TILE / 32, Line([0; 32]));
    }
    // SAFETY: a Line is 32 u16 without padding.
    let items = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 32) };
    let result = body(items);
    SCRATCH.with_borrow_mut(|stack| stack.push(lines));
    result
}

/// Which tile layout a packed operand has.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    /// 16 rows (outer) x 32 inner values.
    Left,
    /// 16 inner pairs x 16 columns (outer).
    Right,
}

/// An operand seen from the product: `outer` is the row of the left or the column of the right matrix.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    pub data: &'a [f32],
    pub outer: usize,
    pub inner: usize,
    pub outer_stride: usize,
    pub inner_stride: usize,
}

impl Operand<'_> {
    /// Packs outer `o0..o0+32`, inner `k0..k0+k` as (inner / 32) x 2 tiles; outside is zero.
    ///
    /// # Safety
    /// AVX-512 with BF16 is there and `out` holds the tiles.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub unsafe fn pack_panel(&self, side: Side, o0: usize, k0: usize, k: usize, out: &mut [u16]) {
        let steps = k.div_ceil(32);
        debug_assert!(out.len() >= steps * 2 * TILE);
        for step in 0..steps {
            for half in 0..2 {
                let o = o0 + half * 16;
                let tile = &mut out[(step * 2 + half) * TILE..][..TILE];
                let outer = self.outer.saturating_sub(o).min(16);
                let kk = k0 + step * 32;
                let inner = (k0 + k).min(self.inner).saturating_sub(kk).min(32);
                // SAFETY: at most `outer` x `inner` items are read, all inside the matrix.
                unsafe { self.pack_tile(side, o, kk, outer, inner, tile.as_mut_ptr()) };
            }
        }
    }

    /// # Safety
    /// AVX-512 with BF16 is there, the matrix has `outer` x `inner` items from there on, and `out` holds a tile, aligned to 64
    /// bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack_tile(&self, side: Side, o: usize, k: usize, outer: usize, inner: usize, out: *mut u16) {
        // SAFETY: the masks keep the loads inside the matrix, and `out` holds what is stored.
        unsafe {
            let mut rows = [_mm512_setzero_si512(); 16];
            let native = if self.inner_stride == 1 {
                let low = mask(inner);
                let high = mask(inner.saturating_sub(16));
                for (r, row) in rows.iter_mut().enumerate().take(outer) {
                    let from = self.data.as_ptr().add((o + r) * self.outer_stride + k);
                    let a = _mm512_maskz_loadu_ps(low, from);
                    let b = _mm512_maskz_loadu_ps(high, from.wrapping_add(16));
                    *row = round_pair(a, b);
                }
                Side::Left
            } else {
                let wanted = mask(outer);
                let interleave = interleave_index();
                for (r, row) in rows.iter_mut().enumerate().take(inner.div_ceil(2)) {
                    let from = self.data.as_ptr().wrapping_add((k + 2 * r) * self.inner_stride + o);
                    let a = _mm512_maskz_loadu_ps(wanted, from);
                    let second = if 2 * r + 1 < inner { wanted } else { 0 };
                    let b = _mm512_maskz_loadu_ps(second, from.wrapping_add(self.inner_stride));
                    *row = _mm512_permutexvar_epi16(interleave, round_pair(a, b));
                }
                Side::Right
            };
            if native != side {
                transpose(&mut rows);
            }
            for (r, row) in rows.iter().enumerate() {
                _mm512_store_si512(out.add(r * 32).cast(), *row);
            }
        }
    }
}

pub fn mask(items: usize) -> __mmask16 {
    if items >= 16 { u16::MAX } else { (1 << items) - 1 }
}

/// 32 `bf16`: `a` in the low half, `b` in the high half.
#[target_feature(enable = "avx512f,avx512bf16")]
pub fn round_pair(a: __m512, b: __m512) -> __m512i {
    // SAFETY: both are 512 bits of plain data.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(b, a)) }
}

/// Puts the items of the low and the high half side by side.
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave_index() -> __m512i {
    let mut index = [0_u16; 32];
    for i in 0..16 {
        index[2 * i] = i as u16;
        index[2 * i + 1] = 16 + i as u16;
    }
    // SAFETY: 64 readable bytes.
    unsafe { _mm512_loadu_si512(index.as_ptr().cast()) }
}

/// Transposes 16 x 16 items of 32 bits (pairs of `bf16`).
#[target_feature(enable = "avx512f")]
pub fn transpose(rows: &mut [__m512i; 16]) {
    let mut t = [_mm512_setzero_si512(); 16];
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    let mut u = [_mm512_setzero_si512(); 16];
    for i in 0..4 {
        u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    // u[4 g + c] holds, in 128-bit lane l, column 4 l + c of rows 4 g .. 4 g + 4.
    for c in 0..4 {
        let low = _mm512_shuffle_i32x4::<0x88>(u[c], u[4 + c]);
        let low2 = _mm512_shuffle_i32x4::<0x88>(u[8 + c], u[12 + c]);
        let high = _mm512_shuffle_i32x4::<0xdd>(u[c], u[4 + c]);
        let high2 = _mm512_shuffle_i32x4::<0xdd>(u[8 + c], u[12 + c]);
        rows[c] = _mm512_shuffle_i32x4::<0x88>(low, low2);
        rows[8 + c] = _mm512_shuffle_i32x4::<0xdd>(low, low2);
        rows[4 + c] = _mm512_shuffle_i32x4::<0x88>(high, high2);
        rows[12 + c] = _mm512_shuffle_i32x4::<0xdd>(high, high2);
    }
}
