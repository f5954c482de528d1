//! Files that are either the old version or the new one, never half of it.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Replaces `path` with what `write` produces: writes `path.part` aside, syncs it to disk, renames it into
/// place and syncs the folder, so that a crash or a full disk leaves the old file or the new one, whole.
///
/// # Errors
/// `Io` for whatever `write` or the file system reports, with the bytes that had reached the file and the remedy; the
/// part is removed and a previous `path` keeps its content.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let part = part_of(path);
    let mut bytes = 0;
    fill(&part, &mut bytes, write).and_then(|()| fs::rename(&part, path)).map_err(|error| {
        // The part may never have come to be; the first error is the one to report.
        let _ = fs::remove_file(&part);
        explain(path, bytes, &error)
    })?;
    sync_folder(path);
    Ok(())
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn fill(
    part: &Path,
    bytes: &mut u64,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, Counted { file: File::create(part)?, bytes });
    write(&mut out)?;
    out.flush()?;
    out.get_ref().file.sync_all()
}

/// Makes the rename itself durable. The new file is whole and visible by now, and some file systems cannot sync
/// a folder, so a failure here is no failure of the write.
fn sync_folder(path: &Path) {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

fn explain(path: &Path, bytes: u64, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some disk space",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make the folder writable",
        io::ErrorKind::NotFound => "create the folder first",
        _ => "check the disk",
    };
    let kept = if path.exists() { "the previous version is untouched" } else { "nothing was left behind" };
    let what = format!("cannot be written: {error}, after {bytes} bytes; {kept}");
    Error::new(ErrorKind::Io, path.display(), what)
        .fix(format!("{remedy} or choose another place, then try again"))
}

/// A file that counts the bytes it took.
struct Counted<'a> {
    file: File,
    bytes: &'a mut u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(buffer)?;
        *self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_old_file_and_leaves_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        for text in ["first", "second, longer"] {
            write_atomic(&path, |out| out.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failing_writer_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, |out| {
            out.write_all(&[7; 100_000])?;
            Err(io::Error::new(io::ErrorKind::StorageFull, "no room"))
        })
        .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Io);
        let message = error.to_string();
        for part in ["weights", "no room", "100000 bytes", "untouched", "free some disk space"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert!(!part_of(&path).exists());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(&folder.path().join("absent/file"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("create the folder first"), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        fs::write(&path, "old").unwrap();
        // The part lands on a device that is always full.
        std::os::unix::fs::symlink("/dev/full", part_of(&path)).unwrap();
        let error = write_atomic(&path, |out| out.write_all(&[7; 1000])).unwrap_err();
        assert!(error.to_string().contains("after 0 bytes"), "{error}");
        assert!(error.fix.contains("free some disk space"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert!(part_of(&path).symlink_metadata().is_err());
    }
}
