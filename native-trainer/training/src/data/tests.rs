//! Samples as various programs write them, and files that are not samples.
use super::{ShardError, ShardIndex};
use flate2::{Compression, write::GzEncoder};
use image::{ImageFormat, Rgb, RgbImage};
use std::fs;
use std::io::{Cursor, Write};

fn picture(level: u8) -> RgbImage {
    RgbImage::from_pixel(5, 3, Rgb([level, 7, 200]))
}

fn encoded(level: u8, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture(level).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(level: u8) -> Vec<u8> {
    encoded(level, ImageFormat::Png)
}

/// A tar file of these; a content `Err` is a hard link to what it names.
fn tar_of(files: &[(&str, Result<&[u8], &str>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        // Names as they are, also those that the library would refuse to write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        match content {
            Ok(bytes) => {
                header.set_size(bytes.len() as u64);
                header.set_cksum();
                tar.append(&header, *bytes).unwrap();
            }
            Err(target) => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_link_name_literal(target).unwrap();
                header.set_size(0);
                header.set_cksum();
                tar.append(&header, &[][..]).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

/// The captions of all samples whose picture is one of ours, or the error.
fn captions(index: &ShardIndex) -> Vec<Result<String, String>> {
    let read = |sample| {
        let record = index.record(sample);
        let picture = record.picture("image")?;
        assert_eq!((picture.dimensions(), picture.get_pixel(0, 0)[2].abs_diff(200) < 8), ((5, 3), true));
        record.text("caption")
    };
    (0..index.len()).map(|sample| read(sample).map_err(|e: ShardError| e.to_string())).collect()
}

#[test]
fn shards_are_read_however_programs_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, utf_16) =
        (png(1), png(2), "\u{feff}one".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    let (a, b) = (Ok(&a[..]), Ok(&b[..]));
    let [one, two, nan] = [&b"one"[..], b"two", b"{\"width\": NaN}"].map(Ok);
    let jpeg = encoded(3, ImageFormat::Jpeg);
    let gif = encoded(3, ImageFormat::Gif);
    let tiff = encoded(3, ImageFormat::Tiff);
    let both = &["one", "two"][..];
    for (name, files, wanted) in [
        ("sorted", &[("0.png", a), ("0.txt", one), ("1.png", b), ("1.txt", two)][..], both),
        ("texts after pictures", &[("0.png", a), ("1.png", b), ("1.txt", two), ("0.txt", one)], both),
        ("a step to itself", &[("./0.png", a), ("./0.txt", one), ("./d/1.png", b), ("d/1.txt", two)], both),
        ("backslashes", &[("d\\0.png", a), ("d\\0.txt", one), ("d/1.png", b), ("d\\1.txt", two)], both),
        (
            "by-products",
            &[
                ("._0.png", Ok(b"\0\x05\x16\x07")),
                ("0.png", a),
                ("._0.txt", Ok(b"\0\x05\x16\x07")),
                ("0.txt", one),
                (".DS_Store", Ok(b"Bud1")),
                ("__MACOSX/._0.png", Ok(b"x")),
                ("__MACOSX/0.png", Ok(b"x")),
                (".cache/9.png", a),
                ("1.png", b),
                ("1.txt", two),
            ],
            both,
        ),
        ("dots in keys", &[("v1.0.png", a), ("v1.0.txt", one), ("v1.1.png", b), ("v1.1.txt", two)], both),
        (
            "dots in dates",
            &[("2024.01.02 a.png", a), ("2024.01.02 a.txt", one), ("b.png", b), ("b.txt", two)],
            both,
        ),
        (
            "parts with other names",
            &[("0.png", a), ("0.mask.png", b), ("0.seg.npy", two), ("0.txt", one)],
            &["one"],
        ),
        ("endings in capitals", &[("0.PNG", a), ("0.TXT", one), ("1.Png", b), ("1.txt", two)], both),
        ("other kinds", &[("0.JPEG", Ok(&jpeg)), ("0.txt", one), ("1.gif", Ok(&gif)), ("1.txt", two)], both),
        (
            "kinds that endings deny",
            &[("0.png", Ok(&jpeg)), ("0.txt", one), ("1.tif", Ok(&tiff)), ("1.txt", two)],
            both,
        ),
        (
            "one key in two parts of the tar",
            &[("0.png", a), ("0.txt", one), ("0.png", b), ("0.txt", two)],
            both,
        ),
        ("hard links", &[("0.png", a), ("0.txt", one), ("1.png", Err("./0.png")), ("1.txt", two)], both),
        ("NaN in JSON that nobody needs", &[("0.png", a), ("0.txt", one), ("0.json", nan)], &["one"]),
        ("broken JSON that nobody needs", &[("0.png", a), ("0.txt", one), ("0.json", Ok(b"{"))], &["one"]),
        (
            "captions in JSON with NaN",
            &[("0.png", a), ("0.json", Ok(b"{\"p\": NaN, \"caption\": \"one\"}"))],
            &["one"],
        ),
        ("a byte-order mark", &[("0.png", a), ("0.txt", Ok(b"\xef\xbb\xbfone\r\n"))], &["one"]),
        ("names that begin with dots", &[("...png", a), ("0.png", a), ("0.txt", one)], &["one"]),
        ("texts in UTF-16", &[("0.png", a), ("0.txt", Ok(&utf_16))], &["!UTF-16; save it as UTF-8"]),
        ("texts in Latin-1", &[("0.png", a), ("0.txt", Ok(b"caf\xe9"))], &["!not UTF-8 at byte 3"]),
        ("empty captions", &[("0.png", a), ("0.txt", Ok(b"\xef\xbb\xbf \n"))], &["!has no text \"caption\""]),
        (
            "no captions",
            &[("0.png", a), ("0.cls", one)],
            &["!has no text \"caption\" (.txt); its files are .png, .cls"],
        ),
        (
            "no pictures",
            &[("0.npy", a), ("0.txt", one)],
            &["!has no picture \"image\"; its files are .npy, .txt"],
        ),
        ("pictures that are none", &[("0.png", Ok(b"<html>")), ("0.txt", one)], &["!this is a web page"]),
        (
            "pointers",
            &[("0.jpg", Ok(b"version https://git-lfs.github.com/spec/v1\n")), ("0.txt", one)],
            &["!git lfs pull"],
        ),
    ] {
        let path = folder.path().join("shard.tar");
        let bytes = tar_of(files);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&bytes).unwrap();
        // Packed or not, the same.
        for bytes in [bytes, packed.finish().unwrap()] {
            fs::write(&path, bytes).unwrap();
            let found = captions(&ShardIndex::open(std::slice::from_ref(&path)).unwrap());
            assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                match (found, wanted.strip_prefix('!')) {
                    (Ok(found), None) => assert_eq!(found, wanted, "{name}"),
                    (Err(what), Some(words)) => {
                        assert!(
                            what.contains(words) && what.contains("shard.tar, sample \"0\""),
                            "{name}: {what}"
                        );
                    }
                    _ => panic!("{name}: {found:?}"),
                }
            }
        }
    }
}

#[test]
fn lines_are_read_however_programs_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("pics")).unwrap();
    fs::create_dir(at("pics/folder.png")).unwrap();
    fs::write(at("pics/0.png"), png(1)).unwrap();
    fs::write(at("pics/0.TIFF"), encoded(1, ImageFormat::Tiff)).unwrap();
    let absolute = at("pics/0.png").display().to_string();
    for (name, line, wanted) in [
        ("plain", r#"{"image": "pics/0.png", "caption": "one"}"#, Ok("one")),
        ("Hugging Face", r#"{"file_name": "pics/0.png", "text": "one", "id": 3}"#, Ok("one")),
        ("a step to itself", r#"{"image": "./pics/../pics/0.png", "caption": "one"}"#, Ok("one")),
        ("backslashes", r#"{"image": "pics\\0.png", "caption": "one"}"#, Ok("one")),
        ("absolute", &format!(r#"{{"image": {absolute:?}, "caption": "one"}}"#), Ok("one")),
        ("another kind", r#"{"image": "pics/0.TIFF", "caption": "one"}"#, Ok("one")),
        ("NaN", r#"{"image": "pics/0.png", "caption": "one", "aesthetic": NaN}"#, Ok("one")),
        ("spaces", "  {\"image\": \"pics/0.png\", \"caption\": \" one \"}\r", Ok("one")),
        (
            "an absent picture",
            r#"{"image": "pics/1.png", "caption": "one"}"#,
            Err("pics/1.png: cannot read it"),
        ),
        ("a folder", r#"{"image": "pics/folder.png", "caption": "one"}"#, Err("is a folder")),
        ("no picture", r#"{"picture": "pics/0.png", "caption": "one"}"#, Err("has no picture \"image\"")),
        ("no caption", r#"{"image": "pics/0.png"}"#, Err("has no text \"caption\"")),
        ("an empty caption", r#"{"image": "pics/0.png", "caption": " "}"#, Err("has no text \"caption\"")),
        (
            "a caption that is none",
            r#"{"image": "pics/0.png", "caption": 3}"#,
            Err("has no text \"caption\""),
        ),
        ("half a line", r#"{"image": "pics/0.png""#, Err("is not JSON")),
    ] {
        let path = at("own.JSONL");
        let good = r#"{"image": "pics/0.png", "caption": "first"}"#;
        fs::write(&path, format!("\u{feff}{good}\n\n{line}\n")).unwrap();
        let found = captions(&ShardIndex::open(std::slice::from_ref(&path)).unwrap());
        assert_eq!(found[0], Ok("first".into()), "{name}");
        match (&found[1], wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{name}"),
            (Err(what), Err(words)) => {
                assert!(what.contains(words) && what.contains("line 3"), "{name}: {what}")
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[test]
fn a_file_of_another_kind_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let utf_16: Vec<u8> = "{\"image\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let tar = tar_of(&[("0.png", Ok(&png(1))), ("0.txt", Ok(b"one"))]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&tar).unwrap();
    let packed = packed.finish().unwrap();
    for (name, bytes, words) in [
        ("a.csv", &b"image,caption\n0.png,one\n"[..], "plain text"),
        ("a.json", b"[{\"image\": \"0.png\"}]", "JSON text"),
        ("a.tar", b"", "is empty"),
        ("a.tar", b"<!doctype html><html>", "a web page"),
        ("a.tar", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("a.tar", b"PK\x03\x04rest of it", "a zip archive"),
        ("a.tar", &png(1), "a PNG image"),
        ("a.parquet", b"PAR1\x15\x04\x15", "a Parquet table"),
        ("a.tar", &tar[..tar.len() - 1534], "is it a complete tar file?"),
        ("a.tar.gz", &packed[..packed.len() / 2], "cannot be unpacked"),
        ("a.jsonl", &utf_16, "text in UTF-16; save it as UTF-8"),
        ("a.jsonl", b"[{\"image\": \"0.png\"}]", "one JSON array"),
        ("a.jsonl", b"image,caption\n", "plain text"),
        ("a.jsonl", &tar, "a tar archive"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = ShardIndex::open(&[path]).err().unwrap_or_else(|| panic!("{name}: {words}")).to_string();
        assert!(error.contains(name) && error.contains(words), "{name}: {error}");
    }
    let absent = ShardIndex::open(&[folder.path().join("absent.tar")]).err().unwrap().to_string();
    assert!(absent.contains("absent.tar") && absent.contains("cannot be read"), "{absent}");
}
