//! Data-parallel training: several devices share the batches of a step, each with a copy of the model. The gradients
//! are added on the host, where the optimiser runs, because burn 0.22 reduces gradients across devices on CUDA and
//! ROCm only.

use anyhow::{Result, anyhow, ensure};
use burn::module::Module;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::stage::open;
use super::{Stage, Update};
use unigen_runs::{Compute, pool};

/// The devices other than the run's own, each in its own thread.
pub(super) struct Replicas<M>(Vec<Replica<M>>);

struct Replica<M> {
    work: Sender<(M, Vec<u64>)>,
    updates: Receiver<Result<Update>>,
}

/// Checks that the stage `S` can train on `devices` devices with `accumulate` batches per step.
///
/// # Errors
/// If the stage trains on one device only, or if a step has fewer batches than there are devices.
pub(super) fn check<S: Stage>(accumulate: u64, devices: usize) -> Result<()> {
    if let Some(why) = S::ONE_DEVICE {
        ensure!(
            devices < 2,
            "the stage {} trains on one device only, since {why}; leave out --devices",
            S::NAME
        );
    }
    ensure!(
        accumulate >= devices as u64,
        "{devices} devices share the batches of a step, but training.accumulate is {accumulate}; set it to a \
         multiple of {devices}"
    );
    Ok(())
}

impl<M: Module + 'static> Replicas<M> {
    /// No further devices.
    pub fn none() -> Self {
        Self(vec![])
    }

    /// Opens the stage on each of `devices`, which have autodiff.
    ///
    /// # Errors
    /// The errors of the stage.
    pub fn open<S: Stage<Model = M>>(settings: &S::Settings, devices: Vec<Compute>) -> Result<Self> {
        devices
            .into_iter()
            .map(|compute| Replica::open::<S>(settings, compute))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Distributes the `batches` of a step in turns, which begin with the run's own device.
    pub fn begin(&self, model: &M, batches: Range<u64>) -> Result<()> {
        for (place, replica) in self.0.iter().enumerate() {
            let share = batches.clone().skip(place + 1).step_by(self.0.len() + 1).collect();
            replica.work.send((model.clone(), share)).map_err(|_| gone())?;
        }
        Ok(())
    }

    /// The result of the batch at position `turn` of the step; `None` if the run's own device computes it.
    pub fn update(&self, turn: u64) -> Option<Result<Update>> {
        let place = (turn as usize % (self.0.len() + 1)).checked_sub(1)?;
        Some(pool::receive(&self.0[place].updates).unwrap_or_else(|_| Err(gone())))
    }
}

impl<M: Module + 'static> Replica<M> {
    fn open<S: Stage<Model = M>>(settings: &S::Settings, compute: Compute) -> Result<Self> {
        let (work, jobs) = channel::<(M, Vec<u64>)>();
        let (results, updates) = channel();
        let (opened, opening) = channel();
        let settings = settings.clone();
        thread::spawn(move || {
            // The stage is opened in the thread, because a stage need not be `Send`.
            let stage = match open::<S>(&settings, &compute) {
                Ok((stage, _)) => stage,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let mut listening = opened.send(Ok(())).is_ok();
            while listening && let Ok((model, batches)) = jobs.recv() {
                let model = model.fork(&compute.device);
                listening =
                    batches.into_iter().all(|batch| results.send(stage.update(&model, batch)).is_ok());
            }
        });
        pool::receive(&opening).unwrap_or_else(|_| Err(gone()))?;
        Ok(Self { work, updates })
    }
}

fn gone() -> anyhow::Error {
    anyhow!("the thread of a device has ended; its message is above")
}
