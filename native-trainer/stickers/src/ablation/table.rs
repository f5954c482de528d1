//! The table of results beside the paper's.

use super::{Arm, Cases, Estimate, Results, Scores};
use std::fmt::Write;

/// GenEval, DPG-Bench and ImgEdit of UniGen-1.5, 7B (arXiv 2511.14760, tables of the ablations).
fn paper(arm: Arm) -> Option<[f64; 3]> {
    Some(match arm {
        Arm::Unaligned => [0.83, 83.92, 3.87],
        Arm::Aligned => [0.85, 84.19, 3.93],
        Arm::Generate => [0.90, 86.62, 4.01],
        Arm::Edit => [0.85, 86.39, 4.32],
        Arm::Both => [0.89, 86.83, 4.31],
        Arm::UnalignedBoth => [0.90, 86.96, 4.08],
        Arm::Consistent => return None,
    })
}

/// A claim, and a difference for one seed that is above 0 if the claim holds.
struct Sign {
    claim: &'static str,
    /// The paper's difference.
    paper: Option<f64>,
    difference: fn(&Results, u64) -> Option<Cases>,
}

/// A sign counts if the difference is more than this many standard errors.
const SURE: f64 = 2.0;

/// The difference between two arms with the same seed, case by case.
fn gain(results: &Results, seed: u64, [to, from]: [Arm; 2], of: Measure) -> Option<Cases> {
    let cases = |arm| of(results.get(&(arm, seed))?);
    cases(to)?.minus(cases(from)?)
}

/// Cases of an arm.
type Measure = fn(&Scores) -> Option<&Cases>;

const GENEVAL: Measure = |scores| Some(&scores.geneval);
const IMGEDIT: Measure = |scores| Some(&scores.imgedit);
const PRESERVATION: Measure = |scores| Some(&scores.preservation);
const FLAT: Measure = |scores| Some(&scores.training.as_ref()?.flat_edits);
const SPREAD: Measure = |scores| Some(&scores.training.as_ref()?.spread_edits);

const SIGNS: [Sign; 10] = [
    Sign {
        claim: "RL on generation lifts GenEval",
        paper: Some(0.05),
        difference: |all, seed| gain(all, seed, [Arm::Generate, Arm::Aligned], GENEVAL),
    },
    Sign {
        claim: "RL on editing lifts ImgEdit",
        paper: Some(0.39),
        difference: |all, seed| gain(all, seed, [Arm::Edit, Arm::Aligned], IMGEDIT),
    },
    Sign {
        claim: "RL on both lifts GenEval",
        paper: Some(0.04),
        difference: |all, seed| gain(all, seed, [Arm::Both, Arm::Aligned], GENEVAL),
    },
    Sign {
        claim: "RL on both lifts ImgEdit",
        paper: Some(0.38),
        difference: |all, seed| gain(all, seed, [Arm::Both, Arm::Aligned], IMGEDIT),
    },
    Sign {
        claim: "RL on generation alone lifts ImgEdit too",
        paper: Some(0.08),
        difference: |all, seed| gain(all, seed, [Arm::Generate, Arm::Aligned], IMGEDIT),
    },
    Sign {
        claim: "alignment alone lifts ImgEdit",
        paper: Some(0.06),
        difference: |all, seed| gain(all, seed, [Arm::Aligned, Arm::Unaligned], IMGEDIT),
    },
    Sign {
        claim: "alignment makes the gain of ImgEdit from RL larger",
        paper: Some(0.17),
        difference: |all, seed| {
            let aligned = gain(all, seed, [Arm::Both, Arm::Aligned], IMGEDIT)?;
            aligned.minus(&gain(all, seed, [Arm::UnalignedBoth, Arm::Unaligned], IMGEDIT)?)
        },
    },
    Sign {
        claim: "alignment shrinks the share of edits whose samples are all alike",
        paper: None,
        difference: |all, seed| gain(all, seed, [Arm::UnalignedBoth, Arm::Both], FLAT),
    },
    Sign {
        claim: "alignment makes the rewards of an edit's samples differ more",
        paper: None,
        difference: |all, seed| gain(all, seed, [Arm::Both, Arm::UnalignedBoth], SPREAD),
    },
    Sign {
        claim: "beyond the paper: the consistency reward lifts ImgEdit's preservation",
        paper: None,
        difference: |all, seed| gain(all, seed, [Arm::Consistent, Arm::Both], PRESERVATION),
    },
];

