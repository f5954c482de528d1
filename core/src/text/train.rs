//! Byte-level BPE: training.

use super::special::NAMES;
use super::tokenizer::MAX_VOCABULARY;
use crate::{Error, ErrorKind, Result};
use ahash::AHashMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, SplitDelimiterBehavior, Tokenizer,
};

/// How Qwen2.5 splits text into words before merging (its tokenizer.json).
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Trains a byte-level BPE on `captions` and returns its `tokenizer.json`.
///
/// Ids: the special tokens (0 to 7), the 256 bytes, then merges, at most `vocab_size` in all (at least 264).
/// Words are split as Qwen2.5 does; the words of the chat template count as if they were in every caption.
/// Only pairs seen at least twice merge, so a small corpus gives fewer tokens. Deterministic: the most
/// frequent pair merges first, the pair with the smaller ids among equals, and the order of the captions
/// does not matter (the trainer of the crate `tokenizers` breaks some ties by hash order).
pub fn train_bpe(captions: impl IntoIterator<Item = String>, vocab_size: usize) -> Result<Vec<u8>> {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut names: Vec<String> = NAMES.iter().map(|names| names[0].to_string()).collect();
    names.extend(alphabet.iter().map(char::to_string));
    if !(names.len()..=MAX_VOCABULARY).contains(&vocab_size) {
        let what = format!("{vocab_size} tokens: must be {} to {MAX_VOCABULARY}", names.len());
        return Err(Error::new(ErrorKind::Config, "vocab_size", what));
    }
    let failed = |e: tokenizers::Error| Error::new(ErrorKind::Text, "tokenizer training", e);

    let split = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated, false);
    let bytes = ByteLevel::new(false, false, false);
    let words = Sequence::new(vec![
        PreTokenizerWrapper::Split(split.map_err(failed)?),
        PreTokenizerWrapper::ByteLevel(bytes),
    ]);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for caption in captions {
        for text in [caption.as_str(), "user\n", "assistant\n"] {
            let mut normal = NormalizedString::from(text);
            NFC.normalize(&mut normal).map_err(failed)?;
            let mut pieces = PreTokenizedString::from(normal);
            words.pre_tokenize(&mut pieces).map_err(failed)?;
            for (word, ..) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => _ = counts.insert(word.to_string(), 1),
                }
            }
        }
    }

    let merges = merge_pairs(&counts, &mut names, vocab_size);
    let vocab: AHashMap<String, u32> = names.into_iter().zip(0..).collect();
    let model = BPE::builder().vocab_and_merges(vocab, merges);
    let mut tokenizer = Tokenizer::new(model.build().map_err(failed)?);
    tokenizer
        .with_normalizer(Some(NFC))
        .with_pre_tokenizer(Some(words))
        .with_post_processor(Some(bytes))
        .with_decoder(Some(bytes));
    let special: Vec<AddedToken> = NAMES.iter().map(|names| AddedToken::from(names[0], true)).collect();
    tokenizer.add_special_tokens(&special);
    Ok(tokenizer.to_string(false).map_err(failed)?.into_bytes())
}

/// Merges the most frequent pairs of `words` (with their counts) until there are `vocab_size` names; appends
/// a name a merge and returns the merges in order.
fn merge_pairs(
    words: &BTreeMap<String, u64>,
    names: &mut Vec<String>,
    vocab_size: usize,
) -> Vec<(String, String)> {
    let mut ids: HashMap<String, u32> = names.iter().cloned().zip(0..).collect();
    let mut words: Vec<(Vec<u32>, u64)> = words
        .iter()
        .map(|(word, &count)| {
            (word.chars().filter_map(|c| ids.get(c.to_string().as_str()).copied()).collect(), count)
        })
        .collect();
    let mut counts: HashMap<(u32, u32), u64> = HashMap::new();
    let mut places: HashMap<(u32, u32), BTreeSet<usize>> = HashMap::new();
    for (place, (word, count)) in words.iter().enumerate() {
        for pair in pairs(word) {
            *counts.entry(pair).or_default() += count;
            places.entry(pair).or_default().insert(place);
        }
    }

    let mut merges = Vec::new();
    while names.len() < vocab_size {
        let best = counts.iter().max_by_key(|&(&pair, &count)| (count, Reverse(pair)));
        let Some(((left, right), _)) = best.map(|(&p, &c)| (p, c)).filter(|&(_, count)| count >= 2) else {
            break;
        };
        let (first, second) = (names[left as usize].clone(), names[right as usize].clone());
        // Two different pairs can spell the same token.
        let merged = *ids.entry(format!("{first}{second}")).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() as u32 - 1
        });
        merges.push((first, second));
        for place in places.remove(&(left, right)).unwrap_or_default() {
            let (word, count) = &mut words[place];
            for pair in pairs(word) {
                if let Some(seen) = counts.get_mut(&pair) {
                    *seen -= *count;
                }
            }
            let mut kept = 0;
            for i in 0..word.len() {
                if kept > 0 && word[kept - 1] == left && word[i] == right {
                    word[kept - 1] = merged;
                } else {
                    word[kept] = word[i];
                    kept += 1;
                }
            }
            word.truncate(kept);
            for pair in pairs(word) {
                *counts.entry(pair).or_default() += *count;
                places.entry(pair).or_default().insert(place);
            }
        }
        counts.remove(&(left, right));
    }
    merges
}

/// Neighbours in a word.
fn pairs(word: &[u32]) -> impl Iterator<Item = (u32, u32)> + '_ {
    word.windows(2).map(|pair| (pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use super::super::TextTokenizer;
    use super::super::tokenizer::tests::captions;
    use super::*;

    #[test]
    fn training_is_deterministic() {
        let bytes = train_bpe(captions(), 400).unwrap();
        assert_eq!(bytes, train_bpe(captions().into_iter().rev(), 400).unwrap());
        let sizes = [264, 300].map(|size| {
            TextTokenizer::from_bytes(&train_bpe(captions(), size).unwrap()).unwrap().vocab_size()
        });
        assert_eq!(sizes, [264, 300]);
        assert!(train_bpe(captions(), 263).is_err());
        assert!(train_bpe(captions(), usize::MAX).is_err());
    }

    /// The first merges of a tiny corpus, worked out by hand.
    #[test]
    fn merges_by_hand() {
        let mut names: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let words = BTreeMap::from([("aaab".to_string(), 2), ("abc".to_string(), 3)]);
        // aa 4, ab 5, bc 3: ab. Then aa 2, a+ab 2, ab+c 3: abc. Then aa 2 and a+ab 2: the smaller ids, aa.
        let merges = merge_pairs(&words, &mut names, 9);
        let merges: Vec<String> = merges.iter().map(|(a, b)| format!("{a}+{b}")).collect();
        assert_eq!(merges, ["a+b", "ab+c", "a+a", "aa+ab"]);
        assert_eq!(names[3..], ["ab", "abc", "aa", "aaab"]);
    }
}
