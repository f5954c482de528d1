//! Files that are damaged, mean harm, or are something else: an error says which, and none takes more memory or time than its
//! size warrants.

use super::files::{self, Gguf, archive, file, floats, gguf_text, gguf_texts, pickle, safetensors, zip};
use super::{memory, pytorch};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use unigen_core::weights::{Checkpoint, GgufDecoder};

/// Reads everything there is to read in a file; the error, if there is one. Takes little time, and little memory for its size.
fn read_all(name: &str, bytes: &[u8]) -> Option<String> {
    let (start, copy) = (Instant::now(), bytes.to_vec());
    let (error, peak) = memory::peak(|| {
        let checkpoint = match Checkpoint::from_bytes(name, copy) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return Some(error.to_string()),
        };
        let mut first = None;
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        for name in &names {
            let Err(error) = checkpoint.tensor(name) else { continue };
            first = first.or(checkpoint.ints(name).is_err().then(|| error.to_string()));
        }
        if let Some(gguf) = checkpoint.gguf() {
            let _ = (gguf.tokenizer_json(), gguf.decoder_config());
            let decoder = GgufDecoder::new(&checkpoint);
            first = first.or(decoder.err().map(|error| error.to_string()));
        }
        first
    });
    assert!(start.elapsed() < Duration::from_secs(5), "{name} took {:?}", start.elapsed());
    assert!(peak < (1 << 20) + 256 * bytes.len(), "{name} of {} bytes took {peak}", bytes.len());
    error
}

/// Of as many bytes, which say nothing.
fn many(byte: u8) -> Vec<u8> {
    vec![byte; 200_000]
}

fn saved(object: &[u8]) -> Vec<u8> {
    archive(&[("x/data.pkl", pickle::whole(object)), ("x/data/0", floats(&[1.0, 2.0]))])
}

fn header(text: &str) -> Vec<u8> {
    safetensors(text, &[0; 8])
}

/// A small GGUF with these counts in place of its own.
fn counts(tensors: u64, pairs: u64) -> Vec<u8> {
    let mut bytes = Gguf::small().bytes();
    bytes[8..16].copy_from_slice(&tensors.to_le_bytes());
    bytes[16..24].copy_from_slice(&pairs.to_le_bytes());
    bytes
}

fn pair(key: &'static str, kind: u32, value: &[u8]) -> Vec<u8> {
    Gguf { pairs: vec![(key, kind, value.to_vec())], ..Gguf::small() }.bytes()
}

fn tensor(dimensions: &[u64], kind: u32) -> Vec<u8> {
    Gguf { tensors: vec![("a", dimensions.to_vec(), kind, vec![0; 64])], ..Gguf::small() }.bytes()
}

