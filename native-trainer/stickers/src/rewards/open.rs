//! Opens rewards by name and place, including those of the sticker world.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_rewards::http::HttpSettings;
use unigen_rewards::{OpenReward, Reward, RewardKind, RewardSettings, RewardSource};
use unigen_runs::Compute;

use super::reward::{NanoReward, Nets, Role};

/// Where the stage `rewards` of the nano recipe exports its rewards.
const EXPORT: &str = "runs/rewards/export";

/// Opens the rewards of `settings`, in their order. Nano rewards of one folder share its networks. If `settings` is
/// empty, these are the four nano rewards in `runs/rewards/export` with equal weights, as the paper weights its four.
///
/// # Errors
/// Errors name the reward that cannot be opened, and the reason.
pub fn open(settings: &[RewardSettings], compute: &Compute) -> Result<Vec<Box<dyn Reward>>> {
    let nano = Role::NAMES.map(|name| RewardSettings {
        source: RewardSource { kind: RewardKind::World(name.into()), at: EXPORT.into(), name: String::new() },
        weight: 1.0,
        http: HttpSettings::default(),
    });
    let settings = if settings.is_empty() { &nano } else { settings };
    unigen_rewards::open(settings, compute, &mut Folders::default())
}

/// The networks of the folders that have been opened.
#[derive(Default)]
struct Folders(HashMap<PathBuf, Arc<Nets>>);

impl OpenReward for Folders {
    fn kinds(&self) -> &[&str] {
        &Role::NAMES
    }

    fn open(&mut self, kind: &str, at: &Path, compute: &Compute) -> Result<Box<dyn Reward>> {
        let role = Role::from_name(kind).with_context(|| format!("there is no nano reward {kind}"))?;
        let nets = match self.0.get(at) {
            Some(nets) => nets.clone(),
            None => self.0.entry(at.to_owned()).or_insert(Arc::new(Nets::open(at, compute)?)).clone(),
        };
        Ok(Box::new(NanoReward { role, nets }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn settings(source: &str) -> RewardSettings {
        RewardSettings { source: source.parse().unwrap(), weight: 1.0, http: HttpSettings::default() }
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let fails = |settings: &[RewardSettings]| {
            format!("{:#}", open(settings, &Device::flex().into()).err().unwrap())
        };
        let unknown = fails(&[settings("beauty=a")]);
        assert!(["beauty", "matcher", "clip"].iter().all(|word| unknown.contains(word)), "{unknown}");
        let missing = fails(&[settings("verifier=/nowhere")]);
        assert!(missing.contains("verifier at /nowhere"), "{missing}");
        // The default rewards are the world's own.
        assert!(fails(&[]).contains("contrastive at runs/rewards/export"));
    }

    #[test]
    fn rewards_of_one_folder_share_its_networks() {
        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/rewards");
        let mut folders = Folders::default();
        for name in Role::NAMES {
            assert_eq!(folders.open(name, &at, &Device::flex().into()).unwrap().name(), name);
        }
        assert_eq!(folders.0.len(), 1);
        assert_eq!(Arc::strong_count(&folders.0[&at]), 1);
    }
}
