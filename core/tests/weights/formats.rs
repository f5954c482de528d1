//! Every kind of file gives the values that were put into it.

use super::files::{self, Gguf, archive, file, floats, pickle};
use half::{bf16, f16};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use unigen_core::weights::{
    BlockFormat, Checkpoint, ElementType, GgufDecoder, QuantizedMatrix, StoredTensor, Tensors,
};

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights").join(name)
}

/// What llama.cpp's Python package packed, and how it unpacks it (`reference.py`).
fn reference() -> (Checkpoint, Checkpoint) {
    let open = |name| Checkpoint::open(&own(name)).expect("opens");
    (open("reference.gguf"), open("reference.safetensors"))
}

#[test]
fn one_tensor_in_every_kind_of_file() {
    let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let header = |kind: &str, bytes: usize| {
        format!(r#"{{"a":{{"dtype":"{kind}","shape":[2,3],"data_offsets":[0,{bytes}]}}}}"#)
    };
    let halves: Vec<u8> = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let brains: Vec<u8> = values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
    let saved = |kind: &str, data: &[u8]| {
        let state = pickle::dict(&[("a", pickle::tensor("0", kind, 0, &[2, 3], &[3, 1]))]);
        archive(&[("x/data.pkl", pickle::whole(&state)), ("x/data/0", data.to_vec())])
    };
    let gguf = |version, kind, data: &[u8]| {
        let tensors = vec![("a", vec![3, 2], kind, data.to_vec())];
        Gguf { version, tensors, ..Gguf::small() }.bytes()
    };
    for (name, bytes, kind) in [
        ("a.safetensors", files::safetensors(&header("F32", 24), &floats(&values)), ElementType::F32),
        ("a.safetensors", files::safetensors(&header("F16", 12), &halves), ElementType::F16),
        ("a.safetensors", files::safetensors(&header("BF16", 12), &brains), ElementType::Bf16),
        ("blob without an ending", files::safetensors(&header("BF16", 12), &brains), ElementType::Bf16),
        ("a.bin", saved("FloatStorage", &floats(&values)), ElementType::F32),
        ("a.pt", saved("HalfStorage", &halves), ElementType::F16),
        ("a.pth", saved("BFloat16Storage", &brains), ElementType::Bf16),
        ("a.gguf", gguf(3, 0, &floats(&values)), ElementType::F32),
        ("a.gguf", gguf(2, 1, &halves), ElementType::F16),
        ("a.gguf", gguf(3, 30, &brains), ElementType::Bf16),
    ] {
        let (folder, path) = file(name, &bytes);
        let ways = [Checkpoint::open(&path), Checkpoint::from_bytes(name, bytes)];
        for checkpoint in ways.into_iter().map(|checkpoint| checkpoint.expect("opens")) {
            assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a"]);
            assert_eq!(
                (checkpoint.element_type("a"), checkpoint.shape("a")),
                (Some(&kind), Some(&[2, 3][..]))
            );
            assert_eq!(checkpoint.tensor("a").expect("reads"), (values.to_vec(), vec![2, 3]));
            let stored = checkpoint.stored("a").expect("there");
            assert_eq!(stored.values::<f16>().expect("fits"), values.map(f16::from_f32));
            assert_eq!(stored.values::<bf16>().expect("fits"), values.map(bf16::from_f32));
            assert_eq!(stored.rows(1..2).expect("a row").values::<f32>().expect("reads"), values[3..]);
        }
        if name.contains('.') {
            assert!(Checkpoint::open(folder.path()).is_ok(), "the only weights in a folder: {name}");
        }
    }
}

#[test]
fn integers_are_read_and_no_floats() {
    let header = r#"{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"b":{"dtype":"I32","shape":[1],"data_offsets":[16,20]},"c":{"dtype":"U8","shape":[3],"data_offsets":[20,23]}}"#;
    let data =
        [&(-7_i64).to_le_bytes()[..], &9_i64.to_le_bytes(), &(-1_i32).to_le_bytes(), &[0, 1, 255]].concat();
    let checkpoint = Checkpoint::from_bytes("x", files::safetensors(header, &data)).expect("opens");
    for (name, values) in [("a", vec![-7, 9]), ("b", vec![-1]), ("c", vec![0, 1, 255])] {
        assert_eq!(checkpoint.ints(name).expect("reads").0, values);
        let error = checkpoint.tensor(name).expect_err("not a float").to_string();
        assert!(error.contains("convert it to F32, F16 or BF16"), "{error}");
    }
}

#[test]
fn values_that_do_not_fit_are_named() {
    let header = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    for (values, half, single) in [
        ([1.0, 2.0, 70_000.0, 4.0], Some("[1, 0]"), None),
        ([1.0, f32::NAN, 3.0, 4.0], Some("NaN at [0, 1]"), Some("flat index 1")),
        ([1.0, 2.0, 3.0, f32::NEG_INFINITY], Some("-inf"), Some("[1, 1]")),
        ([1.0, 2.0, 3.0, -0.0], None, None),
    ] {
        let checkpoint =
            Checkpoint::from_bytes("x", files::safetensors(header, &floats(&values))).expect("opens");
        let stored = checkpoint.stored("a").expect("there");
        for (error, words) in [
            (stored.values::<f16>().err(), half),
            (stored.values::<bf16>().err(), single),
            (stored.values::<f32>().err(), single),
        ] {
            assert_eq!(error.is_some(), words.is_some(), "{values:?}");
            if let (Some(error), Some(words)) = (error, words) {
                assert!(error.to_string().contains(words) && error.place.contains("a"), "{error}");
            }
        }
    }
}

#[test]
fn blocks_hold_what_llama_cpp_says() {
    let (packed, values) = reference();
    let types = [
        ("f32", ElementType::F32),
        ("f16", ElementType::F16),
        ("bf16", ElementType::Bf16),
        ("q4_0", ElementType::Blocks(BlockFormat::Q4_0)),
        ("q4_1", ElementType::Blocks(BlockFormat::Q4_1)),
        ("q8_0", ElementType::Blocks(BlockFormat::Q8_0)),
        ("q4_k", ElementType::Blocks(BlockFormat::Q4K)),
        ("q6_k", ElementType::Blocks(BlockFormat::Q6K)),
    ];
    for (name, kind) in types {
        assert_eq!(packed.element_type(name), Some(&kind));
        let (found, shape) = packed.tensor(name).expect("reads");
        let (wanted, same) = values.tensor(&format!("value.{name}")).expect("reads");
        assert_eq!(shape, same);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{name}: {found}, not {wanted}");
        }
        if let Some(matrix) = packed.stored(name).expect("there").quantized() {
            let columns = matrix.columns();
            assert_eq!([matrix.rows(), columns], shape[..]);
            assert_eq!(matrix.dequantize(1..3), found[columns..3 * columns]);
        } else {
            assert!(!matches!(kind, ElementType::Blocks(_)));
        }
    }
}

