//! Data-parallel training: devices that share the batches of a step, each with a copy of the model. The gradients meet on
//! the host, where the optimiser is: burn 0.22 reduces gradients across devices on CUDA and ROCm alone.

use anyhow::{Result, anyhow, ensure};
use burn::module::Module;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::stage::open;
use super::{Stage, Update};
use unigen_runs::{Compute, pool};

/// The devices beside that of the run, each in a thread of its own.
pub(super) struct Replicas<M>(Vec<Replica<M>>);

struct Replica<M> {
    work: Sender<(M, Vec<u64>)>,
    updates: Receiver<Result<Update>>,
}

/// Refuses more devices than the stage `S` can train on with `accumulate` batches a step.
///
/// # Errors
/// Where it trains on one alone; where a step has fewer batches than there are devices.
pub(super) fn check<S: Stage>(accumulate: u64, devices: usize) -> Result<()> {
    if let Some(why) = S::ONE_DEVICE {
        ensure!(devices < 2, "the stage {} trains on one device, since {why}; leave --devices out", S::NAME);
    }
    ensure!(
        accumulate >= devices as u64,
        "{devices} devices share the batches of a step, but training.accumulate is {accumulate}; set it to {devices} or a \
         multiple"
    );
    Ok(())
}

impl<M: Module + 'static> Replicas<M> {
    /// No device but the run's.
    pub fn none() -> Self {
        Self(vec![])
    }

    /// Opens the stage on each of `devices`, which have autodiff.
    ///
    /// # Errors
    /// Those of the stage.
    pub fn open<S: Stage<Model = M>>(settings: &S::Settings, devices: Vec<Compute>) -> Result<Self> {
        devices
            .into_iter()
            .map(|compute| Replica::open::<S>(settings, compute))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Hands the `batches` of a step out, in turns that begin with the run's own device.
    pub fn begin(&self, model: &M, batches: Range<u64>) -> Result<()> {
        for (place, replica) in self.0.iter().enumerate() {
            let share = batches.clone().skip(place + 1).step_by(self.0.len() + 1).collect();
            replica.work.send((model.clone(), share)).map_err(|_| gone())?;
        }
        Ok(())
    }

    /// What came of a batch, `turn` being its place in the step; none where it is the run's own.
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
            // A stage need not be able to move between threads.
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
