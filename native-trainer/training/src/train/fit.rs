//! Whether a run fits into memory, and the settings that make it fit.

use anyhow::{Result, bail};
use burn::tensor::Device;
use std::path::Path;

use super::Stage;
use super::settings::with;
use crate::estimate::{Card, Estimate, Exports, memory, size};
use unigen_runs::Compute;

/// How often a batch is halved at most.
const HALVINGS: u32 = 40;

/// Refuses a run that needs more memory than this machine has.
///
/// # Errors
/// The error names what the run needs, part by part, and a setting that makes it fit.
pub(super) fn fits_machine<S: Stage>(settings: &S::Settings, devices: &[Compute]) -> Result<()> {
    let Some(limit) = memory() else { return Ok(()) };
    let on_cpu = devices.iter().all(|compute| compute.device.clone().without_autodiff() == Device::flex());
    let others = devices.len().saturating_sub(1) as f64;
    let needed = |estimate: &Estimate| match on_cpu {
        true => estimate.bytes() + others * estimate.device_bytes(),
        false => estimate.bytes() - estimate.device_bytes(),
    };
    // What cannot be estimated, such as a model folder that is missing, is explained when the stage opens it.
    let Ok(Some(found)) = S::estimate(settings, &mut Exports::default(), Path::new("")) else {
        return Ok(());
    };
    if needed(&found) > limit {
        bail!(
            "this run needs about {} of memory ({found}), and this machine has {}{}",
            size(needed(&found)),
            size(limit),
            advice::<S>(settings, &mut Exports::default(), &|estimate| needed(estimate) <= limit)
        );
    }
    Ok(())
}

/// What a run needs on `card`: memory by part and time.
#[derive(Debug)]
pub(super) struct OnCard {
    pub estimate: Estimate,
    /// Hours of all steps, if the speed is known.
    pub hours: Option<f64>,
    /// What to change if the run does not fit.
    pub advice: Option<String>,
}

/// Predicts the run with `settings`, whose export goes to `export`. `None` if the stage cannot say.
///
/// # Errors
/// If the sizes of a model that the run starts from are unknown.
pub(super) fn on_card<S: Stage>(
    settings: &S::Settings,
    exports: &mut Exports,
    export: &Path,
    card: Card,
) -> Result<Option<OnCard>> {
    let Some(estimate) = S::estimate(settings, exports, export)? else { return Ok(None) };
    let fits = |estimate: &Estimate| estimate.device_bytes() <= card.memory;
    let steps = S::training(settings).steps as f64;
    let hours = card.speed.map(|speed| steps * estimate.flops / speed / 3600.0);
    let advice = (!fits(&estimate)).then(|| advice::<S>(settings, exports, &fits));
    Ok(Some(OnCard { estimate, hours, advice }))
}

