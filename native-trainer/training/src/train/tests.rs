//! The training loop on a stage with a few parameters.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use clap::Parser;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use unigen_core::weights::{Checkpoint, Precision, save};

use super::trainer::{Start, train};
use super::{Best, Evaluation, Exported, Loss, Options, Stage, Training, command, export, run, settings};
use unigen_runs::{Compute, Interrupted, Record, RunFolder};

fn cpu() -> Compute {
    Device::flex().into()
}

#[derive(Module, Debug)]
struct Line {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    frozen: Param<Tensor<1>>,
}

/// Fits a linear map.
struct Toy {
    settings: Settings,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Steps whose loss is NaN.
    bad_loss: Range<u64>,
    /// Steps whose gradient is NaN while the loss is finite.
    bad_gradient: Range<u64>,
    /// Number of equal batches in a row.
    repeat: u64,
    /// Whether the user interrupts every validation.
    stop_validation: bool,
    training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        let training = Training {
            steps: 20,
            batch: 8,
            warmup_steps: 3,
            learning_rate: 0.05,
            log_every: 1,
            evaluate_every: 5,
            save_every: 4,
            ..Training::default()
        };
        Self { bad_loss: 0..0, bad_gradient: 0..0, repeat: 1, stop_validation: false, training }
    }
}

/// `rows` samples, which do not depend on how they are divided into batches.
fn inputs(step: u64, rows: usize, device: &Device) -> Tensor<2> {
    let count = 4 * rows as u64;
    let values: Vec<f32> = (0..count).map(|i| ((step * count + i) as f32 * 1.7).sin()).collect();
    Tensor::from_data(TensorData::new(values, [rows, 4]), device)
}

impl Stage for Toy {
    type Settings = Settings;
    type Model = Line;
    const NAME: &'static str = "toy";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn open(settings: &Settings, Compute { device, .. }: &Compute) -> Result<(Self, Line)> {
        let model = Line {
            weight: Param::from_tensor(Tensor::random([4, 3], Distribution::Default, device)),
            bias: Param::from_tensor(Tensor::zeros([3], device)),
            frozen: Param::from_tensor(Tensor::ones([2], device)).set_require_grad(false),
        };
        Ok((Self { settings: settings.clone() }, model))
    }

    fn loss(&self, model: &Line, step: u64) -> Result<Loss> {
        let Settings { repeat, training, .. } = &self.settings;
        let x = inputs(step / repeat, training.batch, &model.weight.val().device());
        let wanted = x.clone().sum_dim(1).repeat_dim(1, 3);
        let bias = model.bias.val() * model.frozen.val().mean();
        let found = x.matmul(model.weight.val()) + bias.unsqueeze::<2>();
        let mut total = (found - wanted).square().mean();
        let parts = vec![("square", total.clone())];
        if self.settings.bad_loss.contains(&step) {
            total = total * f32::NAN;
        }
        if self.settings.bad_gradient.contains(&step) {
            total = total + (model.weight.val() * 0.0).sum().sqrt();
        }
        Ok(Loss { total, parts })
    }

    fn evaluate(&self, model: &Line) -> Result<Evaluation> {
        assert!(!model.weight.val().is_autodiff());
        if self.settings.stop_validation {
            return Err(Interrupted.into());
        }
        let error = (model.weight.val() - 1.0).abs().mean().into_scalar::<f32>();
        Ok(Evaluation { scalars: vec![("error", error.into())], sheets: vec![("dot", RgbImage::new(4, 4))] })
    }

    fn export(&self, model: &Line, folder: &Path) -> Result<()> {
        let file = folder.join("model.safetensors");
        Ok(save(model, &file, Precision::F32, |name| Some(name.into()), HashMap::new())?)
    }
}

fn last(out: &Path) -> std::path::PathBuf {
    out.join("checkpoints/last.safetensors")
}

/// Every value of a file, by name.
fn values(file: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = Checkpoint::open(file).unwrap();
    file.names().map(|name| (name.to_owned(), file.tensor(name).unwrap().0)).collect()
}

fn metadata(out: &Path, key: &str) -> String {
    Checkpoint::open(&last(out)).unwrap().metadata()[key].clone()
}

/// The numbers called `name` in the log.
fn logged(out: &Path, name: &str) -> Vec<f64> {
    let text = fs::read_to_string(RunFolder::open(out).unwrap().log()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| line.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN))).collect()
}

