//! Memory that is written before it is read.

/// Memory for `len` values, not zeroed: zeroing a large tensor on one thread costs as much as filling it on all.
///
/// # Safety
/// Every value is written before it is read, and every bit pattern is one.
#[allow(clippy::uninit_vec)]
pub unsafe fn unwritten<T: Copy>(len: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: as demanded of the caller.
    unsafe { values.set_len(len) };
    values
}