/// The results as Markdown: the paper's two tables with its numbers beside ours, which are means over the seeds with
/// their standard errors. A last table states for each claim whether its sign is reproduced. A dash stands for a result
/// that is missing.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    let head = |text: &mut String, first: &str| {
        *text += &format!(
            "| {first} | GenEval | paper | ImgEdit | paper | preservation | edits all alike | spread of edits | minutes of RL | DPG-Bench, paper |\n\
             |{}---|---|---|---|---|---|---|---|---|\n",
            "---|".repeat(first.split('|').count())
        );
    };
    text += "Which tasks take part in reinforcement learning, after alignment:\n\n";
    head(&mut text, "generation | editing");
    for arm in [Arm::Aligned, Arm::Generate, Arm::Edit, Arm::Both] {
        let [generate, edit] = arm.tasks().map(mark);
        row(&mut text, &format!("{generate} | {edit}"), arm, results);
    }
    text += "\nEdit instruction alignment before it:\n\n";
    head(&mut text, "alignment | RL");
    for arm in [Arm::Unaligned, Arm::Aligned, Arm::UnalignedBoth, Arm::Both] {
        let trained = arm.tasks() != [false, false];
        row(&mut text, &format!("{} | {}", mark(arm.aligned()), mark(trained)), arm, results);
    }
    text += "\nA reward for leaving alone what an edit does not ask for (RL on both, after alignment):\n\n";
    head(&mut text, "consistency");
    for arm in [Arm::Both, Arm::Consistent] {
        row(&mut text, mark(arm == Arm::Consistent), arm, results);
    }
    text += "\n| Sign | paper | ours, mean over seeds | reproduced |\n|---|---|---|---|\n";
    for sign in &SIGNS {
        let paper = sign.paper.map_or("stated".to_owned(), |paper| format!("{paper:+.2}"));
        let paper = if sign.claim.starts_with("beyond") { "-".to_owned() } else { paper };
        let (ours, verdict) = verdict(sign, results);
        _ = writeln!(text, "| {} | {paper} | {ours} | {verdict} |", sign.claim);
    }
    text
}

fn row(text: &mut String, first: &str, arm: Arm, results: &Results) {
    let of_arm = || results.iter().filter(|((of, _), _)| *of == arm).map(|(_, scores)| scores);
    let ours = |digits: usize, measure: Measure| {
        let values: Vec<Estimate> = of_arm().filter_map(|scores| measure(scores)?.estimate()).collect();
        Estimate::mean(&values).map_or("-".to_owned(), |mean| format!("{mean:.digits$}"))
    };
    let seconds: Vec<f64> = of_arm().filter_map(|scores| Some(scores.training.as_ref()?.seconds)).collect();
    let minutes =
        Estimate::of(&seconds).map_or("-".to_owned(), |seconds| format!("{:.0}", seconds.mean / 60.0));
    let paper = |place: usize| paper(arm).map_or("-".to_owned(), |numbers| format!("{:.2}", numbers[place]));
    _ = writeln!(
        text,
        "| {first} | {} | {} | {} | {} | {} | {} | {} | {minutes} | {} |",
        ours(3, GENEVAL),
        paper(0),
        ours(2, IMGEDIT),
        paper(2),
        ours(2, PRESERVATION),
        ours(3, FLAT),
        ours(3, SPREAD),
        paper(1),
    );
}

fn mark(yes: bool) -> &'static str {
    if yes { "yes" } else { "-" }
}

