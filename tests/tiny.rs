//! Settings of a tiny model, stage by stage: what the tests of the binary and those in a browser train in a moment. Runs lie
//! side by side, that of `pretrain` in `model`.

pub const TOKENIZER: &[&str] = &[
    "size=16",
    "model.ch=4",
    "model.encoder_ch_mult=[1,2]",
    "model.encoder_num_res_blocks=[1,1]",
    "model.decoder_ch_mult=[1,2]",
    "model.decoder_num_res_blocks=[1,1]",
    "model.norm_groups=2",
    "model.z_channels=6",
    "discriminator_width=4",
    "training.batch=4",
];
pub const PRETRAIN: &[&str] = &[
    "image_tokenizer=tokenizer/export",
    "codes=codes",
    "pictures=8",
    "model.image_size=16",
    "model.code_groups=[3,3]",
    "model.text_vocab=300",
    "model.decoder.vocab_size=300",
    "model.decoder.hidden_size=32",
    "model.decoder.intermediate_size=48",
    "model.decoder.num_hidden_layers=2",
    "training.batch=6",
];
pub const VISION: &[&str] = &[
    "size=16",
    "vision.hidden_size=16",
    "vision.intermediate_size=24",
    "vision.num_hidden_layers=2",
    "vision.num_attention_heads=2",
    "vision.num_patches=16",
    "vision.patch_size=4",
    "text.hidden_size=16",
    "text.intermediate_size=24",
    "text.num_hidden_layers=1",
    "text.num_attention_heads=2",
    "text.num_key_value_heads=2",
    "text.vocab_size=300",
    "training.batch=4",
];
pub const SFT: &[&str] = &[
    "model=model/export",
    "vision=vision/export",
    "codes=codes",
    "pictures=8",
    "edit_codes=edit-codes",
    "edits=8",
    "training.batch=8",
];
