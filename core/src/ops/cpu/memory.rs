//! Memory that is written before it is read: to zero a large tensor on one thread takes as long as to fill it on all.

use std::mem::{ManuallyDrop, MaybeUninit};

/// `len` values, none of them written.
pub fn uninit<T: Copy>(len: usize) -> Vec<MaybeUninit<T>> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: the capacity is there, and values that may be unwritten need no writing.
    unsafe { values.set_len(len) };
    values
}

/// # Safety
/// Every value has been written.
pub unsafe fn assume_init<T: Copy>(values: Vec<MaybeUninit<T>>) -> Vec<T> {
    let mut values = ManuallyDrop::new(values);
    // SAFETY: the parts of a vector that nobody else owns; its values are written and laid out as `T`.
    unsafe { Vec::from_raw_parts(values.as_mut_ptr().cast(), values.len(), values.capacity()) }
}

/// Writes `values`, as many as there are items in `to`.
#[inline(always)]
pub fn written<T: Copy>(to: &mut [MaybeUninit<T>], values: impl IntoIterator<Item = T>) -> &mut [T] {
    let mut count = 0;
    for (item, value) in to.iter_mut().zip(values) {
        item.write(value);
        count += 1;
    }
    assert_eq!(count, to.len(), "too few values");
    // SAFETY: as counted.
    unsafe { to.assume_init_mut() }
}
