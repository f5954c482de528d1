//! Products of matrices of `f32` that are rounded to `bf16`.

use super::pack::{Operand, Side, TILE, with_scratch};
use super::unit::{Unit, multiply, with_unit};
use crate::ops::cpu::matrix::Mat;
use crate::ops::cpu::threads::{self, Shared};
use std::mem::MaybeUninit;

/// Inner values per packed block: a 32-wide panel of it is 64 KiB.
pub const INNER_BLOCK: usize = 1024;

/// [`multiply`] where only `rows` x `cols` of the sums exist in `c`.
///
/// # Safety
/// As there, with `rows` x `cols` items of `c`, which are read only to accumulate.
pub unsafe fn multiply_edge(
    unit: Unit,
    [a, b]: [*const u16; 2],
    steps: usize,
    c: *mut f32,
    stride: usize,
    accumulate: bool,
    [rows, cols]: [usize; 2],
) {
    let mut sums = [[0.0_f32; 32]; 32];
    // SAFETY: as demanded of the caller; `sums` has room for all.
    unsafe {
        multiply(unit, [a, b], rows, steps, sums.as_mut_ptr().cast(), 32, false);
        for (r, sum) in sums.iter().enumerate().take(rows) {
            for (column, from) in sum.iter().enumerate().take(cols) {
                let to = c.add(r * stride + column);
                *to = if accumulate { *to + from } else { *from };
            }
        }
    }
}

/// `c = a b` or `c += a b`, rows of `c` being `stride` items apart; see [`crate::ops::cpu::matmul`].
///
/// # Safety
/// The processor multiplies `bf16`, see [`available`](super::available). `c` has room for the product, and is written where
/// the product is added.
pub unsafe fn matmul(
    a: Mat,
    b: Mat,
    c: Shared<MaybeUninit<f32>>,
    stride: usize,
    accumulate: bool,
    parallel: bool,
) {
    assert!(a.col_stride == 1 || a.row_stride == 1);
    assert!(b.col_stride == 1 || b.row_stride == 1);
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let left =
        Operand { data: a.data, outer: m, inner: k, outer_stride: a.row_stride, inner_stride: a.col_stride };
    let right =
        Operand { data: b.data, outer: n, inner: k, outer_stride: b.col_stride, inner_stride: b.row_stride };
    let panels = n.div_ceil(32);
    let steps = k.div_ceil(32).max(1);
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
                                    let c = c.at(r * stride + p * 32).cast();
                                    if rows == 32 && cols == 32 {
                                        multiply(unit, [a, b], 32, ks, c, stride, add);
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
