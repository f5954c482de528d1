//! Products whose sums stay in registers: 8 rows of 32, by AVX-512. Both operands are read where they lie, in items of 32
//! bits: an `f32`, or a [`Pair`] of `bf16` that are multiplied and added at once. So nothing is laid out in blocks
//! first, and a row of the left operand can lie anywhere.

use std::mem::MaybeUninit;

/// Rows of sums.
pub const ROWS: usize = 8;
/// Sums of a row.
pub const COLUMNS: usize = 32;

/// The sums of one product.
#[repr(align(64))]
pub struct Sums(pub [[f32; COLUMNS]; ROWS]);

/// One product: at each step an item of every row on the left times a row on the right.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no other processor multiplies"))]
pub struct Product<'a, T> {
    /// Where the rows of the left operand begin.
    pub left: [*const T; ROWS],
    pub right: *const T,
    /// For each run, how many items after `left` and `right` its steps begin.
    pub runs: &'a [[usize; 2]],
    pub steps: usize,
    /// How many items a step advances on the left and on the right.
    pub strides: [usize; 2],
}

/// What is multiplied.
pub trait Item: Copy + Default + Send + Sync + 'static {
    /// Values in an item, neighbours along the inner dimension.
    const INNER: usize;

    /// An item of two values, or of the first where an item holds one.
    fn new(values: [f32; 2]) -> Self;

    /// Writes all items: values one after another, `INNER` an item.
    fn fill(items: &mut [MaybeUninit<Self>], values: &[f32]);

    /// Whether the processor multiplies such items.
    fn able() -> bool;

    /// Adds the product to the first `columns` of each row of sums; the other columns mean nothing afterwards.
    ///
    /// # Safety
    /// The processor is [`able`](Self::able), all items of the left operand are there, and 16 of each row of the right one, or 32
    /// where there are more than 16 columns.
    unsafe fn multiply(product: &Product<Self>, columns: usize, sums: &mut Sums);
}

impl Item for f32 {
    const INNER: usize = 1;

    #[inline(always)]
    fn new([value, _]: [f32; 2]) -> Self {
        value
    }

    fn fill(items: &mut [MaybeUninit<Self>], values: &[f32]) {
        items.write_copy_of_slice(values);
    }

    fn able() -> bool {
        unit::has_values()
    }

    unsafe fn multiply(product: &Product<Self>, columns: usize, sums: &mut Sums) {
        // SAFETY: as demanded of the caller.
        unsafe {
            if columns <= COLUMNS / 2 {
                unit::multiply_values::<1>(product, sums)
            } else {
                unit::multiply_values::<2>(product, sums)
            }
        }
    }
}

/// Two `bf16`, neighbours along the inner dimension, the first in the low half.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Pair(u32);

impl Pair {
    /// The first values of both, and the second ones.
    #[inline(always)]
    pub fn turn(self, other: Self) -> [Self; 2] {
        [Self(self.0 & 0xffff | other.0 << 16), Self(self.0 >> 16 | other.0 & 0xffff_0000)]
    }
}

impl Item for Pair {
    const INNER: usize = 2;

    /// Rounds to the nearest, ties to even.
    #[inline(always)]
    fn new(values: [f32; 2]) -> Self {
        let [first, second] = values.map(|value| {
            let bits = value.to_bits();
            if value.is_nan() { bits >> 16 | 0x40 } else { (bits + 0x7fff + (bits >> 16 & 1)) >> 16 }
        });
        Self(first | second << 16)
    }

    fn fill(items: &mut [MaybeUninit<Self>], values: &[f32]) {
        assert!(Self::able() && values.len() == 2 * items.len());
        // SAFETY: as asserted.
        unsafe { unit::fill_pairs(items, values) }
    }

    fn able() -> bool {
        unit::has_pairs()
    }