/// Trains until this call has done `steps` steps, which must not be all, and returns the error.
fn stopped(settings: Settings, out: &Path, start: Start, steps: u32) -> String {
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() == steps
    };
    train::<Toy>(settings, out, start, &[cpu()], &stop).unwrap_err().to_string()
}

#[test]
fn a_stopped_and_resumed_run_has_the_same_bits() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    run::<Toy>(Settings::default(), &whole, Start::New, &[cpu()]).unwrap();
    let message = stopped(Settings::default(), &parts, Start::New, 10);
    assert!(message.contains("step 10") && message.contains("unigen train toy --out"), "{message}");
    assert!(!parts.join("export").exists());
    stopped(Settings::default(), &parts, Start::Resume, 3);
    assert_eq!(metadata(&parts, "step"), "13");
    run::<Toy>(Settings::default(), &parts, Start::Resume, &[cpu()]).unwrap();

    let trained = values(&last(&whole));
    assert_eq!(trained, values(&last(&parts)));
    assert_eq!(
        values(&whole.join("export/model.safetensors")),
        values(&parts.join("export/model.safetensors"))
    );
    let names: Vec<&str> = trained.keys().map(String::as_str).collect();
    let wanted = [
        "adam.m.bias",
        "adam.m.weight",
        "adam.v.bias",
        "adam.v.weight",
        "ema.bias",
        "ema.weight",
        "model.bias",
        "model.weight",
    ];
    assert_eq!(names, wanted);
    assert_ne!(trained["model.weight"], trained["ema.weight"]);
    for name in ["loss", "learning_rate", "gradient_norm", "square", "error"] {
        assert_eq!(logged(&whole, name), logged(&parts, name), "{name}");
    }
    assert_eq!((logged(&whole, "loss").len(), logged(&whole, "error").len()), (20, 4));
    assert!(parts.join("sheets/dot-0000020.png").exists());
}

#[test]
fn it_learns_and_resuming_takes_new_settings() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    run::<Toy>(Settings::default(), &out, Start::New, &[cpu()]).unwrap();
    let config = RunFolder::open(&out).unwrap().config();
    let longer: Settings = settings(Some(&config), &["training.steps=150".into()]).unwrap();
    run::<Toy>(longer, &out, Start::Resume, &[cpu()]).unwrap();
    let losses = logged(&out, "loss");
    assert!(losses.len() == 150 && losses[149] < losses[0] / 50.0, "{losses:?}");
    assert!(fs::read_to_string(config).unwrap().contains("steps = 150"));
}

#[test]
fn a_validation_that_was_stopped_is_done_again() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    run::<Toy>(Settings::default(), &whole, Start::New, &[cpu()]).unwrap();
    let stopping = Settings { stop_validation: true, ..Settings::default() };
    let message = run::<Toy>(stopping, &parts, Start::New, &[cpu()]).unwrap_err().to_string();
    assert!(message.contains("stopped after step 5") && message.contains("--resume"), "{message}");
    assert!(logged(&parts, "error").is_empty() && metadata(&parts, "step") == "5");
    run::<Toy>(Settings::default(), &parts, Start::Resume, &[cpu()]).unwrap();
    assert_eq!(logged(&parts, "error"), logged(&whole, "error"));
    assert_eq!(values(&last(&parts)), values(&last(&whole)));
    assert!(RunFolder::open(&parts).unwrap().info().finished);
}

#[test]
fn gradients_of_several_batches_are_averaged() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = (place.path().join("one"), place.path().join("two"));
    run::<Toy>(Settings::default(), &one, Start::New, &[cpu()]).unwrap();
    let mut twice = Settings { repeat: 2, ..Settings::default() };
    twice.training.accumulate = 2;
    run::<Toy>(twice, &two, Start::New, &[cpu()]).unwrap();
    // Two equal batches give the same bits as one; other batches do not.
    assert_eq!(values(&last(&one)), values(&last(&two)));
    assert_eq!(logged(&one, "gradient_norm"), logged(&two, "gradient_norm"));
    let mut other = Settings::default();
    other.training.accumulate = 2;
    run::<Toy>(other, &place.path().join("other"), Start::New, &[cpu()]).unwrap();
    assert_ne!(values(&last(&one)), values(&last(&place.path().join("other"))));
}

