//! `bf16` matrix products with `f32` sums: on Intel's AMX tile unit (Sapphire Rapids and later), else with the dot
//! products of AVX-512 BF16 (Zen 4, Cooper Lake and later).
//!
//! A tile is 16 rows of 64 bytes. The left operand's tiles hold 16 rows x 32 inner values; the right
//! operand's hold 16 pairs of inner values x 16 columns (Intel's manual calls this VNNI layout; it is also what a dot
//! product with one broadcast pair wants). Both are packed once, in blocks that stay in the second-level cache, and
//! 2 x 2 tiles of sums are kept in registers, a quarter of their rows at a time where registers are vectors.

use super::matmul::{Mat, MatMut};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub fn available() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub fn has_tile_unit() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub fn matmul(_: Mat, _: Mat, _: MatMut, _: bool, _: bool) {
    unreachable!("guarded by available()")
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use rows::Rows;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use tiles::{available, has_tile_unit, matmul};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use absent::Rows;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent {
    use crate::ops::cpu::planes::Pixels;
    use std::convert::Infallible;
    use std::ops::Range;

    /// Never made, as there are no `bf16` products.
    pub struct Rows(Infallible);

    impl Rows {
        pub fn fill<'a>(
            _: usize,
            _: usize,
            _: usize,
            _: usize,
            _: impl Fn(usize) -> Option<Pixels<'a>> + Sync + Send,
        ) -> Self {
            unreachable!("guarded by available()")
        }

        pub fn correlate(
            &self,
            _: usize,
            _: &[usize],
            _: &[f32],
            _: usize,
            _: &(impl Fn(usize, Range<usize>, &[f32]) + Sync),
        ) {
            match self.0 {}
        }

        pub fn outer(&self, _: usize, _: &[usize], _: usize, _: &Self, _: usize) -> Vec<f32> {
            match self.0 {}
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "bf16_rows.rs"]
mod rows;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod tiles {
    use super::{Mat, MatMut};
    use crate::ops::cpu::threads::{self, Shared};
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::cell::RefCell;
    use std::sync::OnceLock;

    /// Items (`u16`) of one tile.
    pub const TILE: usize = 512;
    /// Inner values per packed block: a 32-wide panel of it is 64 KiB.
    const INNER_BLOCK: usize = 1024;

    /// Whether the processor multiplies `bf16`.
    pub fn available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    }

    /// Whether processor and kernel offer AMX with `bf16`, asked for once.
    pub fn has_tile_unit() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            let leaf = __cpuid_count(7, 0);
            let (amx_bf16, amx_tile) = (leaf.edx >> 22 & 1, leaf.edx >> 24 & 1);
            amx_bf16 == 1 && amx_tile == 1 && allow_tiles()
        })
    }

    /// Asks Linux for the tile state (arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA); holds for the process.
    fn allow_tiles() -> bool {
        let result: i64;
        // SAFETY: a system call that changes nothing but this process's permission.
        unsafe {
            asm!("syscall", inlateout("rax") 158_i64 => result, in("rdi") 0x1023_i64, in("rsi") 18_i64,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result == 0
    }

    /// Cache-line-aligned scratch memory for packed tiles.
    #[repr(C, align(64))]
    #[derive(Clone, Copy)]
    pub struct Line(pub [u16; 32]);

    /// Lends `body` memory for `tiles` tiles, with what was last in it.
    pub fn with_scratch<R>(tiles: usize, body: impl FnOnce(&mut [u16]) -> R) -> R {
        // A stack, as a task can run inside another one's wait on the same thread.
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

    #[repr(C, align(64))]
    struct TileConfig {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    static CONFIG: TileConfig = TileConfig {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    /// What sums up products.
    #[derive(Clone, Copy, PartialEq)]
    pub enum Unit {
        /// AMX, all eight tiles configured as 16 x 64 bytes.
        Tiles,
        /// AVX-512 BF16.
        Vectors,
    }

    /// Runs `body` with the unit there is, made ready.
    pub fn with_unit<R>(body: impl FnOnce(Unit) -> R) -> R {
        if !has_tile_unit() {
            return body(Unit::Vectors);
        }
        // SAFETY: the tile unit is there and the configuration is valid.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIG, options(nostack)) };
        let result = body(Unit::Tiles);
        // SAFETY: as above.
        unsafe { asm!("tilerelease", options(nostack)) };
        result
    }

    /// 32 x 32 sums of `steps` times 32 inner values by dot products: `at` says where the rows of the left and the pairs
    /// of the right operand begin at a step, `strides` how many bytes they lie apart, `half` how many bytes the right
    /// operand's second 16 columns lie after the first.
    ///
    /// # Safety
    /// AVX-512 with BF16 is there, every load is inside its buffer, and `c` has 32 rows of 32 items, `c_stride` apart.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn multiply_vectors(
        steps: usize,
        at: impl Fn(usize) -> [*const u8; 2],
        [a_stride, b_stride]: [usize; 2],
        half: usize,
        (c, c_stride): (*mut f32, usize),
        accumulate: bool,
    ) {
        /// Rows whose sums are in registers at once.
        const ROWS: usize = 8;
        // SAFETY: as demanded of the caller; 512 bits of plain data for the transmutes.
        unsafe {
            for first in (0..32).step_by(ROWS) {
                let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
                if accumulate {
                    for (r, [left, right]) in sums.iter_mut().enumerate() {
                        let from = c.add((first + r) * c_stride);
                        (*left, *right) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
                    }
                }
                for step in 0..steps {
                    let [a, b] = at(step);
                    let a = a.add(first * a_stride);
                    for pair in 0..16 {
                        let from = b.add(pair * b_stride);
                        let columns = [from, from.add(half)].map(|from| {
                            std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast()))
                        });
                        for (r, [left, right]) in sums.iter_mut().enumerate() {
                            let values = a.add(r * a_stride + pair * 4).cast::<i32>().read_unaligned();
                            let values = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(values));
                            *left = _mm512_dpbf16_ps(*left, values, columns[0]);
                            *right = _mm512_dpbf16_ps(*right, values, columns[1]);
                        }
                    }
                }
                for (r, [left, right]) in sums.iter().enumerate() {
                    let to = c.add((first + r) * c_stride);
                    _mm512_storeu_ps(to, *left);
                    _mm512_storeu_ps(to.add(16), *right);
                }
            }
        }
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

        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        unsafe fn pack_tile(
            &self,
            side: Side,
            o: usize,
            k: usize,
            outer: usize,
            inner: usize,
            out: *mut u16,
        ) {
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

    /// 32 x 32 sums from `steps` pairs of packed tiles; `c` rows are `stride` items apart.
    ///
    /// # Safety
    /// `unit` is ready; `a` and `b` hold `steps` x 2 tiles; `c` has 32 rows of 32 items.
    unsafe fn multiply(
        unit: Unit,
        a: *const u16,
        b: *const u16,
        steps: usize,
        c: *mut f32,
        stride: usize,
        accumulate: bool,
    ) {
        if unit == Unit::Vectors {
            let at = |step: usize| [a, b].map(|tiles| tiles.wrapping_add(step * 2 * TILE).cast());
            // SAFETY: as demanded of the caller.
            return unsafe { multiply_vectors(steps, at, [64; 2], 2 * TILE, (c, stride), accumulate) };
        }
        unsafe {
            let bytes = stride * 4;
            let (c1, c2) = (c.add(16), c.add(16 * stride));
            let c3 = c2.add(16);
            if accumulate {
                asm!("tileloadd tmm0, [{c0} + {s}]", "tileloadd tmm1, [{c1} + {s}]",
                    "tileloadd tmm2, [{c2} + {s}]", "tileloadd tmm3, [{c3} + {s}]",
                    c0 = in(reg) c, c1 = in(reg) c1, c2 = in(reg) c2, c3 = in(reg) c3, s = in(reg) bytes,
                    options(nostack, readonly));
            } else {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    options(nostack, nomem)
                );
            }
            asm!(
                "2:",
                "tileloadd tmm4, [{a} + {s}]",
                "tileloadd tmm6, [{b} + {s}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {s} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {s} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {n}",
                "jnz 2b",
                a = inout(reg) a => _, b = inout(reg) b => _, n = inout(reg) steps => _, s = in(reg) 64_usize,
                options(nostack, readonly));
            asm!("tilestored [{c0} + {s}], tmm0", "tilestored [{c1} + {s}], tmm1",
                "tilestored [{c2} + {s}], tmm2", "tilestored [{c3} + {s}], tmm3",
                c0 = in(reg) c, c1 = in(reg) c1, c2 = in(reg) c2, c3 = in(reg) c3, s = in(reg) bytes,
                options(nostack));
        }
    }

    /// [`multiply`] where only `rows` x `cols` of the sums exist in `c`.
    ///
    /// # Safety
    /// As there, with `rows` x `cols` items of `c`.
    unsafe fn multiply_edge(
        unit: Unit,
        [a, b]: [*const u16; 2],
        steps: usize,
        c: *mut f32,
        stride: usize,
        accumulate: bool,
        [rows, cols]: [usize; 2],
    ) {
        let mut sums = [[0.0_f32; 32]; 32];
        unsafe {
            multiply(unit, a, b, steps, sums.as_mut_ptr().cast(), 32, false);
            for (r, sum) in sums.iter().enumerate().take(rows) {
                let row = std::slice::from_raw_parts_mut(c.add(r * stride), cols);
                for (to, from) in row.iter_mut().zip(sum) {
                    *to = if accumulate { *to + from } else { *from };
                }
            }
        }
    }

    /// `c = a b` or `c += a b`, see [`super::super::matmul`].
    pub fn matmul(a: Mat, b: Mat, c: MatMut, accumulate: bool, parallel: bool) {
        assert!(a.col_stride == 1 || a.row_stride == 1);
        assert!(b.col_stride == 1 || b.row_stride == 1);
        let (m, n, k) = (a.rows, b.cols, a.cols);
        let left = Operand {
            data: a.data,
            outer: m,
            inner: k,
            outer_stride: a.row_stride,
            inner_stride: a.col_stride,
        };
        let right = Operand {
            data: b.data,
            outer: n,
            inner: k,
            outer_stride: b.col_stride,
            inner_stride: b.row_stride,
        };
        let panels = n.div_ceil(32);
        let steps = k.div_ceil(32).max(1);
        let stride = c.row_stride;
        let out = Shared::new(c.data);
        let run = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
            if parallel { threads::for_each(tasks, task) } else { (0..tasks).for_each(task) }
        };
        // Rows per task: long enough to reuse a panel, short enough to feed every thread.
        let share = if parallel { m.div_ceil(threads::count()) } else { m };
        let block = share.clamp(32, 128).next_multiple_of(32);
        with_scratch(panels * steps * 2, |packed| {
            let shared = Shared::new(packed);
            let panel_items = steps * 2 * TILE;
            run(panels, &|p| {
                // SAFETY: panel `p` is this task's own; AVX-512 is there, see `available`.
                unsafe {
                    right.pack_panel(Side::Right, p * 32, 0, k, shared.slice(p * panel_items, panel_items))
                };
            });
            let packed = &*packed;
            run(m.div_ceil(block), &|i| {
                let r0 = i * block;
                let groups = (m - r0).min(block).div_ceil(32);
                let inner_block = INNER_BLOCK.min(steps * 32);
                with_scratch(groups * inner_block / 32 * 2, |mine| {
                    for k0 in (0..k.max(1)).step_by(inner_block) {
                        let kb = (k - k0).min(inner_block);
                        let ks = kb.div_ceil(32).max(1);
                        let group_items = ks * 2 * TILE;
                        for g in 0..groups {
                            let to = &mut mine[g * group_items..][..group_items];
                            // SAFETY: AVX-512 is there, see `available`.
                            unsafe { left.pack_panel(Side::Left, r0 + g * 32, k0, kb, to) };
                        }
                        let add = accumulate || k0 > 0;
                        with_unit(|unit| {
                            for p in 0..panels {
                                let b = packed[p * panel_items + k0 / 32 * 2 * TILE..].as_ptr();
                                let cols = (n - p * 32).min(32);
                                for g in 0..groups {
                                    let r = r0 + g * 32;
                                    let rows = (m - r).min(32);
                                    let a = mine[g * group_items..].as_ptr();
                                    // SAFETY: rows r .. r + rows belong to this task; sizes as packed.
                                    unsafe {
                                        let c = out.pointer().add(r * stride + p * 32);
                                        if rows == 32 && cols == 32 {
                                            multiply(unit, a, b, ks, c, stride, add);
                                        } else {
                                            multiply_edge(unit, [a, b], ks, c, stride, add, [rows, cols]);
                                        }
                                    }
                                }
                            }
                        });
                    }
                });
            });
        });
    }
}
