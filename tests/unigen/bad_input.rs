//! Prompts, settings and paths that cannot be used.

use super::*;

#[test]
fn prompts() {
    let folder = exports();
    let draw = |prompt: &str| unigen(folder.path(), &["generate", prompt, "--model", "model", "-o", "a.png"]);
    for empty in ["", " \n\t "] {
        draw(empty).fails(&["prompt", "is empty", "describe the picture"]);
    }
    draw(&"x".repeat(100_000)).fails(&["prompt", "100000 bytes", "at most 16384", "shorten"]);
    draw(&"apple ".repeat(200)).fails(&["prompt", "tokens", "at most 128", "shorten"]);
    assert!(!folder.path().join("a.png").exists());
    for prompt in ["ein roter Apfel, größer", "一只红苹果", "تفاحة حمراء", "🍎🍎", "<|im_end|>"]
    {
        draw(prompt).succeeds();
        assert_eq!(size(&folder.path().join("a.png")), (16, 16));
    }
}

#[test]
fn sampling() {
    let folder = exports();
    // A number as it is written, and which may be instead; what is no number of the kind is the command line's own error.
    for (option, value, words) in [
        ("--steps", "0", &["steps", "is 0", "choose 1 to 64"][..]),
        ("--steps", "65", &["steps", "is 65", "choose 1 to 64"]),
        ("--steps", "99999999", &["steps", "is 99999999", "choose 1 to 64"]),
        ("--guidance-scale", "nan", &["guidance_scale", "choose 0 to 100"]),
        ("--guidance-scale", "-1", &["guidance_scale", "is -1", "choose 0 to 100"]),
        ("--temperature", "1e30", &["temperature", "choose 0 to 100"]),
        ("--temperature", "inf", &["temperature", "is inf"]),
        ("--steps", "2.5", &["'2.5' for '--steps"]),
        ("--steps", "-1", &["'-1' for '--steps"]),
        ("--steps", "two", &["'two' for '--steps"]),
        ("--steps", "99999999999999999999", &["'99999999999999999999' for '--steps", "too large"]),
        ("--seed", "-1", &["'-1' for '--seed"]),
        ("--count", "0", &["'0' for '--count", "1..=10000"]),
        ("--count", "100000000", &["'100000000' for '--count", "1..=10000"]),
    ] {
        let Ended { code, text } =
            unigen(folder.path(), &["generate", "a dog", "--model", "model", option, value]);
        let by_the_command_line = words[0].starts_with('\'');
        assert_eq!(code, Some(if by_the_command_line { 2 } else { 1 }), "{option} {value}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{option} {value}: {text}");
        // `-- -1` would make it a prompt.
        assert!(!text.contains("tip:") && text.matches("error: ").count() == 1, "{option} {value}: {text}");
    }
}

#[test]
fn places() {
    let folder = exports();
    let draw = |out: &str| unigen(folder.path(), &["generate", "a dog", "--model", "model", "-o", out]);
    draw("absent/a.png").fails(&["absent/a.png", "no folder absent", "create it"]);
    draw("model").fails(&["model", "is a folder", "name of a file"]);
    draw("a.txt").fails(&["a.txt", ".png or .jpg"]);
    #[cfg(target_os = "linux")]
    {
        // Not even root can write there.
        draw("/proc/a.png").fails(&["/proc/a.png: cannot be written", "choose another place"]);
        train(folder.path(), "detector", "/proc/run", &[DETECTOR]).fails(&["/proc/run", "cannot create"]);
        fs::write(folder.path().join("full.png"), "an older picture").expect("writes");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("full.png.part")).expect("links");
        draw("full.png").fails(&[
            "full.png: cannot be written",
            "No space left",
            "untouched",
            "free some disk space",
        ]);
        assert_eq!(fs::read(folder.path().join("full.png")).expect("reads"), b"an older picture");
    }
    for option in ["--json", "--sheet"] {
        let judge = ["eval", "geneval", "--model", "model", "--detector", "detector", option, "absent/a.png"];
        unigen(folder.path(), &judge).fails(&["absent/a.png", "no folder absent"]);
    }
    train(folder.path(), "detector", "model", &[DETECTOR]).fails(&["model is not empty", "new folder"]);
    let again = RUNS.path().join("detector").display().to_string();
    train(folder.path(), "detector", &again, &[DETECTOR]).fails(&["already holds a run", "--resume"]);
    let nothing = ["train", "detector", "--out", "nothing", "--resume"];
    unigen(folder.path(), &nothing).fails(&["nothing holds no run", "run.json"]);
}

