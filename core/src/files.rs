//! Files that are either the old version or the new one, never half of it; and reading within a limit.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
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

/// All bytes of the file at `path`, of which there may be at most `most`.
///
/// # Errors
/// `Io` for a folder, for a device or a pipe, which may have no end, for a file with more bytes, and for what the file
/// system reports.
pub fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>> {
    let error = |what: String, fix: &str| Error::new(ErrorKind::Io, path.display(), what).fix(fix);
    let unreadable = |e: io::Error| {
        let fix = match e.kind() {
            io::ErrorKind::NotFound => "check its name",
            io::ErrorKind::PermissionDenied => "allow reading it",
            _ => "check the disk",
        };
        error(format!("cannot read it: {e}"), fix)
    };
    let found = fs::metadata(path).map_err(unreadable)?;
    if found.is_dir() {
        return Err(error("is a folder".into(), "give a file in it"));
    }
    if !found.is_file() {
        return Err(error("is a device or a pipe".into(), "copy what it holds into a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if found.len().max(read as u64) > most {
        let what = format!(
            "has {} MB, more than the {} MB that are read",
            found.len() / 1_000_000,
            most / 1_000_000
        );
        return Err(error(what, "check that it is the file that you mean"));
    }
    Ok(bytes)
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
    fn only_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        fs::write(&path, [7; 1000]).unwrap();
        assert_eq!(read_regular(&path, 1000).unwrap(), [7; 1000]);
        let fails = |path: &Path, words: &str| {
            let error = read_regular(path, 999).unwrap_err();
            assert!(error.to_string().contains(words) && !error.fix.is_empty(), "{error}");
        };
        fails(&path, "more than");
        fails(folder.path(), "a folder");
        fails(&folder.path().join("absent"), "cannot read it");
        if cfg!(unix) {
            fails(Path::new("/dev/zero"), "a device");
        }
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