#[test]
fn bad_steps_are_skipped_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let settings = Settings { bad_loss: 2..5, bad_gradient: 9..11, ..Settings::default() };
    run::<Toy>(settings, &out, Start::New, &[cpu()]).unwrap();
    assert_eq!((metadata(&out, "step").as_str(), metadata(&out, "updates").as_str()), ("20", "15"));
    assert_eq!(logged(&out, "skipped_steps").iter().sum::<f64>(), 5.0);
    assert!(logged(&out, "loss")[2].is_nan() && logged(&out, "gradient_norm")[9].is_nan());
    assert!(values(&last(&out)).values().flatten().all(|x| x.is_finite()));
}

#[test]
fn ten_bad_steps_in_a_row_end_the_run() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let settings = Settings { bad_loss: 6..16, ..Settings::default() };
    let message = run::<Toy>(settings, &out, Start::New, &[cpu()]).unwrap_err().to_string();
    for part in [
        "step 16",
        "10 steps in a row",
        "checkpoint of step 12",
        "--resume --set training.learning_rate=2.5e-2",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_last_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let (whole, full) = (place.path().join("whole"), place.path().join("full"));
    run::<Toy>(Settings::default(), &whole, Start::New, &[cpu()]).unwrap();
    stopped(Settings::default(), &full, Start::New, 10);
    let before = fs::read(last(&full)).unwrap();
    // Temporary files are written to a device that is always full.
    std::os::unix::fs::symlink("/dev/full", full.join("checkpoints/last.safetensors.part")).unwrap();
    let message = run::<Toy>(Settings::default(), &full, Start::Resume, &[cpu()]).unwrap_err().to_string();
    assert!(message.contains("last.safetensors") && message.contains("free some disk space"), "{message}");
    assert_eq!(fs::read(last(&full)).unwrap(), before);
    run::<Toy>(Settings::default(), &full, Start::Resume, &[cpu()]).unwrap();
    assert_eq!(values(&last(&whole)), values(&last(&full)));
}

#[test]
fn an_unfinished_run_can_be_exported() {
    let place = tempfile::tempdir().unwrap();
    let (out, folder) = (place.path().join("run"), place.path().join("try/it"));
    stopped(Settings::default(), &out, Start::New, 10);
    assert_eq!(export::<Toy>(&out, &folder, &cpu()).unwrap(), Exported::Last(10));
    let (saved, exported) = (values(&last(&out)), values(&folder.join("model.safetensors")));
    assert_eq!(exported["weight"], saved["ema.weight"]);
    assert!(export::<Toy>(place.path(), &folder, &cpu()).unwrap_err().to_string().contains("no run"));
}

#[test]
fn runs_start_from_given_weights() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    run::<Toy>(Settings::default(), &path("first"), Start::New, &[cpu()]).unwrap();
    let averaged = values(&last(&path("first")))["ema.weight"].clone();
    for (name, file) in [("a", last(&path("first"))), ("b", path("first/export"))] {
        let nothing = Settings {
            training: Training { learning_rate: 0.0, ..Settings::default().training },
            ..Settings::default()
        };
        run::<Toy>(nothing, &path(name), Start::From(&file), &[cpu()]).unwrap();
        assert_eq!(values(&last(&path(name)))["model.weight"], averaged);
    }
    let (_, model) = Toy::open(&Settings::default(), &cpu()).unwrap();
    let partial = |name: &str| (name != "bias").then(|| name.to_owned());
    save(&model, &path("partial.safetensors"), Precision::F32, partial, HashMap::new()).unwrap();
    let error =
        run::<Toy>(Settings::default(), &path("c"), Start::From(&path("partial.safetensors")), &[cpu()]);
    assert!(error.unwrap_err().to_string().contains("bias is missing"));
    assert!(!path("c").exists());
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// `unigen train toy` in the folder `out`, in f32 like the other tests of this process.
fn unigen(out: &Path, arguments: &[&str]) -> Result<()> {
    let out = out.to_string_lossy();
    let fixed = ["unigen", "--precision", "f32", "--out", out.as_ref()];
    let options = Cli::try_parse_from(fixed.iter().chain(arguments))?.options;
    command::<Toy>(&options, |name| Ok(name.to_owned()))
}

