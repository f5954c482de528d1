//! Rewards by kind and location, as in recipes and on the command line.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::clip::ClipReward;
use super::http::{HttpSettings, Judge, Question, RemoteReward};
use super::{Item, Reward, Score};
use unigen_runs::Compute;

/// The kind of a reward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardKind {
    /// CLIP, in a folder with Hugging Face's layout.
    Clip,
    /// HPSv2, in a folder with its state dict.
    Hpsv2,
    /// A judge that answers yes or no, at the URL of an OpenAI-compatible endpoint.
    JudgeYesNo,
    /// A judge that gives a score from 1 to 5, at the URL of such an endpoint.
    JudgeScore,
    /// A reward of a server (`unigen serve-rewards`) at a URL.
    Remote,
    /// A reward of one world, by its name there.
    #[serde(untagged)]
    World(String),
}

impl RewardKind {
    /// The names of the kinds that need no world.
    pub const GENERAL: [&str; 5] = ["clip", "hpsv2", "judge-yes-no", "judge-score", "remote"];
}

impl fmt::Display for RewardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clip => "clip",
            Self::Hpsv2 => "hpsv2",
            Self::JudgeYesNo => "judge-yes-no",
            Self::JudgeScore => "judge-score",
            Self::Remote => "remote",
            Self::World(name) => name,
        })
    }
}

/// Opens the rewards of one world, [`RewardKind::World`].
pub trait OpenReward {
    /// The names of the kinds.
    fn kinds(&self) -> &[&str];

    /// Opens the reward `kind`, one of [`kinds`](Self::kinds), from the folder `at`.
    ///
    /// # Errors
    /// If the folder has no such reward.
    fn open(&mut self, kind: &str, at: &Path, compute: &Compute) -> Result<Box<dyn Reward>>;
}

/// No world, so that only the general kinds exist.
pub struct NoWorld;

impl OpenReward for NoWorld {
    fn kinds(&self) -> &[&str] {
        &[]
    }

    fn open(&mut self, kind: &str, _: &Path, _: &Compute) -> Result<Box<dyn Reward>> {
        bail!("the reward {kind} exists in no world")
    }
}

/// One reward and its location. On the command line it is written `KIND=WHERE` or `KIND=WHERE#NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardSource {
    pub kind: RewardKind,
    /// Folder or URL.
    pub at: String,
    /// The model of a judge's endpoint, or the reward of a server.
    #[serde(default)]
    pub name: String,
}

/// A reward in an ensemble, an entry `[[rewards]]` of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardSettings {
    #[serde(flatten)]
    pub source: RewardSource,
    /// See [`Member::weight`](super::Member::weight).
    #[serde(default = "one")]
    pub weight: f32,
    /// Settings for rewards on other machines.
    #[serde(default)]
    pub http: HttpSettings,
}

fn one() -> f32 {
    1.0
}

impl FromStr for RewardSource {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, at) = text.split_once('=').context("write it as KIND=FOLDER or KIND=URL")?;
        let kind = toml::Value::String(kind.to_owned()).try_into();
        let kind = kind.map_err(|e: toml::de::Error| anyhow!("{}", e.message()))?;
        let (at, name) = at.rsplit_once('#').unwrap_or((at, ""));
        Ok(Self { kind, at: at.into(), name: name.into() })
    }
}

/// Opens rewards; `world` opens those of a world. Rewards with the same name are told apart by their location, as
/// `clip@models/a` and `clip@models/b`.
///
/// # Errors
/// The error names the reward that cannot be opened, and why.
pub fn open(
    settings: &[RewardSettings],
    compute: &Compute,
    world: &mut dyn OpenReward,
) -> Result<Vec<Box<dyn Reward>>> {
    let opened = settings.iter().map(|RewardSettings { source, http, .. }| {
        let RewardSource { kind, at, name } = source;
        let judge = |label: &str, question| -> Result<Box<dyn Reward>> {
            ensure!(!name.is_empty(), "it needs the name of the endpoint's model");
            Ok(Box::new(Judge::new(label, at, name, question, http)?))
        };
        let reward: Result<Box<dyn Reward>> = match kind {
            RewardKind::Clip => ClipReward::clip(Path::new(at), compute).map(|r| Box::new(r) as _),
            RewardKind::Hpsv2 => ClipReward::hpsv2(Path::new(at), compute).map(|r| Box::new(r) as _),
            RewardKind::JudgeYesNo => judge("judge-yes-no", Question::YesNo),
            RewardKind::JudgeScore => judge("judge-score", Question::Score),
            RewardKind::Remote if name.is_empty() => {
                Err(anyhow!("it needs the name of a reward of the server"))
            }
            RewardKind::Remote => RemoteReward::new(name, at, http)
                .and_then(|r| r.check().map(|()| Box::new(r) as Box<dyn Reward>)),
            RewardKind::World(kind) if world.kinds().contains(&kind.as_str()) => {
                world.open(kind, Path::new(at), compute)
            }
            RewardKind::World(_) => {
                let known = [&RewardKind::GENERAL[..], world.kinds()].concat();
                Err(anyhow!("there is no such kind of reward; the kinds are {}", known.join(", ")))
            }
        };
        reward.with_context(|| format!("the reward {kind} at {at}"))
    });
    let opened = opened.collect::<Result<Vec<_>>>()?;
    let names: Vec<&str> = opened.iter().map(|reward| reward.name()).collect();
    let labels = labels(&names, settings);
    Ok(opened.into_iter().zip(labels).map(|(reward, label)| labelled(reward, label)).collect())
}

