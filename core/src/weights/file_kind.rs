//! What a file is that should hold weights: told by its first bytes, whatever its name says.

use crate::file_kind::{self, ENOUGH, recognise};
use std::borrow::Cow;

/// How many of a file's first bytes [`FileKind::of`] looks at.
pub const HEAD: usize = ENOUGH;

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
        /// A noun with its article, "a Git LFS pointer", and the first words of a text.
        what: Cow<'static, str>,
        /// A remedy, without a full stop.
        fix: &'static str,
    },
    /// Nothing that is known.
    Unknown,
}

/// What helps where the file is not the one that was meant.
const AGAIN: &str = "download the file again";

impl FileKind {
    /// What begins with `head`, the first [`HEAD`] bytes of a file.
    pub fn of(head: &[u8]) -> Self {
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
        let Some(file_kind::FileKind { name, fix, text }) = recognise(head) else { return FileKind::Unknown };
        // A server's words tell more than that they are text.
        let what = match text {
            true => format!("{name} that begins with \"{}\"", beginning(head)).into(),
            false => name.into(),
        };
        FileKind::Other { what, fix: fix.unwrap_or(AGAIN) }
    }
}

/// The first words of a text, on one line.
fn beginning(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    let line: String = text.chars().take(60).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_what_they_are() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
        let cases: [(&[u8], &str); 27] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", "Git LFS pointer"),
            (b"<!DOCTYPE html>\n<html><title>Sign in</title>", "web page"),
            (b"\n\n  <HTML lang=en>", "web page"),
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
            (b"\n", "white space alone"),
            (b"\xEF\xBB\xBF \r\n", "white space alone"),
            (&[b' '; HEAD], "white space alone"),
        ];
        for (head, word) in cases {
            match FileKind::of(head) {
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
            assert_eq!(FileKind::of(head), *kind);
        }
        let text = [&vec![b'a'; HEAD - 1][..], "\u{E4}".as_bytes()].concat();
        assert!(matches!(FileKind::of(&text[..HEAD]), FileKind::Other { .. }));
    }
}