/// The smallest change of the settings with which the run fits, as the end of a sentence.
fn advice<S: Stage>(
    settings: &S::Settings,
    exports: &mut Exports,
    fits: &dyn Fn(&Estimate) -> bool,
) -> String {
    for lora in [false, true] {
        for checkpointing in [false, true] {
            for halvings in 0..=HALVINGS {
                let Some(mut set) = S::smaller(settings, halvings) else { break };
                if lora {
                    set.push("lora.rank=8".to_owned());
                }
                if checkpointing {
                    set.push("training.gradient_checkpointing=true".to_owned());
                }
                let changed = with::<S::Settings>(settings, &set);
                let estimate = changed.and_then(|changed| S::estimate(&changed, exports, Path::new("")));
                if let Ok(Some(estimate)) = estimate
                    && fits(&estimate)
                {
                    let set = set.iter().map(|set| format!(" --set {set}")).collect::<String>();
                    return format!("; with{set} it needs about {}", size(estimate.bytes()));
                }
            }
        }
    }
    "; no batch of this model fits: choose a smaller model".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Lora;
    use crate::shapes::{Shapes, model_folder};
    use crate::stages::{PretrainStage, RlStage, SftStage, rl, sft};
    use crate::train::Training;
    use unigen_core::config::ModelConfig;

    fn settings(model: &Path, batch: usize) -> sft::Settings {
        let training = Training { batch, ..sft::Settings::default().training };
        sft::Settings { model: model.into(), vision: model.into(), training, ..sft::Settings::default() }
    }

    #[test]
    fn what_the_machine_cannot_hold_is_refused_with_settings_that_fit() {
        let (folder, cpu) = (model_folder(), [Compute::from(Device::flex())]);
        let fits = |settings: &sft::Settings| fits_machine::<SftStage<Shapes>>(settings, &cpu);
        fits(&settings(folder.path(), 4)).unwrap();
        let error = fits(&settings(folder.path(), 1_000_000_000)).unwrap_err().to_string();
        for part in ["needs about", "activations", "this machine has", "--set training.batch="] {
            assert!(error.contains(part), "{error}");
        }
        // The advice holds.
        let set: Vec<String> =
            error.split("--set ").skip(1).map(|set| set.split(' ').next().unwrap().into()).collect();
        let changed = with(&settings(folder.path(), 1_000_000_000), &set).unwrap();
        fits(&changed).unwrap();
        assert!(changed.training.batch > 1000 && changed.training.samples() > 500_000_000);
        // A reinforcement run is made smaller by its passes.
        let replay = rl::Replay { blocks: usize::MAX >> 8, ..rl::Replay::default() };
        let training = Training { batch: 1 << 24, ..rl::Settings::default().training };
        let large = rl::Settings { model: folder.path().into(), replay, training, ..rl::Settings::default() };
        let error = fits_machine::<RlStage<Shapes>>(&large, &cpu).unwrap_err().to_string();
        assert!(error.contains("this machine has"), "{error}");
        // A folder that is missing is named when the run opens it.
        fits(&settings(Path::new("no/model"), 1_000_000_000)).unwrap();
    }

    #[test]
    fn a_card_takes_adapters_where_it_cannot_take_all_weights() {
        let mut exports = Exports::default();
        exports.model(Path::new("big"), ModelConfig::preset("unigen-1.5b").unwrap());
        let card: Card = "24GB,20TFLOPS".parse().unwrap();
        let mut predict = |settings: &sft::Settings, card: Card| {
            on_card::<SftStage<Shapes>>(settings, &mut exports, Path::new("out"), card).unwrap().unwrap()
        };
        let full = predict(&settings(Path::new("big"), 64), card);
        let advice = full.advice.unwrap();
        assert!(advice.contains("--set "), "{advice}");
        let lora = Some(Lora { rank: 64, alpha: 128.0 });
        let small = sft::Settings { lora, ..settings(Path::new("big"), 2) };
        let OnCard { estimate, hours, advice } = predict(&small, card);
        assert!(advice.is_none() && hours.unwrap() > 0.1, "{estimate}");
        let weights = estimate.parts.iter().find(|part| part.name == "weights").unwrap().bytes;
        assert!((3e9..4e9).contains(&weights), "1.5B parameters in f16: {weights}");
        let none = predict(&small, "4GB".parse().unwrap());
        assert!(none.hours.is_none() && none.advice.unwrap().contains("smaller model"));
        // Later runs know what earlier ones export.
        assert!(exports.model_in(Path::new("out")).is_ok());
        assert!(exports.model_in(Path::new("elsewhere")).is_err());
        let nano = ModelConfig::preset("nano").unwrap().image_tokenizer;
        exports.image_tokenizer(Path::new("tokenizer/export"), nano);
        let pretrain = crate::stages::pretrain::Settings {
            image_tokenizer: "tokenizer/export".into(),
            ..Default::default()
        };
        let found = on_card::<PretrainStage<Shapes>>(&pretrain, &mut exports, Path::new("next"), card);
        assert!(found.unwrap().is_some());
    }
}
