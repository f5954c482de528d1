//! What a picture lacks, by what the model says of it.

use std::collections::HashSet;

/// Words that say nothing which a caption has to say again: articles, numbers of one, places, and the picture itself.
const BARE: &str = "a an the one single of and with in on at to is are it its there this that some \
    photo picture image drawing painting photograph \
    left right above below over under beneath beside between behind next front top bottom upper lower corner side center middle \
    big small large little";

/// The words of a prompt that a caption of its picture does not say. Singular and plural are one word, and what is behind the
/// things, the background, is left out: captions leave it out as well.
pub fn missing(prompt: &str, caption: &str) -> Vec<String> {
    let bare: HashSet<&str> = BARE.split_whitespace().collect();
    let said: HashSet<String> = words(caption).map(|word| stem(&word)).collect();
    let mut seen = HashSet::new();
    without_background(prompt)
        .into_iter()
        .filter(|word| !bare.contains(word.as_str()) && !said.contains(&stem(word)))
        .filter(|word| seen.insert(stem(word)))
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    parts.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// The words without those of a phrase that ends in "background", from its preposition or comma on.
fn without_background(prompt: &str) -> Vec<String> {
    let mut kept = vec![];
    for clause in prompt.split([',', ';', '.']) {
        let mut clause: Vec<String> = words(clause).collect();
        if let Some(end) = clause.iter().position(|word| word == "background") {
            let start = clause[..end]
                .iter()
                .rposition(|word| ["on", "against", "of", "with", "before"].contains(&word.as_str()));
            clause.drain(start.unwrap_or(0)..=end);
        }
        kept.extend(clause);
    }
    kept
}

/// A word without the ending of its plural.
fn stem(word: &str) -> String {
    let irregular =
        [("mice", "mouse"), ("people", "person"), ("knives", "knife"), ("skis", "ski"), ("buses", "bus")];
    if let Some((_, one)) = irregular.iter().find(|(many, _)| *many == word) {
        return (*one).to_owned();
    }
    for (many, one) in [("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("sses", "ss"), ("ies", "y")] {
        if let Some(stem) = word.strip_suffix(many) {
            return format!("{stem}{one}");
        }
    }
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 1 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_a_caption_leaves_out_is_missing() {
        for (prompt, caption, wanted) in [
            ("a photo of a red apple", "a photo of a red apple", &[][..]),
            ("a red apple", "a photo of an apple", &["red"]),
            ("two yellow cats on a blue background", "a photo of two yellow cats", &[]),
            ("a bird, striped background", "a bird", &[]),
            ("a white sheep in front of a mint background", "a white sheep", &[]),
            ("a green car left of a purple dog", "a photo of a purple dog and a green car", &[]),
            ("a green car left of a purple dog", "a photo of a purple dog", &["green", "car"]),
            ("three orange umbrellas", "a photo of two orange umbrellas", &["three"]),
            ("an apple and an apple", "a dog", &["apple"]),
            ("two benches", "a photo of two bench", &[]),
            ("three knives", "a knife", &["three"]),
            ("a bus", "buses", &[]),
            ("a dragon", "a photo of a dog", &["dragon"]),
            ("A RED Apple!", "red apple.", &[]),
            ("", "a dog", &[]),
        ] {
            assert_eq!(missing(prompt, caption), wanted, "{prompt} | {caption}");
        }
    }
}