/// Our difference, and whether it reproduces the claim.
fn verdict(sign: &Sign, results: &Results) -> (String, &'static str) {
    let mut seeds: Vec<u64> = results.keys().map(|(_, seed)| *seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let differences = seeds.iter().filter_map(|&seed| (sign.difference)(results, seed)?.estimate());
    let Some(difference) = Estimate::mean(&differences.collect::<Vec<_>>()) else {
        return ("-".into(), "not run yet");
    };
    let verdict = match difference.mean {
        mean if mean.abs() <= SURE * difference.error => "within the error",
        mean if mean > 0.0 => "yes",
        _ => "no",
    };
    (format!("{difference:+.3}"), verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablation::Training;

    /// Scores with two cases each, which lie `apart` from their mean.
    fn scores(geneval: f64, imgedit: f64, preservation: f64, apart: f64, flat_edits: Option<f64>) -> Scores {
        let of = |mean| Cases(vec![vec![mean - apart, mean + apart]]);
        let training = flat_edits.map(|flat| Training {
            flat_edits: of(flat),
            spread_edits: of(0.5 - flat),
            seconds: 120.0,
            ..Training::default()
        });
        Scores { geneval: of(geneval), imgedit: of(imgedit), preservation: of(preservation), training }
    }

    fn line<'a>(text: &'a str, words: &str) -> &'a str {
        text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words} in {text}"))
    }

    #[test]
    fn numbers_stand_beside_the_papers_and_signs_are_counted() {
        let mut results = Results::new();
        for (seed, more) in [(0, 0.0), (1, 0.1)] {
            results.insert((Arm::Unaligned, seed), scores(0.5, 2.0, 3.0, 0.02, None));
            results.insert((Arm::Aligned, seed), scores(0.5, 2.0, 3.0, 0.02, None));
            results.insert((Arm::Both, seed), scores(0.6, 2.5, 3.0 + more, 0.04, Some(0.1)));
            results.insert((Arm::UnalignedBoth, seed), scores(0.6, 2.7, 3.0, 0.02, Some(0.3)));
            results.insert((Arm::Consistent, seed), scores(0.6, 2.5, 3.06, 0.02, Some(0.1)));
        }
        let text = table(&results);
        // Two cases 0.08 apart have an error of 0.04, and the mean over two seeds one of 0.04 / √2.
        assert_eq!(
            line(&text, "| yes | yes | 0.600"),
            "| yes | yes | 0.600 ± 0.028 | 0.89 | 2.50 ± 0.03 | 4.31 | 3.05 ± 0.03 | 0.100 ± 0.028 | 0.400 ± 0.028 | 2 | 86.83 |"
        );
        assert_eq!(line(&text, "| yes | - | -"), "| yes | - | - | 0.90 | - | 4.01 | - | - | - | - | 86.62 |");
        // Case by case, only the differences of the cases remain.
        for (claim, end) in [
            ("RL on both lifts GenEval", "+0.04 | +0.100 ± 0.014 | yes |"),
            ("RL on generation lifts GenEval", "+0.05 | - | not run yet |"),
            ("alignment alone lifts", "+0.06 | +0.000 ± 0.000 | within the error |"),
            ("gain of ImgEdit from RL larger", "+0.17 | -0.200 ± 0.014 | no |"),
            ("samples are all alike", "stated | +0.200 ± 0.014 | yes |"),
            ("differ more", "stated | +0.200 ± 0.014 | yes |"),
            ("beyond the paper", "- | +0.010 ± 0.014 | within the error |"),
        ] {
            assert!(line(&text, claim).ends_with(end), "{}", line(&text, claim));
        }
    }

    /// The differences are those of the paper's own numbers.
    #[test]
    fn the_papers_signs_are_the_papers() {
        let of = |arm| paper(arm).map(|[geneval, _, imgedit]| scores(geneval, imgedit, 0.0, 0.0, None));
        let results: Results = Arm::ALL.into_iter().filter_map(|arm| Some(((arm, 0), of(arm)?))).collect();
        for sign in &SIGNS {
            if let Some(wanted) = sign.paper {
                let found = (sign.difference)(&results, 0).unwrap().estimate().unwrap().mean;
                assert!((found - wanted).abs() < 1e-9, "{}: {found}", sign.claim);
            }
        }
    }
}