#[test]
fn eight_bits_are_llama_cpps_and_four_are_no_worse() {
    let (packed, values) = reference();
    let (original, shape) = values.tensor("original").expect("reads");
    let theirs = |name| packed.stored(name).expect("there").quantized().expect("a matrix");
    let ours = |format| QuantizedMatrix::quantize(format, shape[1], &original).expect("quantises");
    assert_eq!(ours(BlockFormat::Q8_0).bytes(), theirs("q8_0").bytes());
    let (ours, theirs) = (ours(BlockFormat::Q4_0), theirs("q4_0"));
    let blocks = |matrix: &QuantizedMatrix| {
        let values = matrix.dequantize(0..matrix.rows());
        let pairs = values.into_iter().zip(&original).map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>();
        pairs.chunks(32).map(|block| block.iter().sum::<f32>()).collect::<Vec<_>>()
    };
    let pairs: Vec<(f32, f32)> = blocks(&ours).into_iter().zip(blocks(&theirs)).collect();
    assert!(pairs.iter().all(|(ours, theirs)| ours <= theirs), "{pairs:?}");
    // A block of zeros and one of a single value have no error; of the others, a tenth less is usual.
    let ratios: Vec<f32> = pairs.iter().filter(|(_, theirs)| *theirs > 0.0).map(|(a, b)| a / b).collect();
    assert_eq!(ratios.len(), 22);
    assert!(ratios.iter().sum::<f32>() < 0.95 * ratios.len() as f32, "{ratios:?}");
}