    unsafe fn multiply(product: &Product<Self>, columns: usize, sums: &mut Sums) {
        // SAFETY: as demanded of the caller.
        unsafe {
            if columns <= COLUMNS / 2 {
                unit::multiply_pairs::<1>(product, sums)
            } else {
                unit::multiply_pairs::<2>(product, sums)
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod unit {
    use super::{Item, Pair, Product, ROWS, Sums};
    use std::arch::x86_64::*;
    use std::array::from_fn;
    use std::mem::{MaybeUninit, transmute};

    pub fn has_values() -> bool {
        is_x86_feature_detected!("avx512f")
    }

    pub fn has_pairs() -> bool {
        has_values() && is_x86_feature_detected!("avx512bf16")
    }

    /// Defines the product of `$item`s: 16 are an `$operand`, two of which `$multiply_add` multiplies and adds to 16 sums.
    macro_rules! product {
        ($name:ident, $item:ty, $features:literal, $operand:path, $multiply_add:path) => {
            /// # Safety
            /// See [`Item::multiply`].
            #[target_feature(enable = $features)]
            pub unsafe fn $name<const VECTORS: usize>(product: &Product<$item>, sums: &mut Sums) {
                let &Product { left, right, runs, steps, strides } = product;
                // SAFETY: as demanded of the caller; what is transmuted are 512 bits of plain data.
                unsafe {
                    let mut rows: [[__m512; VECTORS]; ROWS] =
                        from_fn(|r| from_fn(|v| _mm512_load_ps(sums.0[r][16 * v..].as_ptr())));
                    for run in runs {
                        let left = left.map(|row| row.add(run[0]).cast::<i32>());
                        let (mut at, mut right) = (0, right.add(run[1]));
                        for _ in 0..steps {
                            let columns: [__m512i; VECTORS] =
                                from_fn(|v| _mm512_loadu_si512(right.add(16 * v).cast()));
                            for (row, left) in rows.iter_mut().zip(left) {
                                let item = _mm512_set1_epi32(*left.add(at));
                                for (sum, column) in row.iter_mut().zip(columns) {
                                    *sum = $multiply_add(*sum, $operand(item), $operand(column));
                                }
                            }
                            at += strides[0];
                            right = right.wrapping_add(strides[1]);
                        }
                    }
                    for (sums, row) in sums.0.iter_mut().zip(rows) {
                        for (v, sum) in row.into_iter().enumerate() {
                            _mm512_store_ps(sums[16 * v..].as_mut_ptr(), sum);
                        }
                    }
                }
            }
        };
    }

    product!(multiply_values, f32, "avx512f", _mm512_castsi512_ps, add_values);
    product!(multiply_pairs, Pair, "avx512f,avx512bf16", transmute::<__m512i, __m512bh>, _mm512_dpbf16_ps);

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add_values(sum: __m512, item: __m512, column: __m512) -> __m512 {
        _mm512_fmadd_ps(item, column, sum)
    }

    /// # Safety
    /// AVX-512 with BF16 is there, and twice as many values as items.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub unsafe fn fill_pairs(items: &mut [MaybeUninit<Pair>], values: &[f32]) {
        let (vectors, tail) = items.as_chunks_mut::<16>();
        let (whole, rest) = values.as_chunks::<32>();
        for (vector, values) in vectors.iter_mut().zip(whole) {
            // SAFETY: 32 values and 16 items.
            unsafe {
                let [low, high] = [0, 16].map(|half| _mm512_loadu_ps(values[half..].as_ptr()));
                let pairs = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(vector.as_mut_ptr().cast(), pairs);
            }
        }
        for (item, values) in tail.iter_mut().zip(rest.as_chunks().0) {
            item.write(Pair::new(*values));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod unit {
    use super::{Pair, Product, Sums};
    use std::mem::MaybeUninit;

    pub fn has_values() -> bool {
        false
    }

    pub fn has_pairs() -> bool {
        false
    }

    pub unsafe fn multiply_values<const VECTORS: usize>(_: &Product<f32>, _: &mut Sums) {
        unreachable!("guarded by able()")
    }

    pub unsafe fn multiply_pairs<const VECTORS: usize>(_: &Product<Pair>, _: &mut Sums) {
        unreachable!("guarded by able()")
    }

    pub unsafe fn fill_pairs(_: &mut [MaybeUninit<Pair>], _: &[f32]) {
        unreachable!("guarded by able()")
    }
}
