//! What a file is that should hold weights: told by its first bytes, whatever its name says.

use std::borrow::Cow;

/// How many of a file's first bytes [`FileKind::of`] looks at.
pub const HEAD: usize = 512;

/// A kind of file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Hugging Face's safetensors.
    Safetensors,
    /// A zip archive, as `torch.save` has written it since PyTorch 1.6.
    Zip,
    /// llama.cpp's GGUF.
    Gguf,
    /// Anything else that is known by its first bytes: what it is and what helps.
    Other {
        /// A noun with its article: "a Git LFS pointer".
        what: Cow<'static, str>,
        /// A remedy, without a full stop.
        fix: &'static str,
    },
    /// Nothing that is known.
    Unknown,
}

/// What helps where the file is not the one that was meant.
const AGAIN: &str = "download the file again";
const UNPACK: &str = "unpack it first";
const CONVERT: &str = "convert the model to safetensors";

/// First bytes, what they begin, and what helps.
const MAGIC: [(&[u8], &str, &str); 22] = [
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "run `git lfs pull` where it comes from, or download the file itself",
    ),
    (b"ggml", "a GGML file from before GGUF", "take the model in GGUF"),
    (b"lmgg", "a GGML file from before GGUF", "take the model in GGUF"),
    (b"tjgg", "a GGML file from before GGUF", "take the model in GGUF"),
    (b"\x1F\x8B", "a gzip archive", UNPACK),
    (b"\x28\xB5\x2F\xFD", "a Zstandard archive", UNPACK),
    (b"\xFD7zXZ\0", "an xz archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive", UNPACK),
    (b"Rar!\x1A\x07", "a RAR archive", UNPACK),
    (b"\x89HDF\r\n\x1A\n", "an HDF5 file, as Keras writes it", CONVERT),
    (b"\x93NUMPY", "a NumPy array", CONVERT),
    (
        b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19",
        "a PyTorch file from before version 1.6",
        "load it in PyTorch and save it again, or convert it to safetensors",
    ),
    (
        b"\x80",
        "a Python pickle without an archive around it",
        "save it with torch.save, or convert it to safetensors",
    ),
    (b"\x89PNG", "a PNG picture", AGAIN),
    (b"\xFF\xD8\xFF", "a JPEG picture", AGAIN),
    (b"%PDF", "a PDF document", AGAIN),
    (b"\x7FELF", "a program", AGAIN),
    (b"MZ", "a program", AGAIN),
    (b"SQLite format 3\0", "an SQLite database", AGAIN),
    (b"\xFF\xFE", "text in UTF-16", AGAIN),
    (b"\xFE\xFF", "text in UTF-16", AGAIN),
];

impl FileKind {
    /// What begins with `head`, the first [`HEAD`] bytes of a file of `size` bytes.
    pub fn of(head: &[u8], size: u64) -> Self {
        let other = |what: &'static str, fix| FileKind::Other { what: what.into(), fix };
        if size == 0 {
            return other("an empty file", AGAIN);
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return FileKind::Zip;
        }
        if head.starts_with(b"GGUF") {
            return FileKind::Gguf;
        }
        // Eight bytes of length come before the header, which is JSON; so this comes before text that may begin likewise.
        if head.get(8) == Some(&b'{') && head[5..8] == [0; 3] {
            return FileKind::Safetensors;
        }
        if let Some((_, what, fix)) = MAGIC.iter().find(|(magic, ..)| head.starts_with(magic)) {
            return other(what, fix);
        }
        if head.get(257..262) == Some(b"ustar") {
            return other("a tar archive", UNPACK);
        }
        if head.iter().all(|&byte| byte == 0) {
            return other("nothing but zeros, as a broken download leaves it", AGAIN);
        }
        text(head).unwrap_or(FileKind::Unknown)
    }
}

/// What text is about, where `head` is text.
fn text(head: &[u8]) -> Option<FileKind> {
    let known = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head may end within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = known.trim_start_matches('\u{FEFF}').trim_start();
    if text.is_empty() || text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let start: String = text.chars().take(60).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let start = start.trim_end();
    let lower = start.to_ascii_lowercase();
    let (what, fix) = if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        (
            "an HTML page".to_owned(),
            "open its address in a browser: there may be an error, or terms to accept before the download",
        )
    } else if lower.starts_with('<') {
        (format!("an XML or HTML document that begins with {start:?}"), AGAIN)
    } else if lower.starts_with(['{', '[']) {
        (format!("JSON text that begins with {start:?}"), "take the file that holds the weights")
    } else {
        (format!("text that begins with {start:?}"), "take the file that holds the weights")
    };
    Some(FileKind::Other { what: what.into(), fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_what_they_are() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
        let cases: [(&[u8], &str); 24] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", "Git LFS pointer"),
            (b"<!DOCTYPE html>\n<html><title>Sign in</title>", "HTML page"),
            (b"\n\n  <HTML lang=en>", "HTML page"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
            (b"{\"error\":\"Repository not found\"}", "Repository not found"),
            (b"Entry not found", "Entry not found"),
            (b"\xEF\xBB\xBFInvalid username or password.", "text that begins with \"Invalid"),
            (b"\xFF\xFEE\0n\0t\0r\0y\0", "UTF-16"),
            (b"ggml\x01\0\0\0", "before GGUF"),
            (b"tjgg\x03\0\0\0", "before GGUF"),
            (b"\x1F\x8B\x08\0\0\0\0\0", "gzip"),
            (b"\x28\xB5\x2F\xFD\x04\0", "Zstandard"),
            (b"7z\xBC\xAF\x27\x1C\0\x04", "7z"),
            (&tar, "tar archive"),
            (b"\x89HDF\r\n\x1A\n\0\0", "HDF5"),
            (b"\x93NUMPY\x01\0v\0{'descr': '<f4'", "NumPy"),
            (b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.\x80\x02", "before version 1.6"),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}", "Python pickle"),
            (b"\x89PNG\r\n\x1A\n", "PNG"),
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF", "JPEG"),
            (b"%PDF-1.7\n", "PDF"),
            (b"\x7FELF\x02\x01\x01\0", "program"),
            (&[0; 512], "zeros"),
            (b"", "empty"),
        ];
        for (head, word) in cases {
            match FileKind::of(head, head.len() as u64) {
                FileKind::Other { what, fix } => {
                    assert!(what.contains(word) && !fix.is_empty(), "{what}, not {word}");
                }
                kind => panic!("{kind:?}, not {word}"),
            }
        }
        let known: [(&[u8], FileKind); 4] = [
            (b"PK\x03\x04\0\0", FileKind::Zip),
            (b"GGUF\x03\0\0\0", FileKind::Gguf),
            (b"\x40\0\0\0\0\0\0\0{\"__metadata__\"", FileKind::Safetensors),
            (b"\x01\x02\x03\x04", FileKind::Unknown),
        ];
        for (head, kind) in &known {
            assert_eq!(FileKind::of(head, head.len() as u64), *kind);
        }
        let text = "text that breaks off within the letter \u{E4}".as_bytes();
        assert!(matches!(FileKind::of(&text[..text.len() - 1], 99), FileKind::Other { .. }));
    }
}
