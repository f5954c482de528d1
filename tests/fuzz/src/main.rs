//! libFuzzer over the target that UNIGEN_FUZZ_TARGET names; `cargo xtask fuzz` builds and runs it. Before it begins, it writes
//! the target's seeds and the corpus of the repository to the folder UNIGEN_FUZZ_INPUTS.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use unigen_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = set("UNIGEN_FUZZ_TARGET");
    Target::named(&name).unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("fuzz: there is no target {name}; the targets are {}", names.join(", "));
        std::process::exit(2)
    })
});

fn set(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        eprintln!("fuzz: {variable} is not set; run `cargo xtask fuzz`");
        std::process::exit(2)
    })
}

fuzz_target!(
    init: {
        let inputs = set("UNIGEN_FUZZ_INPUTS");
        for (name, bytes) in TARGET.seeds() {
            fs::write(Path::new(&inputs).join(name), bytes).expect("room on the disk");
        }
    },
    |input: &[u8]| -> Corpus {
        if input.len() > TARGET.most {
            return Corpus::Reject;
        }
        TARGET.check(input);
        Corpus::Keep
    }
);
