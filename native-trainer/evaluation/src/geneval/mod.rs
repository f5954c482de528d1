//! GenEval (Ghosh et al. 2023, arXiv 2310.11513): its prompts, its rules and its scores, and a run from prompts to
//! scores. The rules are those of `evaluate_images.py`. The caller supplies the detector of objects and colours.

mod own;
mod prompt;
mod relation;
mod rules;
mod run;
mod scores;

pub use own::{Detections, Verdicts, geneval_page, run as run_own};
pub use prompt::{Clause, Prompt, PromptError, Tag, read_prompts};
pub use relation::{Relation, relations};
pub use rules::{COUNTING_THRESHOLD, MAX_OBJECTS, THRESHOLD, Verdict, judge};
pub use run::{Evaluation, Judged};
pub use scores::Scores;