#[test]
fn the_command_line() {
    let place = tempfile::tempdir().unwrap();
    let (out, config) = (place.path().join("run"), place.path().join("toy.toml"));
    fs::write(&config, "[training]\nsteps = 6\n").unwrap();
    let config = config.to_string_lossy();
    unigen(&out, &["--config", config.as_ref(), "--set", "training.batch=4"]).unwrap();
    assert_eq!(metadata(&out, "step"), "6");
    assert!(unigen(&out, &[]).unwrap_err().to_string().contains("--resume"));
    unigen(&out, &["--resume", "--set", "training.steps=9"]).unwrap();
    assert_eq!(metadata(&out, "step"), "9");
    let stored = fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(stored.contains("steps = 9") && stored.contains("batch = 4"), "{stored}");
    let export = place.path().join("export");
    unigen(&out, &["--export", export.to_string_lossy().as_ref()]).unwrap();
    assert!(export.join("model.safetensors").exists());
    for pair in [["--resume", "--init=x"], ["--resume", "--config=x"], ["--export=x", "--set=a=1"]] {
        assert!(unigen(&out, &pair).unwrap_err().to_string().contains("cannot be used with"));
    }
}

/// [`Toy`], for which the untrained model is the best, and which stops at the third validation.
struct Scored(Toy);

impl Stage for Scored {
    type Settings = Settings;
    type Model = Line;
    const NAME: &'static str = "scored";
    const ONE_DEVICE: Option<&'static str> = Some("it is a test");

    fn training(settings: &Settings) -> &Training {
        Toy::training(settings)
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, Line)> {
        let (toy, mut model) = Toy::open(settings, compute)?;
        model.weight = Param::from_tensor(Tensor::full([4, 3], 9.0, &compute.device));
        Ok((Self(toy), model))
    }

    fn loss(&self, model: &Line, step: u64) -> Result<Loss> {
        self.0.loss(model, step)
    }

    fn best(&self) -> Option<Best> {
        Some(Best::Highest("error"))
    }

    fn resumable(&self, steps: u64) -> bool {
        steps.is_multiple_of(3)
    }

    fn finished(&self, log: &[Record]) -> Option<String> {
        let validations = log.iter().filter(|record| record.scalars.contains_key("error")).count();
        (validations == 3).then(|| "that will do".to_owned())
    }

    fn evaluate(&self, model: &Line) -> Result<Evaluation> {
        self.0.evaluate(model)
    }

    fn export(&self, model: &Line, folder: &Path) -> Result<()> {
        self.0.export(model, folder)
    }
}

#[test]
fn a_stage_with_a_score_keeps_its_best_and_may_stop() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let stop = || RunFolder::open(&out).is_ok();
    let message = train::<Scored>(Settings::default(), &out, Start::New, &[cpu()], &stop).unwrap_err();
    assert!(message.to_string().contains("after step 3 "), "not between: {message}");
    run::<Scored>(Settings::default(), &out, Start::Resume, &[cpu()]).unwrap();
    // It validated before the first step, and at the first possible steps after 5 and after 10; then it stopped.
    assert_eq!(validated(&out), [0, 6, 12]);
    assert_eq!(metadata(&out, "step"), "12");
    let exported = |folder: &str| values(&out.join(folder).join("model.safetensors"))["weight"].clone();
    assert_eq!(exported("export"), [9.0; 12]);
    assert_ne!(values(&last(&out))["ema.weight"], [9.0; 12]);
    let again = export::<Scored>(&out, &out.join("again"), &cpu()).unwrap();
    assert_eq!(again.to_string(), "the best checkpoint (step 0)");
    assert_eq!(exported("again"), [9.0; 12]);
}

/// A run that is complete goes on when its settings ask for more steps, as if it had been stopped there.
#[test]
fn a_finished_run_is_extended() {
    let place = tempfile::tempdir().unwrap();
    let folder = &place.path().join("run");
    let start = |arguments: &[&str]| unigen(folder, arguments);
    let set = ["--set", "training.learning_rate=0.01", "--set", "training.final_rate=1.0"];
    start(&[&set[..], &["--set", "training.steps=8"]].concat()).unwrap();
    assert!(RunFolder::open(folder).unwrap().info().finished);
    let export = values(&folder.join("export/model.safetensors"));
    start(&["--resume", "--set", "training.steps=14"]).unwrap();
    assert!(RunFolder::open(folder).unwrap().info().finished);
    assert_eq!(metadata(folder, "step"), "14");
    assert_ne!(values(&folder.join("export/model.safetensors")), export, "exported anew");
    let steps: Vec<u64> =
        RunFolder::open(folder).unwrap().records().unwrap().iter().map(|r| r.step).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&14), "{steps:?}");
    // A rate that does not depend on the number of steps gives the bits of one long run.
    let whole = place.path().join("whole");
    let mut settings = Settings::default();
    settings.training.learning_rate = 0.01;
    (settings.training.final_rate, settings.training.steps) = (1.0, 14);
    run::<Toy>(settings, &whole, Start::New, &[cpu()]).unwrap();
    assert_eq!(values(&last(folder)), values(&last(&whole)));
    // Without more steps nothing is left to do.
    start(&["--resume"]).unwrap();
    assert_eq!(metadata(folder, "step"), "14");
}

