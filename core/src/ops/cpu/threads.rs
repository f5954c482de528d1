//! Data parallelism: rayon natively, a plain loop in the browser.

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
pub fn for_each_pair<T: Send>(
    a: &mut [T],
    a_len: usize,
    b: &mut [T],
    b_len: usize,
    task: impl Fn(usize, &mut [T], &mut [T]) + Sync + Send,
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

/// A pointer that tasks share; each task writes a part that no other task touches.
#[derive(Clone, Copy)]
pub struct Shared<T>(*mut T);

// SAFETY: every use hands disjoint parts to the tasks, as `Shared::slice` demands.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(data: &mut [T]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// The `len` items from `start`.
    ///
    /// # Safety
    /// The range lies in the slice and no other task touches it meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub fn pointer(&self) -> *mut T {
        self.0
    }
}
