//! JSON as programs write it: Python's has NaN and infinities, which are no JSON.

use serde::de::DeserializeOwned;

/// Parses JSON in which `NaN`, `Infinity` and `-Infinity` count as `null`: such a number is missing, and nothing else is.
///
/// # Errors
/// Where it is no JSON beside that, or not a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes).or_else(|error| match with_nulls(bytes) {
        Some(nulls) => serde_json::from_slice(&nulls),
        None => Err(error),
    })
}

/// The same with `null` for numbers that are none; `None` without such.
fn with_nulls(bytes: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let (mut nulls, mut copied) = (Vec::new(), 0);
    let (mut at, mut in_text) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let word = WORDS.into_iter().find(|word| !in_text && bytes[at..].starts_with(word));
        if let Some(word) = word {
            nulls.extend_from_slice(&bytes[copied..at]);
            nulls.extend_from_slice(b"null");
            copied = at + word.len();
        }
        in_text ^= byte == b'"';
        let escaped = in_text && byte == b'\\';
        at += word.map_or(1 + usize::from(escaped), <[u8]>::len);
    }
    nulls.extend_from_slice(&bytes[copied..]);
    (copied > 0).then_some(nulls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn numbers_that_are_none_are_null() {
        for (text, wanted) in [
            (r#"{"a": NaN}"#, json!({"a": null})),
            (r#"{"a":NaN,"b":1}"#, json!({"a": null, "b": 1})),
            (r#"[Infinity, -Infinity, -1, NaN]"#, json!([null, null, -1, null])),
            (r#"NaN"#, json!(null)),
            (r#"{"NaN": "NaN", "b": NaN}"#, json!({"NaN": "NaN", "b": null})),
            (r#"{"a": "say \"NaN, \\", "b": NaN}"#, json!({"a": "say \"NaN, \\", "b": null})),
            (r#"{"a": "-Infinity"}"#, json!({"a": "-Infinity"})),
            (r#"{"größe": NaN, "b": "果"}"#, json!({"größe": null, "b": "果"})),
            (r#"{"a": {"b": [NaN]}}"#, json!({"a": {"b": [null]}})),
            (r#"{"a": 1}"#, json!({"a": 1})),
        ] {
            assert_eq!(from_slice::<Value>(text.as_bytes()).unwrap(), wanted, "{text}");
        }
        for text in ["", "{", "nan", "NaNa", "{\"a\": NaN", "Inf", "\"NaN", "\"\\"] {
            assert!(from_slice::<Value>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