#[test]
fn what_cannot_be_quantised_says_why() {
    let row = |x: f32| vec![x; 32];
    for (format, columns, values, words) in [
        (BlockFormat::Q4_0, 31, row(1.0), "not rows of 31"),
        (BlockFormat::Q8_0, 0, row(1.0), "not rows of 0"),
        (BlockFormat::Q8_0, 64, row(1.0), "not rows of 64"),
        (BlockFormat::Q4_0, 32, row(f32::NAN), "not finite"),
        (BlockFormat::Q8_0, 32, row(f32::INFINITY), "not finite"),
        (BlockFormat::Q8_0, 32, row(1e30), "too large"),
        (BlockFormat::Q4_1, 32, row(1.0), "only read"),
        (BlockFormat::Q6K, 256, [row(1.0); 1].concat(), "only read"),
    ] {
        let error = QuantizedMatrix::quantize(format, columns, &values).expect_err("cannot").to_string();
        assert!(error.contains(words), "{error}");
    }
    let bytes = || vec![0; 36].into();
    assert!(QuantizedMatrix::new(BlockFormat::Q4_0, 2, 32, bytes()).is_ok());
    assert!(QuantizedMatrix::new(BlockFormat::Q4_0, 1, 32, bytes()).is_err());
    assert!(QuantizedMatrix::new(BlockFormat::Q4_0, usize::MAX, 32, bytes()).is_err());
    assert!(QuantizedMatrix::new(BlockFormat::Q4_0, 2, 33, bytes()).is_err());
}

#[test]
fn a_decoder_in_gguf_has_published_names_and_rows() {
    let (packed, values) = reference();
    let decoder = GgufDecoder::new(&packed).expect("a Llama");
    let mut names: Vec<String> = decoder.names().collect();
    names.sort();
    let [keys, queries] = ["k", "q"].map(|which| format!("model.layers.0.self_attn.{which}_proj.weight"));
    assert_eq!(names, ["model.embed_tokens.weight".into(), keys.clone(), queries.clone()]);
    for (name, straight) in [(queries, "straight.attn_q"), (keys, "straight.attn_k")] {
        assert_eq!(decoder.tensor(&name).expect("reads"), values.tensor(straight).expect("reads"));
    }
    let table = values.tensor("value.token_embd.weight").expect("reads");
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        assert_eq!(decoder.shape(name), Some(table.1.clone()));
        assert_eq!(decoder.tensor(name).expect("reads"), table, "tied");
    }
    assert!(decoder.tensor("model.layers.1.self_attn.q_proj.weight").is_err());
    let config = packed.gguf().expect("GGUF").decoder_config().expect("a Llama");
    for (key, value) in [
        ("model_type", "llama".into()),
        ("hidden_size", 32.into()),
        ("num_hidden_layers", 1.into()),
        ("num_attention_heads", 4.into()),
        ("num_key_value_heads", 2.into()),
        ("vocab_size", 100.into()),
        ("rms_norm_eps", 1e-5.into()),
        ("rope_theta", 1e4.into()),
        ("tie_word_embeddings", serde_json::Value::from(true)),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
}

