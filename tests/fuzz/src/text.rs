//! Tokenizers, and what they make of a text.

use crate::{Seed, Target, repository, text};
use unigen_core::config::SpecialTokens;
use unigen_core::text::{TextTokenizer, train_bpe};

pub const TOKENIZER: Target =
    Target { name: "tokenizer", memory: [4 << 20, 2048], most: 16_384, load, seeds };

fn load(input: &[u8]) {
    let showo = SpecialTokens::showo(300, 256);
    for tokenizer in
        [TextTokenizer::from_bytes(input), TextTokenizer::of_model(input, &showo)].into_iter().flatten()
    {
        let tokens = tokenizer.encode("a red apple <|im_end|>\n\t果 1234").unwrap_or_default();
        tokenizer.decode(&tokens);
        tokenizer.decode(&[0, 1, 255, 256, u32::MAX]);
        let _ = tokenizer.encode_question("how many?", 4);
    }
    let _ = TextTokenizer::tokens_in(input);
    let _ = TextTokenizer::with_image_tokens(input);
}

fn seeds() -> Vec<Seed> {
    let captions = ["a red apple", "two blue cars", "a cat left of a dog"].map(String::from);
    let trained = train_bpe(captions, 280).expect("a tokenizer");
    let small = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<|endoftext|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},{"id":4,"content":"<|im_start|>","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false},{"id":5,"content":"<|im_end|>","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+|\\p{N}"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]},"post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}"#;
    let unigram = r#"{"version":"1.0","added_tokens":[],"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["a",-1.5]]}}"#;
    let mut seeds = vec![("trained".into(), trained), text("small", small), text("unigram", unigram)];
    // The rest of a large vocabulary says nothing new.
    let (name, nano) = repository("models/nano/tokenizer.json");
    seeds.extend((nano.len() <= TOKENIZER.most).then_some((name, nano)));
    seeds
}
