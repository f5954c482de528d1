//! The arms, each of which changes one part of training, and the settings that they share.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use unigen_training::stages::rl;

/// Default weight of the consistency reward in the arm that has it.
const CONSISTENCY: f32 = 0.5;

/// Settings of `unigen ablate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model before edit instruction alignment, as the stage `sft` exports it.
    pub unaligned: PathBuf,
    /// The same model after alignment, as the stage `align` exports it.
    pub aligned: PathBuf,
    /// The detector that judges. It is not a reward.
    pub judge: PathBuf,
    /// The arms to run, in this order. The folders of arms that ran on different machines may be put together.
    pub arms: Vec<Arm>,
    /// Every arm runs once with each seed.
    pub seeds: Vec<u64>,
    /// Number of pictures for each of GenEval's 553 prompts.
    pub samples: usize,
    /// Number of held-out edits of each of the nine kinds.
    pub edits: u64,
    /// The settings that all arms share. Each arm sets `model`, `judge`, `consistency` and the shares of the tasks
    /// itself.
    pub rl: rl::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unaligned: "runs/sft/export".into(),
            aligned: "runs/align/export".into(),
            judge: "runs/judge/export".into(),
            arms: Arm::ALL.into(),
            seeds: vec![0, 1],
            samples: 1,
            edits: 24,
            rl: rl::Settings::default(),
        }
    }
}

/// One way to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Arm {
    Unaligned,
    Aligned,
    Generate,
    Edit,
    Both,
    UnalignedBoth,
    Consistent,
}

impl From<Arm> for &'static str {
    fn from(arm: Arm) -> Self {
        arm.name()
    }
}

impl TryFrom<String> for Arm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Arm::ALL.into_iter().find(|arm| arm.name() == name).ok_or_else(|| {
            format!("there is no arm {name}; the arms are {}", Arm::ALL.map(Arm::name).join(", "))
        })
    }
}

impl Arm {
    /// All arms, in the default order.
    pub const ALL: [Arm; 7] = {
        use Arm::*;
        [Unaligned, Aligned, Both, Generate, Edit, UnalignedBoth, Consistent]
    };

    /// The arm's name in settings and folders.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Unaligned => "unaligned",
            Arm::Aligned => "aligned",
            Arm::Generate => "aligned-generate",
            Arm::Edit => "aligned-edit",
            Arm::Both => "aligned-both",
            Arm::UnalignedBoth => "unaligned-both",
            Arm::Consistent => "aligned-both-consistency",
        }
    }

    /// Whether alignment comes first.
    pub fn aligned(self) -> bool {
        !matches!(self, Arm::Unaligned | Arm::UnalignedBoth)
    }

    /// Whether generation and editing take part in reinforcement learning.
    pub fn tasks(self) -> [bool; 2] {
        match self {
            Arm::Unaligned | Arm::Aligned => [false, false],
            Arm::Generate => [true, false],
            Arm::Edit => [false, true],
            Arm::Both | Arm::UnalignedBoth | Arm::Consistent => [true, true],
        }
    }

    /// The settings of the arm's reinforcement learning. None if the arm has none.
    pub fn settings(self, common: &Settings, seed: u64) -> Option<rl::Settings> {
        let [generate, edit] = self.tasks();
        let share = |takes_part, share: u64| if takes_part { share.max(1) } else { 0 };
        let mut settings = common.rl.clone();
        settings.model = self.model(common).to_owned();
        // All arms get the same compute, so no arm stops early or chooses a checkpoint.
        settings.judge = None;
        settings.mix = [share(generate, common.rl.mix[0]), share(edit, common.rl.mix[1])];
        settings.seed = settings.seed.wrapping_add(seed);
        settings.training.seed = settings.training.seed.wrapping_add(seed);
        let weight = if common.rl.consistency > 0.0 { common.rl.consistency } else { CONSISTENCY };
        settings.consistency = if self == Arm::Consistent { weight } else { 0.0 };
        (generate || edit).then_some(settings)
    }

    /// The model that the arm starts from.
    pub fn model(self, common: &Settings) -> &Path {
        if self.aligned() { &common.aligned } else { &common.unaligned }
    }
}
