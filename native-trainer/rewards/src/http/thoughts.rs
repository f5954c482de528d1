//! Models that think aloud before they answer.

/// An answer without its thoughts, `<think>..</think>` and the like. A thought without a beginning began in
/// the prompt; one without an end was cut off.
pub(super) fn without_thoughts(text: &str) -> String {
    const TAGS: [(&str, &str); 6] = [
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("[think]", "[/think]"),
        ("◁think▷", "◁/think▷"),
    ];
    // This keeps the positions of all bytes.
    let lower = text.to_ascii_lowercase();
    let (mut said, mut at) = (String::new(), 0);
    let tag = |from: usize, which: fn(&(&'static str, &'static str)) -> &'static str| {
        let found =
            TAGS.iter().map(which).filter_map(|tag| Some((from + lower[from..].find(tag)?, tag.len())));
        found.min()
    };
    loop {
        let (open, close) = (tag(at, |tags| tags.0), tag(at, |tags| tags.1));
        match (open, close) {
            (_, Some((end, length))) if open.is_none_or(|(start, _)| end < start) => {
                said.clear();
                at = end + length;
            }
            (Some((start, length)), _) => {
                said.push_str(&text[at..start]);
                match tag(start + length, |tags| tags.1) {
                    Some((end, length)) => at = end + length,
                    None => return said,
                }
            }
            _ => return said + &text[at..],
        }
    }
}
