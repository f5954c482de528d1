//! A vision-language model that answers questions about pictures for a protocol.

use image::RgbImage;

/// Pictures and a question about them.
#[derive(Debug, Clone)]
pub struct Asked {
    pub images: Vec<RgbImage>,
    pub text: String,
    /// The longest answer, in tokens.
    pub max_tokens: usize,
}

/// Answers questions, or says why not. An answer that is missing is not a wrong answer.
pub trait Ask {
    /// The name of the model and where it is, for reports.
    fn name(&self) -> String;

    /// One answer for each question, in order.
    fn ask(&self, asked: &[Asked]) -> Vec<Result<String, String>>;
}

/// Whether an answer begins with yes or no; `None` if it does neither.
pub fn yes_or_no(answer: &str) -> Option<bool> {
    let first = answer.trim_start_matches(|c: char| !c.is_alphanumeric());
    let end = first.find(|c: char| !c.is_alphanumeric()).unwrap_or(first.len());
    match first[..end].to_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_begin_with_yes_or_no() {
        for (answer, wanted) in [
            ("yes", Some(true)),
            ("**No**, it is blue.", Some(false)),
            (" Yes.\n", Some(true)),
            ("not really", None),
            ("yesterday", None),
            ("", None),
            ("…", None),
        ] {
            assert_eq!(yes_or_no(answer), wanted, "{answer}");
        }
    }
}
