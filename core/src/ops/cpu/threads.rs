//! Data parallelism: rayon natively, a plain loop in the browser.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Runs `task(0..tasks)`, in parallel where threads exist.
pub fn for_each(tasks: usize, task: impl Fn(usize) + Sync + Send) {
    #[cfg(not(target_family = "wasm"))]
    {
        use rayon::prelude::*;
        if tasks > 1 {
            return (0..tasks).into_par_iter().for_each(task);
        }
    }
    (0..tasks).for_each(task);
}

/// Runs `task(index, chunk)` over `data` cut into chunks of `len` items.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync + Send) {
    #[cfg(not(target_family = "wasm"))]
    {
        use rayon::prelude::*;
        if data.len() > len {
            return data.par_chunks_mut(len).enumerate().for_each(|(i, chunk)| task(i, chunk));
        }
    }
    data.chunks_mut(len).enumerate().for_each(|(i, chunk)| task(i, chunk));
}

/// Runs `task(index, chunk of a, chunk of b)` over two slices cut into equally many chunks.
pub fn for_each_pair<A: Send, B: Send>(
    a: &mut [A],
    a_len: usize,
    b: &mut [B],
    b_len: usize,
    task: impl Fn(usize, &mut [A], &mut [B]) + Sync + Send,
) {
    #[cfg(not(target_family = "wasm"))]
    {
        use rayon::prelude::*;
        if a.len() > a_len {
            let pairs = a.par_chunks_mut(a_len).zip(b.par_chunks_mut(b_len));
            return pairs.enumerate().for_each(|(i, (a, b))| task(i, a, b));
        }
    }
    a.chunks_mut(a_len).zip(b.chunks_mut(b_len)).enumerate().for_each(|(i, (a, b))| task(i, a, b));
}

/// How many tasks run at once.
pub fn count() -> usize {
    #[cfg(not(target_family = "wasm"))]
    return rayon::current_num_threads();
    #[cfg(target_family = "wasm")]
    1
}

/// How many of `rows` rows one task takes: some tasks for each thread, none of them tiny.
pub fn rows_per_task(rows: usize, width: usize) -> usize {
    rows.div_ceil(4 * count()).max(4096 / width.max(1)).max(1)
}

/// A slice that tasks share; each writes a part that no other task touches.
pub struct Shared<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

// SAFETY: every use hands disjoint parts to the tasks, as `Shared::slice` and `Shared::at` demand.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T: Copy> Shared<'a, T> {
    /// The same slice for code that only ever writes it, or reads it where it knows that it is written. It must not be left
    /// unwritten again.
    pub fn maybe_uninit(self) -> Shared<'a, MaybeUninit<T>> {
        Shared { first: self.first.cast(), len: self.len, slice: PhantomData }
    }
}

impl<'a, T> Shared<'a, T> {
    pub fn new(data: &'a mut [T]) -> Self {
        Self { first: data.as_mut_ptr(), len: data.len(), slice: PhantomData }
    }

    /// The `len` items from `start`.
    ///
    /// # Safety
    /// No one else touches them as long as the slice is in use.
    ///
    /// # Panics
    /// Where the range does not lie in the slice.
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a part beyond the end of a shared slice");
        // SAFETY: the range lies in the slice, which is borrowed for 'a, and nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(start), len) }
    }

    /// The items from `start` on.
    ///
    /// # Panics
    /// Where the slice is shorter.
    pub fn after(&self, start: usize) -> Self {
        Self { first: self.at(start), len: self.len - start, slice: PhantomData }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the items from `start` on. To use it is as unsafe as [`Self::slice`].
    pub fn at(&self, start: usize) -> *mut T {
        assert!(start <= self.len, "a part beyond the end of a shared slice");
        // SAFETY: inside the slice, or just behind it.
        unsafe { self.first.add(start) }
    }
}
