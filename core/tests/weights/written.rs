//! What is written comes back, tensor by tensor, in any type.

use super::files::{file, floats};
use super::memory;
use half::f16;
use std::collections::HashMap;
use std::path::Path;
use unigen_core::weights::{
    BlockFormat, Checkpoint, ElementType, FileTensor, Precision, QuantizedMatrix, StoredTensor, write_file,
};

fn tensor(shape: &[usize], values: &[f32]) -> StoredTensor {
    StoredTensor::new("a", ElementType::F32, shape.to_vec(), floats(values).into()).expect("fits")
}

fn waves(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

#[test]
fn kept_converted_and_quantised_tensors_come_back() {
    let (folder, path) = file("old.safetensors", b"");
    let values = waves(3 * 64);
    let (matrix, vector) = (tensor(&[3, 64], &values), tensor(&[5], &values[..5]));
    let number = tensor(&[], &[0.5]);
    let ints = StoredTensor::new("i", ElementType::I64, vec![2], vec![1; 16].into()).expect("fits");
    let quantized = |name, format| FileTensor::quantized(name, &matrix, format).expect("whole blocks");
    assert!(FileTensor::quantized("x", &vector, BlockFormat::Q8_0).is_none(), "a vector");
    assert!(
        FileTensor::quantized("x", &tensor(&[4, 48], &values), BlockFormat::Q8_0).is_none(),
        "rows of 48"
    );
    let tensors = vec![
        quantized("four", BlockFormat::Q4_0),
        FileTensor::kept("whole", &matrix),
        quantized("eight", BlockFormat::Q8_0),
        FileTensor::converted("half", &matrix, Precision::F16),
        FileTensor::kept("vector", &vector),
        FileTensor::kept("number", &number),
        FileTensor::kept("ints", &ints),
        FileTensor::converted("brain", &vector, Precision::Bf16),
    ];
    write_file(&path, tensors, HashMap::from([("k".into(), "v".into())])).expect("writes");
    let back = Checkpoint::open(&path).expect("opens");
    assert_eq!(
        back.names().collect::<Vec<_>>(),
        ["brain", "eight", "four", "half", "ints", "number", "vector", "whole"]
    );
    assert_eq!(back.metadata()["k"], "v");
    assert_eq!(back.tensor("whole").expect("reads"), (values.clone(), vec![3, 64]));
    assert_eq!(back.tensor("number").expect("reads"), (vec![0.5], vec![]));
    assert_eq!(back.ints("ints").expect("reads").0, [0x0101_0101_0101_0101; 2]);
    let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
    assert_eq!(back.stored("half").expect("there").values::<f16>().expect("reads"), halves);
    for (name, format) in [("four", BlockFormat::Q4_0), ("eight", BlockFormat::Q8_0)] {
        let wanted = QuantizedMatrix::quantize(format, 64, &values).expect("quantises");
        let stored = back.stored(name).expect("there");
        assert_eq!(stored.quantized().expect("a matrix").bytes(), wanted.bytes());
        // Blocks that are kept stay as they are.
        let copy = folder.path().join(name);
        write_file(&copy, vec![FileTensor::kept(name, &stored)], HashMap::new()).expect("writes");
        let copy = Checkpoint::open(&copy).expect("opens").stored(name).expect("there");
        assert_eq!((copy.element_type(), copy.bytes()), (stored.element_type(), stored.bytes()));
    }
}

#[test]
fn a_large_tensor_is_converted_in_pieces() {
    let (_folder, path) = file("old.safetensors", b"");
    let (rows, columns) = (3_000, 2_048);
    let large = tensor(&[rows, columns], &waves(rows * columns));
    let tensors = || {
        vec![
            FileTensor::converted("half", &large, Precision::F16),
            FileTensor::quantized("four", &large, BlockFormat::Q4_0).expect("whole blocks"),
        ]
    };
    let (written, peak) = memory::peak(|| write_file(&path, tensors(), HashMap::new()));
    written.expect("writes");
    assert!(peak < large.bytes().len() / 3, "{peak} bytes for a tensor of {}", large.bytes().len());
    let back = Checkpoint::open(&path).expect("opens");
    let halves: Vec<f16> = large.values().expect("reads");
    assert_eq!(back.stored("half").expect("there").values::<f16>().expect("reads"), halves);
    let last = back.stored("four").expect("there").quantized().expect("a matrix").dequantize(rows - 1..rows);
    let wanted = &large.rows(rows - 1..rows).expect("a row").values::<f32>().expect("reads");
    assert!(last.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 0.1));
}

#[test]
fn what_cannot_be_written_leaves_the_old_file() {
    let (_folder, path) = file("a.safetensors", b"old");
    let kept = |name: &str, shape: &[usize], values: &[f32]| FileTensor::kept(name, &tensor(shape, values));
    let broken = |value: f32| {
        let mut values = waves(2_000_000);
        values[1_999_999] = value;
        tensor(&[1_000, 2_000], &values)
    };
    let quantized = FileTensor::quantized("w", &tensor(&[1, 32], &[1e30; 32]), BlockFormat::Q8_0);
    let other = ElementType::Other("F8".into());
    let empty = || Box::new(std::iter::empty());
    let short = |element_type, shape| FileTensor { name: "w".into(), element_type, shape, chunks: empty() };
    for (tensors, words) in [
        (vec![kept("w", &[1], &[1.0]), kept("w", &[1], &[1.0])], "two tensors have this name"),
        (vec![kept("w", &[2], &[1.0, f32::NAN])], "NaN at [1]"),
        (vec![FileTensor::kept("w", &broken(f32::INFINITY))], "from row 524 on: inf at [475, 1999]"),
        (vec![FileTensor::converted("w", &broken(1e6), Precision::F16)], "does not fit F16"),
        (vec![FileTensor::converted("w", &broken(f32::NAN), Precision::F32)], "NaN at [475, 1999]"),
        (quantized.into_iter().collect(), "too large"),
        (vec![short(other, vec![1])], "in F8 cannot be written"),
        (vec![short(ElementType::F32, vec![usize::MAX, 2])], "cannot be written"),
        (vec![short(ElementType::F32, vec![2])], "8 bytes are missing"),
    ] {
        let error = write_file(Path::new(&path), tensors, HashMap::new()).expect_err("cannot").to_string();
        assert!(error.contains(words), "{error}, not {words}");
        assert_eq!(std::fs::read(&path).expect("reads"), b"old");
    }
}
