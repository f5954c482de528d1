//! Files mapped into memory.

use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::path::Path;

/// A mapped file, which can be told that some of its pages are not needed for now.
#[derive(Clone)]
pub struct Mapped(#[cfg(not(target_family = "wasm"))] std::sync::Arc<memmap2::Mmap>);

impl Mapped {
    /// Lets go of the memory that holds `bytes`, where they lie in this file. They are read again from the disk when
    /// somebody looks at them.
    ///
    /// Without it, whoever reads a model once from end to end has all of it in memory at the end.
    pub fn release(&self, bytes: &[u8]) {
        #[cfg(unix)]
        {
            let (start, wanted) = (self.0.as_ptr() as usize, bytes.as_ptr() as usize);
            let Some(offset) = wanted.checked_sub(start) else { return };
            if bytes.is_empty() || offset + bytes.len() > self.0.len() {
                return;
            }
            // SAFETY: the mapping is shared, of a file, and only read, so its pages come back with the same bytes. A failure
            // leaves them where they are.
            let _ = unsafe {
                self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes.len())
            };
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }
}

/// The bytes of a file: mapped, or read where there is no mapping.
pub fn map(path: &Path) -> Result<(Bytes, Option<Mapped>)> {
    let unreadable = |e| {
        Error::new(ErrorKind::Io, path.display(), format!("cannot open the weights: {e}"))
            .fix("check the path and its permissions")
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::new(
            ErrorKind::Weights,
            path.display(),
            "not a file, but a device, pipe or folder",
        )
        .fix("name a file of weights"));
    }
    #[cfg(not(target_family = "wasm"))]
    {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // SAFETY: the mapping is only read. Its bytes are any bytes, and every reader checks what it finds; should another
        // process change the file in place, which `open` forbids, a reader sees other values, or the process ends
        // where the file was cut.
        let mapped = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
        let mapped = std::sync::Arc::new(mapped);
        Ok((Bytes::from_owner(Shared(mapped.clone())), Some(Mapped(mapped))))
    }
    #[cfg(target_family = "wasm")]
    std::fs::read(path).map(|bytes| (Bytes::from(bytes), None)).map_err(unreadable)
}

/// What keeps a file mapped as long as somebody has its bytes.
#[cfg(not(target_family = "wasm"))]
struct Shared(std::sync::Arc<memmap2::Mmap>);

#[cfg(not(target_family = "wasm"))]
impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