/// The steps whose validation is in the log.
fn validated(out: &Path) -> Vec<u64> {
    let records = RunFolder::open(out).unwrap().records().unwrap();
    records.iter().filter(|record| record.scalars.contains_key("error")).map(|record| record.step).collect()
}

#[test]
fn without_validations_between_the_last_checkpoint_is_exported() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let mut settings = Settings::default();
    settings.training.evaluate_every = 0;
    let stop = || RunFolder::open(&out).is_ok();
    train::<Scored>(settings.clone(), &out, Start::New, &[cpu()], &stop).unwrap_err();
    let exported = |folder: &str| values(&out.join(folder).join("model.safetensors"))["weight"].clone();
    let stopped = export::<Scored>(&out, &out.join("stopped"), &cpu()).unwrap();
    assert_eq!(stopped, Exported::Last(3));
    assert_eq!(exported("stopped"), values(&last(&out))["ema.weight"]);
    run::<Scored>(settings, &out, Start::Resume, &[cpu()]).unwrap();
    assert_eq!(validated(&out), [20]);
    assert_eq!(exported("export"), values(&last(&out))["ema.weight"]);
}

#[test]
fn a_validation_is_stopped_where_the_run_can_go_on() {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    run::<Scored>(Settings::default(), &whole, Start::New, &[cpu()]).unwrap();
    let stop = || RunFolder::open(&parts).is_ok();
    train::<Scored>(Settings::default(), &parts, Start::New, &[cpu()], &stop).unwrap_err();
    let stopping = Settings { stop_validation: true, ..Settings::default() };
    let message = run::<Scored>(stopping, &parts, Start::Resume, &[cpu()]).unwrap_err().to_string();
    assert!(message.contains("stopped after step 6 ") && metadata(&parts, "step") == "6", "{message}");
    run::<Scored>(Settings::default(), &parts, Start::Resume, &[cpu()]).unwrap();
    assert_eq!(validated(&parts), validated(&whole));
    assert_eq!(values(&last(&parts)), values(&last(&whole)));
}

/// Two devices that share the batches of a step train like one device: with the same bits if the batches are equal,
/// and otherwise like batches of twice the size, up to rounding.
#[test]
fn two_devices_train_like_one() {
    let place = tempfile::tempdir().unwrap();
    let trained = |name: &str, batch: usize, accumulate: u64, devices: usize| {
        let out = place.path().join(name);
        let mut settings = Settings::default();
        (settings.training.batch, settings.training.accumulate) = (batch, accumulate);
        run::<Toy>(settings, &out, Start::New, &vec![cpu(); devices]).unwrap();
        values(&last(&out))
    };
    let [one, two, three] = [1, 2, 3].map(|devices| trained(&format!("of {devices}"), 8, 4, devices));
    assert_eq!(one, two);
    assert_eq!(one, three);
    let large = trained("large", 32, 1, 1);
    for (name, values) in &large {
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
        assert!(values.iter().zip(&two[name]).all(close), "{name}: {values:?}, {:?}", two[name]);
    }
}

#[test]
fn devices_need_a_batch_each() {
    let place = tempfile::tempdir().unwrap();
    let devices = vec![cpu(); 2];
    let error = run::<Toy>(Settings::default(), &place.path().join("run"), Start::New, &devices).unwrap_err();
    assert!(error.to_string().contains("training.accumulate is 1; set it to a multiple of 2"), "{error}");
    let error =
        run::<Scored>(Settings::default(), &place.path().join("run"), Start::New, &devices).unwrap_err();
    assert!(error.to_string().contains("on one device only, since it is a test"), "{error}");
}
