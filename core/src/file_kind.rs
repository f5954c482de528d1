//! What a file is, told by its first bytes, for errors about a file that is not what it should be.

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind {
    /// What it is, with an article: "a zip archive".
    pub name: &'static str,
    /// What to do where it was met by mistake; `None` where that depends on the place.
    pub fix: Option<&'static str>,
    /// Whether it is text, whose first words may tell more.
    pub text: bool,
}

/// Bytes at a place in a file, and what a file with them is.
struct Mark(usize, &'static [u8], FileKind);

const fn kind(name: &'static str) -> FileKind {
    FileKind { name, fix: None, text: false }
}

const fn with_fix(name: &'static str, fix: &'static str) -> FileKind {
    FileKind { name, fix: Some(fix), text: false }
}

const fn text(name: &'static str) -> FileKind {
    FileKind { name, fix: None, text: true }
}

const CONVERT: &str = "convert it to PNG or JPEG";
const UNPACK: &str = "unpack it first";
const SAFETENSORS: &str = "convert the model to safetensors";
const TODAY: &str = "take the model in GGUF";

const UTF_16: FileKind = with_fix("text in UTF-16", "save it as UTF-8");
const WEB_PAGE: FileKind = with_fix(
    "a web page",
    "open its address in a browser, and download the file itself, not the page about it",
);

const MARKS: &[Mark] = &[
    Mark(
        0,
        b"version https://git-lfs",
        with_fix("a Git LFS pointer, which stands for a file", "fetch the file: git lfs pull"),
    ),
    Mark(
        0,
        b"\0\x05\x16\x07",
        with_fix(
            "what macOS notes beside a file (AppleDouble)",
            "take the file without \"._\" before its name",
        ),
    ),
    Mark(0, b"\x89PNG\r\n\x1a\n", kind("a PNG image")),
    Mark(0, b"\xff\xd8\xff", kind("a JPEG image")),
    Mark(0, b"GIF8", kind("a GIF image")),
    Mark(8, b"WEBP", kind("a WebP image")),
    Mark(0, b"II*\0", kind("a TIFF image")),
    Mark(0, b"MM\0*", kind("a TIFF image")),
    Mark(4, b"ftypavi", with_fix("an AVIF image", CONVERT)),
    Mark(4, b"ftyphei", with_fix("a HEIC photo", CONVERT)),
    Mark(4, b"ftyphev", with_fix("a HEIC photo", CONVERT)),
    Mark(4, b"ftypmif1", with_fix("a HEIC photo", CONVERT)),
    Mark(4, b"ftyp", kind("a video")),
    Mark(0, b"\x1a\x45\xdf\xa3", kind("a video")),
    Mark(0, b"\xff\x0a", with_fix("a JPEG XL image", CONVERT)),
    Mark(4, b"JXL ", with_fix("a JPEG XL image", CONVERT)),
    Mark(4, b"jP  ", with_fix("a JPEG 2000 image", CONVERT)),
    Mark(0, b"8BPS", with_fix("a Photoshop document", CONVERT)),
    Mark(0, b"%PDF", kind("a PDF document")),
    Mark(0, b"GGUF", with_fix("a GGUF model", "take the safetensors files of the same model")),
    Mark(0, b"PK\x03\x04", with_fix("a zip archive, as PyTorch's .bin and .pt files are", UNPACK)),
    Mark(0, b"ggml", with_fix("a GGML file from before GGUF", TODAY)),
    Mark(0, b"lmgg", with_fix("a GGML file from before GGUF", TODAY)),
    Mark(0, b"tjgg", with_fix("a GGML file from before GGUF", TODAY)),
    Mark(
        0,
        b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19",
        with_fix(
            "a PyTorch file from before version 1.6",
            "load it in PyTorch and save it again, or convert it to safetensors",
        ),
    ),
    Mark(0, b"\x80\x02", with_fix("a Python pickle", SAFETENSORS)),
    Mark(0, b"\x80\x03", with_fix("a Python pickle", SAFETENSORS)),
    Mark(0, b"\x80\x04", with_fix("a Python pickle", SAFETENSORS)),
    Mark(0, b"\x80\x05", with_fix("a Python pickle", SAFETENSORS)),
    Mark(0, b"\x93NUMPY", with_fix("a NumPy array", SAFETENSORS)),
    Mark(0, b"\x89HDF\r\n", with_fix("an HDF5 file", SAFETENSORS)),
    Mark(0, b"\x7FELF", kind("a program")),
    Mark(0, b"MZ\x90", kind("a program")),
    Mark(0, b"PAR1", kind("a Parquet table")),
    Mark(0, b"SQLite format 3", kind("a SQLite database")),
    Mark(0, b"\x1f\x8b", with_fix("a gzip file", UNPACK)),
    Mark(0, b"BZh", with_fix("a bzip2 file", UNPACK)),
    Mark(0, b"\xfd7zXZ", with_fix("an xz file", UNPACK)),
    Mark(0, b"\x28\xb5\x2f\xfd", with_fix("a Zstandard file", UNPACK)),
    Mark(0, b"7z\xbc\xaf", with_fix("a 7z archive", UNPACK)),
    Mark(0, b"Rar!", with_fix("a RAR archive", UNPACK)),
    Mark(257, b"ustar", kind("a tar archive")),
    Mark(0, b"\xff\xfe", UTF_16),
    Mark(0, b"\xfe\xff", UTF_16),
];

/// So many bytes are enough to tell.
pub const ENOUGH: usize = 1024;

/// What a file is that begins with `bytes`; `None` where nothing gives it away.
pub fn recognise(bytes: &[u8]) -> Option<FileKind> {
    let bytes = &bytes[..bytes.len().min(ENOUGH)];
    if bytes.is_empty() {
        return Some(kind("an empty file"));
    }
    let marked = |Mark(at, mark, _): &&Mark| bytes.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    if let Some(Mark(.., kind)) = MARKS.iter().find(marked) {
        return Some(*kind);
    }
    if bytes.len() >= 64 && bytes.iter().all(|&b| b == 0) {
        return Some(with_fix("zeros, as a broken download leaves them", "download it again"));
    }
    of_text(bytes)
}

fn of_text(bytes: &[u8]) -> Option<FileKind> {
    // Latin letters in UTF-16 have a zero in every other byte.
    let zeros = |first: usize| bytes.iter().skip(first).step_by(2).filter(|&&b| b == 0).count();
    if bytes.len() >= 8 && zeros(0).max(zeros(1)) * 5 > bytes.len() * 2 && zeros(0).min(zeros(1)) == 0 {
        return Some(UTF_16);
    }
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The last letter may be cut off.
        Err(e) if e.error_len().is_none() && bytes.len() == ENOUGH => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if whole.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}')) {
        return None;
    }
    let start = whole.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    Some(match start.as_bytes() {
        [] => kind("white space alone, without a word"),
        [b'<', ..] if start.starts_with("<!doctype html") || start.starts_with("<html") => WEB_PAGE,
        [b'<', ..] if start.contains("<svg") => with_fix("an SVG drawing", CONVERT),
        [b'<', ..] => text("an XML document"),
        [b'{' | b'[', ..] => text("JSON text"),
        _ => text("plain text"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLANK: &str = "white space alone, without a word";

    #[test]
    fn files_are_recognised_by_how_they_begin() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let utf_16: Vec<u8> = "image,caption\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with_mark = [b"\xff\xfe".as_slice(), &utf_16].concat();
        let cut = &format!("a{}", "ä".repeat(600)).into_bytes();
        for (bytes, name) in [
            (b"".as_slice(), "an empty file"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "a Git LFS pointer, which stands for a file",
            ),
            (b"\n<!DOCTYPE html><html>", "a web page"),
            (b"\xef\xbb\xbf<html lang=en>", "a web page"),
            (b"<?xml version='1.0'?><svg xmlns=''/>", "an SVG drawing"),
            (b"<?xml version='1.0'?><note/>", "an XML document"),
            (b"\0\0\0\x18ftypheic\0\0", "a HEIC photo"),
            (b"\0\0\0\x18ftypavif\0\0", "an AVIF image"),
            (b"\0\0\0\x18ftypisom\0\0", "a video"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image"),
            (b"PK\x03\x04\x14\0", "a zip archive, as PyTorch's .bin and .pt files are"),
            (b"\x80\x02}q\0", "a Python pickle"),
            (b"GGUF\x03\0\0\0", "a GGUF model"),
            (b"\x1f\x8b\x08", "a gzip file"),
            (&tar, "a tar archive"),
            (&utf_16, "text in UTF-16"),
            (&with_mark, "text in UTF-16"),
            (&[0; 64], "zeros, as a broken download leaves them"),
            (b"  {\"image\": 1}", "JSON text"),
            (b"image,caption\na.png,x", "plain text"),
            (cut, "plain text"),
            (b"\n", BLANK),
            (b" ", BLANK),
            (b"\r\n\r\n", BLANK),
            (b"\t \t\n", BLANK),
            (b"\x0c\n", BLANK),
            (b"\xef\xbb\xbf", BLANK),
            (b"\xef\xbb\xbf\r\n", BLANK),
            (b"\xc2\xa0\n", BLANK),
            (b"\xe3\x80\x80", BLANK),
            (&[b' '; 3000], BLANK),
        ] {
            assert_eq!(recognise(bytes).map(|found| found.name), Some(name), "{bytes:?}");
        }
        for unknown in [b"\x01\x02\x03".as_slice(), b"ab\0cd\xffefghi", &[0; 10], b"caf\xe9"] {
            assert_eq!(recognise(unknown), None, "{unknown:?}");
        }
    }
}