#[test]
fn safetensors_say_what_is_wrong() {
    let length = |length: u64| [&length.to_le_bytes()[..], b"{", &[0; 99]].concat();
    for (bytes, words) in [
        (vec![], "an empty file"),
        (vec![7; 3], "not a safetensors file"),
        (length(1 << 40), "not a safetensors file"),
        (length(99_000_000), "truncated: the header ends at byte 99000008"),
        (length(u64::MAX), "not a safetensors file"),
        (header("{"), "bad safetensors header"),
        (header("{\"a\":7}"), "bad safetensors header"),
        (header(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#), "bad safetensors header"),
        (header(r#"{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}"#), "truncated: 71 bytes"),
        (header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#), "too long"),
        (
            header(r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,8]}}"#),
            "bad safetensors header",
        ),
        (header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#), "bad safetensors header"),
        (header(r#"{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}"#), "has type F8_E4M3"),
        (
            header(r#"{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}"#)
                .into_iter()
                .map(|byte| if byte == 0 { 0xFF } else { byte })
                .collect(),
            "not a safetensors file",
        ),
        (safetensors(r#"{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}"#, &[0xFF; 8]), "NaN at [0]"),
    ] {
        let error = read_all("a.safetensors", &bytes).expect("an error");
        assert!(error.contains(words) && error.contains("a.safetensors"), "{error}, not {words}");
    }
}

#[test]
fn archives_say_what_is_wrong() {
    let entry = |name: &str| archive(&[(name, vec![0; 9])]);
    let good = pickle::dict(&[("a", pickle::tensor("0", "FloatStorage", 0, &[2], &[1]))]);
    let tuples = [b"N".to_vec(), many(0x85)].concat();
    let storages = [b"N".to_vec(), [0x85, b'Q'].repeat(100_000)].concat();
    // Every dictionary holds the one before it twice.
    let doubling = |levels: usize, inside: &[u8]| {
        let level = |i: u8| {
            [
                b"}q",
                &[i][..],
                &pickle::text("a"),
                b"h",
                &[i - 1],
                b"s",
                &pickle::text("b"),
                b"h",
                &[i - 1],
                b"s",
            ]
            .concat()
        };
        let levels: Vec<u8> = (1..=levels as u8).flat_map(level).collect();
        [inside, b"q\0", &levels].concat()
    };
    // A long name, then many entries under it.
    let long = "n".repeat(60_000);
    let entries: Vec<u8> =
        (0..9_000).flat_map(|i| [pickle::text(&i.to_string()), b"h\x07".to_vec()].concat()).collect();
    let tensor = pickle::tensor("0", "FloatStorage", 0, &[2], &[1]);
    let wide =
        [b"}", &pickle::text("t")[..], &tensor, b"q\x07s", &pickle::text(&long), b"}(", &entries, b"us"]
            .concat();
    // A dictionary that is memorised anew before every entry.
    let anew = [b"}".to_vec(), [&b"q\0"[..], &pickle::text("a"), b"Ns"].concat().repeat(20_000)].concat();
    // One long name, joined with itself.
    let joined = [pickle::text(&long), b"q\0".to_vec(), b"h\0\x93".to_vec()].concat();
    let itself = [b"}q\0", &pickle::text("a")[..], b"h\0s"].concat();
    let deep = [[&b"}"[..], &pickle::text("a")].concat().repeat(40), b"N".to_vec(), b"s".repeat(40)].concat();
    let mut directory = saved(&good);
    let end = directory.len();
    directory[end - 10..end - 6].copy_from_slice(&u32::MAX.to_le_bytes());
    for (bytes, words) in [
        (b"PK\x03\x04".to_vec(), "has no directory"),
        ([b"PK\x03\x04".to_vec(), vec![0; 500]].concat(), "has no directory"),
        (entry("weights.bin"), "no data.pkl"),
        (entry("x/data.pkl"), "opcode 0x0"),
        (zip(&[("x/data.pkl", many(b'N'))], 8), "compressed"),
        (directory, "directory is damaged"),
        (archive(&[("x/data.pkl", pickle::whole(&good)), ("x/byteorder", b"big".to_vec())]), "byte order"),
        (saved(b"N"), "no tensors"),
        (saved(&many(b'N')), "no tensors"),
        (saved(&many(b'}')), "no tensors"),
        (saved(&many(b'(')), "a value that it does not have"),
        (saved(&tuples), "nested too deeply"),
        (saved(&storages), "nested too deeply"),
        (saved(&doubling(14, b"}")), "repeats itself"),
        (saved(&doubling(14, &tensor)), "repeats itself"),
        (saved(&wide), "repeats itself"),
        (saved(&anew), "no tensors"),
        (saved(&joined), "a Python name"),
        (saved(&itself), "repeats itself"),
        (saved(&deep), "nested too deeply"),
        (saved(b"cos\nsystem\nX\x02\0\0\0ls\x85R"), "no tensors"),
        (saved(b"\x8a\xFF"), "an integer of 255 bytes"),
        (saved(b"\x8d\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "truncated"),
        (saved(b"h\x05"), "a value that it does not have"),
        (saved(b"\x93"), "a value that it does not have"),
    ] {
        let error = read_all("a.pt", &bytes).expect("an error");
        assert!(error.contains(words) && error.contains("a.pt"), "{error}, not {words}");
    }
}

#[test]
fn gguf_files_say_what_is_wrong() {
    let version = |version: u32| Gguf { version, ..Gguf::small() }.bytes();
    let whole = Gguf::small().bytes();
    let twice = |name: &'static str| {
        let tensor = |name| (name, vec![8], 0, vec![0; 32]);
        Gguf { tensors: vec![tensor("a"), tensor(name)], ..Gguf::small() }.bytes()
    };
    // The second tensor lies where the first one does.
    let mut shared = twice("b");
    let second = shared.windows(9).rposition(|window| window == b"\x01\0\0\0\0\0\0\0b").expect("the name");
    shared[second + 25..second + 33].copy_from_slice(&0_u64.to_le_bytes());
    let mut crooked = whole.clone();
    let first = crooked.windows(9).rposition(|window| window == b"\x01\0\0\0\0\0\0\0a").expect("the name");
    crooked[first + 33] = 1;
    let array = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    for (bytes, words) in [
        (b"GGUF".to_vec(), "end within the header"),
        (version(1), "version 1"),
        (version(4), "version 4"),
        (version(3_u32.swap_bytes()), "big-endian"),
        (whole[..whole.len() - 1].to_vec(), "a lies beyond them"),
        (counts(u64::MAX, 1), "cannot follow"),
        (counts(1, u64::MAX), "cannot follow"),
        (counts(1, 2), "cannot follow"),
        (counts(1_000, 1), "cannot follow"),
        (pair("k", 8, &u64::MAX.to_le_bytes()), "cannot follow"),
        (pair("k", 8, &[&2_u64.to_le_bytes()[..], &[0xC3, 0x28]].concat()), "not UTF-8"),
        (pair("k", 99, &[0; 8]), "unknown type 99"),
        (pair("k", 9, &array(4, u64::MAX)), "cannot follow"),
        (pair("k", 9, &array(4, u64::MAX / 4 + 1)), "cannot follow"),
        (pair("k", 9, &array(8, 3)), "header"),
        (pair("k", 9, &array(9, 1)), "array of arrays"),
        (pair("k", 9, &array(77, 1)), "unknown type 77"),
        (pair("general.alignment", 4, &[7, 0, 0, 0]), "general.alignment"),
        (pair("general.alignment", 10, &(1_u64 << 63).to_le_bytes()), "general.alignment"),
        (pair("split.count", 2, &[3, 0]), "one of 3 parts"),
        (pair("general.architecture", 8, &gguf_text("mamba")), "architecture \"mamba\""),
        (tensor(&[1, 1, 1, 1, 1], 0), "5 dimensions"),
        (tensor(&[u64::MAX, 2], 0), "no shape in F32"),
        (tensor(&[1 << 40], 0), "lies beyond them"),
        (tensor(&[33, 2], 2), "no shape in Q4_0"),
        (tensor(&[], 8), "no shape in Q8_0"),
        (tensor(&[32], 13), "Q5_K"),
        (tensor(&[32], 4_000_000_000), "number 4000000000"),
        (twice("a"), "a is there twice"),
        (shared, "share bytes"),
        (crooked, "no multiple of 32"),
        (whole, "does not say its llama."),
    ] {
        let error = read_all("a.gguf", &bytes).expect("an error");
        assert!(error.contains(words) && error.contains("a.gguf"), "{error}, not {words}");
    }
}

#[test]
fn tokenizers_in_gguf_say_what_is_wrong() {
    let tokens = |texts: &[&str]| ("tokenizer.ggml.tokens", 9, gguf_texts(texts));
    let text = |key: &'static str, text: &str| (key, 8, gguf_text(text));
    let merges = || ("tokenizer.ggml.merges", 9, gguf_texts(&["a b"]));
    let model = || text("tokenizer.ggml.model", "gpt2");
    for (pairs, words) in [
        (vec![], "no kind of a tokenizer"),
        (vec![text("tokenizer.ggml.model", "llama")], "kind \"llama\""),
        (vec![model()], "no tokens"),
        (vec![model(), tokens(&["a", "b", "ab"])], "no merges"),
        (vec![model(), tokens(&["a", "a"]), merges()], "one token twice"),
        (
            vec![model(), tokens(&["a", "b", "ab"]), merges(), text("tokenizer.ggml.pre", "tekken")],
            "in the way \"tekken\"",
        ),
    ] {
        let bytes = Gguf { pairs, ..Gguf::small() }.bytes();
        let checkpoint = Checkpoint::from_bytes("a.gguf", bytes).expect("opens");
        let error = checkpoint.gguf().expect("GGUF").tokenizer_json().expect_err("no tokenizer").to_string();
        assert!(error.contains(words) && error.contains("take the tokenizer.json"), "{error}, not {words}");
    }
}

#[test]
fn files_are_called_what_they_are() {
    let zip = pytorch::checkpoint();
    let gguf = Gguf::small().bytes();
    let safe = header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n".to_vec();
    let page = b"<!DOCTYPE html><html><body>Sign in".to_vec();
    for (name, bytes, words, fix) in [
        ("model.safetensors", &zip, "a zip archive, as torch.save writes it", "rename it to .pt"),
        ("model.safetensors", &gguf, "a GGUF file", "rename it to .gguf"),
        ("model.gguf", &safe, "a safetensors file", "rename it to .safetensors"),
        ("model.gguf", &zip, "a zip archive", "rename it to .pt"),
        ("model.bin", &safe, "a safetensors file", "rename it to .safetensors"),
        ("model.PT", &gguf, "a GGUF file", "rename it to .gguf"),
        ("model.safetensors", &pointer, "a Git LFS pointer", "git lfs pull"),
        ("pytorch_model.bin", &pointer, "a Git LFS pointer", "git lfs pull"),
        ("model.gguf", &pointer, "a Git LFS pointer", "git lfs pull"),
        ("model.safetensors", &page, "a web page", "open its address"),
        ("model", &page, "a web page", "open its address"),
        ("model.gguf", &b"\x1F\x8B\x08\0\0".to_vec(), "a gzip file", "unpack"),
        ("model.safetensors", &vec![0; 4096], "zeros, as a broken download leaves them", "download"),
        ("model.safetensors", &vec![], "an empty file", "download"),
        ("model.gguf", &vec![1; 99], "not a GGUF file: its first bytes", "download"),
        ("model.pth", &vec![1; 99], "not a PyTorch archive", "download"),
        ("model", &vec![1; 99], "not a file of weights: its first bytes", "download"),
    ] {
        let (_folder, path) = file(name, bytes);
        let error = Checkpoint::open(&path).expect_err("not what it says");
        let text = error.to_string();
        assert!(text.contains(words) && error.fix.contains(fix) && text.contains(name), "{text}");
    }
}

#[test]
fn folders_say_what_is_wrong() {
    let safe = header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#);
    let index = |text: &str| ("model.safetensors.index.json", text.as_bytes().to_vec());
    let map = r#"{"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#;
    for (files, words) in [
        (vec![("README.md", vec![])], "a folder without weights"),
        (vec![("._model.safetensors", vec![0; 4096])], "a folder without weights"),
        (vec![("a.pt", safe.clone()), ("b.gguf", safe.clone())], "several files of weights: a.pt, b.gguf"),
        (
            vec![
                ("model-00001-of-00002.safetensors", safe.clone()),
                ("model-00002-of-00002.safetensors", safe.clone()),
            ],
            "2 shards without the index",
        ),
        (vec![index(map)], "this shard is missing"),
        (vec![index("version https://git-lfs.github.com/spec/v1\n")], "a Git LFS pointer"),
        (vec![index("{}")], "not an index of shards"),
        (vec![index("[1, 2")], "not an index of shards"),
        (vec![index(r#"{"weight_map":{"a":"/etc/passwd"}}"#)], "not a plain file name"),
        (vec![index(r#"{"weight_map":{"a":".."}}"#)], "not a plain file name"),
        (
            vec![index(&map.replace(r#""a""#, r#""b""#)), ("model-00001-of-00002.safetensors", safe.clone())],
            "b should be in model-00001-of-00002.safetensors, which lacks it",
        ),
        (
            vec![index(map), ("model-00001-of-00002.safetensors", vec![0; 99])],
            "zeros, as a broken download leaves them",
        ),
        (
            vec![("pytorch_model.bin.index.json", br#"{"weight_map":{"a":"x.bin"}}"#.to_vec())],
            "x.bin: this shard is missing",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).expect("writes");
        }
        let error = Checkpoint::open(folder.path()).expect_err("bad folder").to_string();
        assert!(error.contains(words), "{error}, not {words}");
    }
}

#[test]
fn archives_come_in_shards() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, key) in [("one.bin", "a"), ("two.bin", "b")] {
        let tensor = pickle::tensor("0", "FloatStorage", 0, &[2], &[1]);
        std::fs::write(folder.path().join(name), saved(&pickle::dict(&[(key, tensor)]))).expect("writes");
    }
    let index = r#"{"metadata":{},"weight_map":{"a":"one.bin","b":"two.bin"}}"#;
    let path = folder.path().join("pytorch_model.bin.index.json");
    std::fs::write(&path, index).expect("writes");
    for path in [folder.path(), &path] {
        let checkpoint = Checkpoint::open(path).expect("opens");
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
        assert!(checkpoint.shard("b").is_some_and(|file| file.ends_with("two.bin")));
        assert_eq!(checkpoint.tensor("b").expect("reads").0, [1.0, 2.0]);
    }
}

#[test]
#[cfg(unix)]
fn devices_are_not_read() {
    for path in ["/dev/zero", "/dev/null"] {
        let error = Checkpoint::open(path.as_ref()).expect_err("no file").to_string();
        assert!(error.contains("a device"), "{error}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink("nowhere", folder.path().join("model.safetensors")).expect("links");
    let error = Checkpoint::open(folder.path()).expect_err("no file").to_string();
    assert!(error.contains("model.safetensors") && error.contains("cannot open"), "{error}");
}

/// A good file of each kind that has much in its header.
fn good() -> [(&'static str, Vec<u8>); 3] {
    let reference = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights/reference.gguf");
    let gguf = std::fs::read(reference).expect("reads");
    let header = r#"{"__metadata__":{"k":"v"},"a.q4_0":{"dtype":"U8","shape":[1,1,18],"data_offsets":[0,18]},"b":{"dtype":"F16","shape":[3],"data_offsets":[18,24]}}"#;
    let safe = files::safetensors(header, &[0; 24]);
    [("a.pt", pytorch::checkpoint()), ("a.gguf", gguf), ("a.safetensors", safe)]
}

#[test]
fn files_that_break_off_are_errors() {
    for (name, bytes) in good() {
        let step = bytes.len().div_ceil(2_000);
        for length in (0..bytes.len()).step_by(step) {
            assert!(read_all(name, &bytes[..length]).is_some(), "{name} of {length} bytes");
        }
    }
}

#[test]
fn flipped_bytes_are_no_panic() {
    for (name, bytes) in good() {
        // The header of the GGUF comes first, and the others are short.
        for at in 0..bytes.len().min(3_000) {
            for flip in [0xFF, 0x01, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                read_all(name, &bytes);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_headers_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all("a.gguf", &[b"GGUF\x03\0\0\0".as_slice(), &[2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], &bytes].concat());
        read_all("a.pt", &saved(&bytes));
    }

    #[test]
    fn arbitrary_opcodes_are_no_panic(
        codes in prop::collection::vec(prop::sample::select(&b"}()tNRQbsuae\x85\x86\x87\x93\x94h\0q\0K\x01X\x01\0\0\0a"[..]), 0..200)
    ) {
        read_all("a.pt", &saved(&codes));
    }
}