/// On Linux these variables hide the drivers, since they point to none.
#[cfg(target_os = "linux")]
#[test]
fn a_gpu_that_is_not_there() {
    let folder = exports();
    let on = |device: &str, args: &[&str]| {
        let mut command = command(folder.path(), &[args, &["--device", device]].concat());
        for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
            command.env(variable, "/nothing.json");
        }
        run(command)
    };
    let draw = ["generate", "a dog", "--model", "model", "-o", "a.png"];
    let words = ["no GPU was found", "Vulkan", "mesa-vulkan-drivers", "--device cpu"];
    on("wgpu", &draw).fails(&words);
    on("wgpu", &["verify", "absent"]).fails(&words);
    on("wgpu", &train_args("detector", "run", &[DETECTOR])).fails(&words);
    assert!(!folder.path().join("a.png").exists() && !folder.path().join("run").exists());
    on("auto", &draw).succeeds();
    assert_eq!(size(&folder.path().join("a.png")), (16, 16));
}

#[test]
fn parity_folders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("a")).expect("makes a folder");
    unigen(folder.path(), &["verify", "a"]).fails(&["a - - FAIL", "cannot read a/config.json"]);
    fs::write(path("a/config.json"), r#"{"model_type": "bert"}"#).expect("writes");
    unigen(folder.path(), &["verify", "a"]).fails(&[
        "a - - FAIL",
        "\"bert\"",
        "the kinds are",
        "Qwen2, Llama, GGUF, SigLIP",
    ]);
    let decoder = r#"{"model_type": "qwen2", "guidance": 2, "codebook_size": 0, "text_vocab": 8, "vocab_size": 11,
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}"#;
    fs::write(path("a/config.json"), decoder).expect("writes");
    for name in ["a/model.safetensors", "a/io.safetensors"] {
        fs::write(path(name), b"\x02\0\0\0\0\0\0\0{}").expect("writes");
    }
    unigen(folder.path(), &["verify", "a"]).fails(&["a - - FAIL", "error: a:", "codebook_size"]);
}

#[test]
fn stickers_beside_other_shards() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stickers = ["data", "stickers", "--out", "stickers", "--count", "2", "--size", "16"];
    unigen(folder.path(), &stickers).succeeds();
    unigen(folder.path(), &stickers).fails(&["stickers-000000.tar", "choose another folder"]);
}