/// The labels of rewards with these `names`. Rewards with the same name also get their location, and judges their
/// model.
fn labels(names: &[&str], settings: &[RewardSettings]) -> Vec<String> {
    let label = |(&name, settings): (&&str, &RewardSettings)| {
        let RewardSource { kind, at, name: model } = &settings.source;
        let label = match kind {
            _ if names.iter().filter(|&&other| other == name).count() < 2 => name.to_owned(),
            RewardKind::JudgeYesNo | RewardKind::JudgeScore => format!("{name}:{model}@{at}"),
            _ => format!("{name}@{at}"),
        };
        label.replace(char::is_whitespace, "_")
    };
    names.iter().zip(settings).map(label).collect()
}

/// A reward under another name.
struct Labelled {
    label: String,
    reward: Box<dyn Reward>,
}

fn labelled(reward: Box<dyn Reward>, label: String) -> Box<dyn Reward> {
    if reward.name() == label { reward } else { Box::new(Labelled { label, reward }) }
}

impl Reward for Labelled {
    fn name(&self) -> &str {
        &self.label
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        self.reward.score(items)
    }

    fn waits(&self) -> bool {
        self.reward.waits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ensemble, Member};
    use burn::tensor::Device;

    #[test]
    fn recipes_and_command_lines_say_the_same() {
        #[derive(Deserialize)]
        struct Recipe {
            rewards: Vec<RewardSettings>,
        }
        let recipe = "[[rewards]]\nkind = \"matcher\"\nat = \"models/rewards\"\n\
            [[rewards]]\nkind = \"remote\"\nat = \"http://b:1\"\nname = \"clip\"\nweight = 0.5\nhttp = { retries = 9 }\n";
        let Recipe { rewards } = toml::from_str(recipe).unwrap();
        assert_eq!(rewards[0].source, "matcher=models/rewards".parse().unwrap());
        assert_eq!(rewards[1].source, "remote=http://b:1#clip".parse().unwrap());
        let found = (rewards[0].weight, rewards[1].weight, rewards[1].http.retries, rewards[1].http.timeout);
        assert_eq!(found, (1.0, 0.5, 9, 120.0));
    }

    #[test]
    fn rewards_of_one_name_are_told_apart() {
        let names = ["clip", "matcher", "clip", "judge-score", "judge-score", "clip"];
        let sources = [
            "clip=models/my clip",
            "matcher=m",
            "clip=b",
            "judge-score=http://j/v1#small",
            "judge-score=http://j/v1#large",
            "remote=http://r#clip",
        ];
        let settings = sources.map(|source| RewardSettings {
            source: source.parse().unwrap(),
            weight: 1.0,
            http: HttpSettings::default(),
        });
        let wanted = [
            "clip@models/my_clip",
            "matcher",
            "clip@b",
            "judge-score:small@http://j/v1",
            "judge-score:large@http://j/v1",
            "clip@http://r",
        ];
        assert_eq!(labels(&names, &settings), wanted);
        let judges = open(&settings[3..5], &Device::flex().into(), &mut NoWorld).unwrap();
        assert!(judges.iter().all(|judge| judge.waits()));
        let members = judges.into_iter().map(|reward| Member { reward, weight: 1.0 }).collect();
        let ensemble = Ensemble::new(members).unwrap();
        assert_eq!(ensemble.names().collect::<Vec<_>>(), wanted[3..5]);
        // The same reward twice is a mistake.
        let twice = [settings[3].clone(), settings[3].clone()];
        let members = open(&twice, &Device::flex().into(), &mut NoWorld).unwrap().into_iter();
        let members = members.map(|reward| Member { reward, weight: 1.0 }).collect();
        let error = Ensemble::new(members).err().unwrap().to_string();
        assert!(
            error.contains("judge-score:small@http://j/v1") && error.contains("leave one out"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        assert!("matcher".parse::<RewardSource>().is_err());
        for (text, parts) in [
            ("beauty=a", &["beauty", "clip", "remote", "matcher"][..]),
            ("clip=/nowhere", &["clip at /nowhere"]),
            ("remote=http://a", &["name"]),
            ("judge-score=http://a", &["judge-score", "name"]),
            ("matcher=a", &["matcher at a", "no networks"]),
        ] {
            let source = text.parse().unwrap();
            let settings = RewardSettings { source, weight: 1.0, http: HttpSettings::default() };
            let error = format!("{:#}", open(&[settings], &Device::flex().into(), &mut Small).err().unwrap());
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    struct Small;

    impl OpenReward for Small {
        fn kinds(&self) -> &[&str] {
            &["matcher"]
        }

        fn open(&mut self, _: &str, at: &Path, _: &Compute) -> Result<Box<dyn Reward>> {
            bail!("{} has no networks", at.display())
        }
    }

    #[test]
    fn kinds_have_the_names_that_recipes_use() {
        for name in RewardKind::GENERAL {
            let RewardSource { kind, .. } = format!("{name}=a#b").parse().unwrap();
            assert!(!matches!(kind, RewardKind::World(_)), "{name}");
            assert_eq!(kind.to_string(), name);
        }
    }
}
