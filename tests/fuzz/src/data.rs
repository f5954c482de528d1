//! A user's own samples: shards and lines.

use crate::{Seed, Target, text};
use flate2::{Compression, write::GzEncoder};
use image::{ImageFormat, RgbImage};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;
use unigen_training::data::ShardIndex;

/// Pictures in a sample are whole files, and those of the fuzzer are small.
const MEMORY: [usize; 2] = [64 << 20, 512];

/// A folder with a picture, where each input becomes a file.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("0.png"), png()).expect("room on the disk");
    folder
});

pub const TAR: Target = Target {
    name: "tar",
    memory: MEMORY,
    most: 8192,
    load: |input| read(&FOLDER.path().join("a.tar"), input),
    seeds: || {
        let (png, bad) = (png(), b"<html>".to_vec());
        let kinds: [(&str, Vec<u8>); 4] = [
            (
                "captions",
                tar_of(&[
                    ("0.png", &png),
                    ("0.txt", b"one"),
                    ("1.PNG", &png),
                    ("1.json", br#"{"caption": "two", "p": NaN}"#),
                ]),
            ),
            (
                "edits",
                tar_of(&[
                    ("d/0.before.png", &png),
                    ("d/0.after.png", &png),
                    ("d/0.json", br#"{"instruction": "add a dog", "description": "a dog"}"#),
                ]),
            ),
            (
                "by-products",
                tar_of(&[
                    ("._0.png", &bad),
                    ("__MACOSX/0.png", &bad),
                    ("a.b/0.png", &png),
                    ("a.b/0.mask.png", &png),
                    ("a.b\\0.txt", b"x"),
                ]),
            ),
            ("not a picture", tar_of(&[("0.jpg", &bad), ("0.txt", b"\xff\xfeo\0n\0e\0")])),
        ];
        let packed = kinds.iter().map(|(name, bytes)| {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(bytes).expect("memory");
            (format!("{name} packed"), packed.finish().expect("memory"))
        });
        let packed: Vec<Seed> = packed.collect();
        kinds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).chain(packed).collect()
    },
};

pub const JSONL: Target = Target {
    name: "jsonl",
    memory: MEMORY,
    most: 2048,
    load: |input| read(&FOLDER.path().join("metadata.jsonl"), input),
    seeds: || {
        vec![
            text(
                "caption",
                "{\"image\": \"0.png\", \"caption\": \"one\"}\n\n{\"file_name\": \"./0.png\", \"text\": \"two\", \"p\": NaN}\n",
            ),
            text(
                "question",
                "\u{feff}{\"image\": \"0.png\", \"question\": \"what?\", \"answer\": \"a dog\"}\r\n",
            ),
            text(
                "edit",
                "{\"before\": \"0.png\", \"instruction\": \"add\", \"after\": \"..\\\\x\\\\0.png\", \"description\": \"a dog\"}",
            ),
            text("array", "[{\"image\": \"0.png\"}]"),
            text("csv", "image,caption\n0.png,one\n"),
        ]
    },
};

/// Reads every part of the first samples.
fn read(path: &Path, input: &[u8]) {
    fs::write(path, input).expect("room on the disk");
    let Ok(index) = ShardIndex::open(&[PathBuf::from(path)]) else { return };
    for sample in 0..index.len().min(8) {
        let record = index.record(sample);
        for name in ["image", "before", "after"] {
            let _ = record.picture(name);
        }
        for name in ["caption", "question", "answer", "instruction", "description"] {
            let _ = record.text(name);
        }
        let _ = (record.identity(), record.json().is_ok());
        let _ = index.read(sample);
    }
    index.name();
}

fn png() -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    RgbImage::new(2, 2).write_to(&mut png, ImageFormat::Png).expect("memory");
    png.into_inner()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).expect("memory");
    }
    tar.into_inner().expect("memory")
}