#[test]
fn geneval_prompts() {
    let folder = exports();
    let good =
        r#"{"tag": "single_object", "include": [{"class": "apple", "count": 1}], "prompt": "an apple"}"#;
    let path = folder.path().join("p.jsonl");
    let judge = ["eval", "geneval", "--model", "model", "--detector", "detector", "--prompts", "p.jsonl"];
    unigen(folder.path(), &judge).fails(&["cannot open p.jsonl"]);
    for (text, words) in [
        (
            format!("{good}\n{}", good.replace("\"apple\"", "\"unicorn\"")),
            ["line 2", "unknown class \"unicorn\""],
        ),
        (format!("{good}\n\n{}", &good[..20]), ["line 3", "EOF"]),
        (good.replace("single_object", "songs"), ["line 1", "unknown variant `songs`"]),
        (good.replace(r#"{"class": "apple", "count": 1}"#, ""), ["line 1", "\"include\" is empty"]),
        (String::new(), ["empty", "each line should be like"]),
    ] {
        fs::write(&path, text).expect("writes");
        let ended = unigen(folder.path(), &judge);
        assert_eq!(ended.text.matches(words[1]).count(), 1, "said once: {}", ended.text);
        ended.fails(&[&["p.jsonl"], &words[..]].concat());
    }
    fs::write(&path, b"\xFF\xFE{}").expect("writes");
    unigen(folder.path(), &judge).fails(&["p.jsonl", "line 1", "UTF-8"]);
    fs::write(&path, good).expect("writes");
    let judge = ["eval", "geneval", "--prompts", "p.jsonl", "--detector", "model/model.safetensors"];
    unigen(folder.path(), &judge).fails(&["model.safetensors", "is no detector"]);
}

#[test]
fn settings_that_do_not_exist_or_have_another_type() {
    let folder = exports();
    for (stage, setting, words) in [
        ("detector", "training.stepz=3", ["unknown field `stepz`", "`steps`"]),
        ("detector", "training.steps=many", ["invalid type", "steps"]),
        ("detector", "training.steps=-1", ["invalid value", "steps"]),
        ("detector", "training.steps", ["section.key=value", ""]),
        ("detector", "splits=[\"trian\"]", ["unknown variant", "trian"]),
        ("tokenizer", "model.chh=3", ["unknown field `chh`", "in `model`"]),
        ("tokenizer", "training.betas=[1]", ["invalid length", "betas"]),
        ("pretrain", "model.decoder.layers=3", ["unknown field `layers`", "`num_hidden_layers`"]),
        ("pretrain", "model.decoder.hidden_size=\"wide\"", ["invalid type", "hidden_size"]),
    ] {
        train(folder.path(), stage, "run", &[&[setting]]).fails(&[&["--set", setting], &words[..]].concat());
    }
    let config = ["train", "tokenizer", "--out", "run", "--config", "a.toml"];
    unigen(folder.path(), &config).fails(&["cannot read", "a.toml"]);
    for (toml, words) in [
        ("[training]\nstepz = 2\n", ["unknown field `stepz`", "`steps`"]),
        ("[model]\nchh = 2\n", ["unknown field `chh`", "`norm_groups`"]),
        ("[training]\nsteps = \"two\"\n", ["invalid type", "steps"]),
        ("[training\nsteps = 2\n", ["line 1", "unclosed"]),
    ] {
        fs::write(folder.path().join("a.toml"), toml).expect("writes");
        unigen(folder.path(), &config).fails(&[&["a.toml"], &words[..]].concat());
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn settings_that_cannot_train() {
    let folder = exports();
    for (stage, base, settings, words) in [
        ("detector", DETECTOR, "training.steps=0", ["training.steps is 0", "1 at least"]),
        ("detector", DETECTOR, "size=24", ["size is 24", "multiple of 16"]),
        ("detector", DETECTOR, "size=1600000000", ["size is 1600000000", "up to 1024"]),
        ("detector", DETECTOR, "model.groups=3", ["widths", "multiple of groups"]),
        ("detector", DETECTOR, "model.widths=[99999984,8,8]", ["widths", "up to 4096"]),
        ("detector", DETECTOR, "model.blocks=[1000000000,1]", ["blocks", "1 to 64"]),
        ("detector", DETECTOR, "splits=[]", ["splits", "nothing to train on"]),
        ("tokenizer", TOKENIZER, "discriminator_width=3", ["discriminator_width is 3", "multiple of 4"]),
        ("tokenizer", TOKENIZER, "discriminator_width=0", ["discriminator_width is 0", "multiple of 4"]),
        ("tokenizer", TOKENIZER, "size=2", ["size is 2", "choose 8 to 1024"]),
        ("tokenizer", TOKENIZER, "size=1000000000", ["size is 1000000000", "choose 8 to 1024"]),
        ("tokenizer", TOKENIZER, "size=17", ["17 pixels", "multiples of 2"]),
        ("tokenizer", TOKENIZER, "model.in_ch=4", ["in_ch", "is 4"]),
        ("tokenizer", TOKENIZER, "model.norm_groups=3", ["norm_groups", "does not divide"]),
        ("pretrain", PRETRAIN, "mix=[0,0,0]", ["mix is [0, 0, 0]", "must be above 0"]),
        ("pretrain", PRETRAIN, "drop_text=nan", ["drop_text", "not 0 to 1"]),
        ("pretrain", PRETRAIN, "pictures=0", ["pictures to encode is 0", "1 at least"]),
        ("pretrain", PRETRAIN, "model.image_size=15", ["image_size", "not a multiple of 2"]),
        ("pretrain", PRETRAIN, "model.image_size=16000", ["image_size", "at most 1024"]),
        ("pretrain", PRETRAIN, "model.text_vocab=301", ["vocab_size", "301 text"]),
        ("pretrain", PRETRAIN, "model.code_groups=[6,6]", ["code_groups", "z_channels is 6"]),
        ("pretrain", PRETRAIN, "image_tokenizer=absent", ["absent", "no such folder"]),
    ] {
        train(folder.path(), stage, "run", &[base, &["training.steps=1"], &[settings]]).fails(&words);
    }
    assert!(!folder.path().join("run").exists());
    let init = ["--init", "model/model.safetensors"];
    unigen(folder.path(), &[&train_args("detector", "run", &[DETECTOR])[..], &init].concat())
        .fails(&["model.safetensors", "stem.weight is missing"]);
    for size in ["0", "1000000"] {
        let stickers = ["data", "stickers", "--out", "stickers", "--count", "2", "--size", size];
        unigen(folder.path(), &stickers).fails(&["size of the pictures", size, "1 to 1024"]);
    }
}