#[test]
fn a_gguf_brings_its_tokenizer() {
    let (packed, _) = reference();
    let json = packed.gguf().expect("GGUF").tokenizer_json().expect("a tokenizer").to_string();
    let tokenizer = tokenizers::Tokenizer::from_bytes(json.as_bytes()).expect("is a tokenizer.json");
    assert_eq!(tokenizer.get_vocab_size(true), 100);
    for (text, tokens) in [
        ("the", &["the"][..]),
        ("a the\n", &["a", "Ġthe", "Ċ"]),
        ("th12", &["th", "1", "2"]),
        ("<|endoftext|>x", &["<|endoftext|>", "x"]),
    ] {
        let encoding = tokenizer.encode(text, false).expect("encodes");
        assert_eq!(encoding.get_tokens(), tokens);
        assert_eq!(tokenizer.decode(encoding.get_ids(), false).expect("decodes"), text);
    }
}

#[test]
fn blocks_in_our_files_have_the_name_of_their_weight() {
    let values: Vec<f32> = (0..192).map(|i| (i as f32 * 0.7).sin()).collect();
    let matrix = QuantizedMatrix::quantize(BlockFormat::Q4_0, 96, &values).expect("quantises");
    let header = r#"{"a.weight.q4_0":{"dtype":"U8","shape":[2,3,18],"data_offsets":[0,108]},"b.q8_0":{"dtype":"U8","shape":[2,2],"data_offsets":[108,112]}}"#;
    let data = [&matrix.bytes()[..], &[1, 2, 3, 4]].concat();
    let checkpoint = Checkpoint::from_bytes("x", files::safetensors(header, &data)).expect("opens");
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b.q8_0"]);
    assert_eq!(checkpoint.shape("a.weight"), Some(&[2, 96][..]));
    let back = checkpoint.stored("a.weight").expect("there").quantized().expect("a matrix");
    assert_eq!((back.format(), back.bytes()), (BlockFormat::Q4_0, matrix.bytes()));
    assert_eq!(checkpoint.tensor("a.weight").expect("reads").0, matrix.dequantize(0..2));
    // What merely has such a name is what it is.
    assert_eq!(checkpoint.ints("b.q8_0").expect("reads").0, [1, 2, 3, 4]);
}

#[test]
fn rows_are_had_in_any_order() {
    let bytes = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let tensor = StoredTensor::new("a", ElementType::F32, vec![3, 2], bytes.into()).expect("fits");
    let turned = tensor.reordered([2, 0, 2].into_iter()).expect("rows");
    assert_eq!(turned.values::<f32>().expect("reads"), [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
    assert!(tensor.reordered([3].into_iter()).is_err() && tensor.rows(2..4).is_err());
    assert!(tensor.rows(3..3).expect("none").values::<f32>().expect("reads").is_empty());
    assert!(StoredTensor::new("a", ElementType::F32, vec![3, 3], tensor.bytes().clone()).is_err());
    let number = StoredTensor::new("a", ElementType::F32, vec![], floats(&[1.0]).into()).expect("fits");
    assert!(number.rows(0..1).is_err() && number.reordered([0].into_iter()).is_err());
}

proptest! {
    #[test]
    fn blocks_are_near_their_values(
        scale in -3_i32..4,
        values in prop::collection::vec(-1.0_f32..1.0, 64),
    ) {
        let values: Vec<f32> = values.iter().map(|x| x * 10_f32.powi(scale)).collect();
        for (format, steps) in [(BlockFormat::Q8_0, 127.0), (BlockFormat::Q4_0, 8.0)] {
            let matrix = QuantizedMatrix::quantize(format, 32, &values).expect("quantises");
            let found = matrix.dequantize(0..2);
            for (values, found) in values.chunks(32).zip(found.chunks(32)) {
                let step = values.iter().fold(0_f32, |a, b| a.max(b.abs())) / steps;
                let squares: f32 = values.iter().zip(found).map(|(a, b)| (a - b).powi(2)).sum();
                // Half a step each; in 4 bits a whole one for the far end of the range, which has 7 steps and not 8.
                let bound = if steps > 8.0 { 0.6 * step } else { 1.1 * step };
                prop_assert!(squares <= 32.0 * bound * bound, "{squares} with steps of {step}");
            }
        }
    }
}
