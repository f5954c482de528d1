//! Every loader survives its seeds and the corpus: inputs that once broke it, and those that the fuzzer found worth keeping.

use std::fs;
use unigen_fuzz::TARGETS;

#[test]
fn loaders_survive_the_corpus() {
    for target in TARGETS {
        let seeds = target.seeds();
        assert!(seeds.len() >= 2, "{} has few seeds", target.name);
        for (name, input) in &seeds {
            println!("{}: {name}", target.name);
            target.check(input);
        }
        for file in fs::read_dir(target.corpus()).into_iter().flatten() {
            let path = file.expect("an entry").path();
            println!("{}", path.display());
            target.check(&fs::read(&path).expect("an input"));
        }
    }
}
