//! Archives of PyTorch.

use super::files::{archive, file, floats, pickle};
use half::f16;
use unigen_core::weights::{Checkpoint, ElementType};

/// `{"epoch": 3, "state_dict": OrderedDict(..)}`.
pub fn checkpoint() -> Vec<u8> {
    let tensor = pickle::tensor;
    let state = pickle::dict(&[
        ("visual.class_embedding", tensor("0", "FloatStorage", 1, &[2], &[1])),
        ("visual.proj", tensor("0", "FloatStorage", 0, &[2, 3], &[3, 1])),
        ("visual.attn.in_proj_weight", tensor("1", "HalfStorage", 0, &[3, 1], &[1, 1])),
        ("steps", tensor("2", "LongStorage", 0, &[1], &[1])),
        ("turned", tensor("0", "FloatStorage", 0, &[2, 3], &[1, 2])),
        ("expanded", tensor("0", "FloatStorage", 0, &[200, 3], &[0, 1])),
        ("beyond", tensor("1", "HalfStorage", 2, &[2], &[1])),
        ("absent", tensor("9", "HalfStorage", 0, &[2], &[1])),
        ("packed", tensor("1", "QInt8Storage", 0, &[2], &[1])),
    ]);
    let whole = [b"}q\x00(", &pickle::text("epoch")[..], b"K\x03", &pickle::text("state_dict"), &state, b"u"];
    let halves = [0.5, 1.5, 2.5].iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    archive(&[
        ("hps/data.pkl", pickle::whole(&whole.concat())),
        ("hps/byteorder", b"little".to_vec()),
        ("hps/data/0", floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
        ("hps/data/1", halves),
        ("hps/data/2", 5_i64.to_le_bytes().to_vec()),
    ])
}

#[test]
fn a_state_dict_is_read() {
    let (_folder, path) = file("a.pt", &checkpoint());
    let file = Checkpoint::open(&path).expect("opens");
    assert_eq!(file.names().count(), 9);
    assert_eq!(file.tensor("state_dict.visual.class_embedding").expect("reads"), (vec![1.0, 2.0], vec![2]));
    let halves = "state_dict.visual.attn.in_proj_weight";
    assert_eq!(file.tensor(halves).expect("reads"), (vec![0.5, 1.5, 2.5], vec![3, 1]));
    assert_eq!(file.element_type(halves), Some(&ElementType::F16));
    assert_eq!(file.ints("state_dict.steps").expect("reads"), (vec![5], vec![1]));
    for (name, part) in [
        ("steps", "I64"),
        ("turned", "strides"),
        ("expanded", "strides"),
        ("beyond", "beyond"),
        ("absent", "storage 9 is not in the file"),
        ("packed", "QInt8Storage"),
        ("x", "no such"),
    ] {
        let error = file.tensor(&format!("state_dict.{name}")).expect_err("unreadable").to_string();
        assert!(error.contains(part) && error.contains("a.pt"), "{error}");
    }
}

#[test]
fn a_dictionary_that_is_mentioned_twice_is_there_twice() {
    // Memorised while it is empty, as Python does, and filled then.
    let tensor = pickle::tensor("0", "FloatStorage", 0, &[1], &[1]);
    let filled = [b"}q\x05", &pickle::text("w")[..], &tensor, b"s"].concat();
    let object = [b"}", &pickle::text("model")[..], &filled, b"s", &pickle::text("ema"), b"h\x05s"].concat();
    let bytes = archive(&[("x/data.pkl", pickle::whole(&object)), ("x/data/0", floats(&[2.0]))]);
    let file = Checkpoint::from_bytes("x.pt", bytes).expect("opens");
    assert_eq!(file.names().collect::<Vec<_>>(), ["ema.w", "model.w"]);
    assert_eq!(file.tensor("ema.w").expect("reads").0, [2.0]);
}
