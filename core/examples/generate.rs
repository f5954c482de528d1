//! Draws a picture.
//!
//!     cargo run --release --workspace --example generate -- models/nano "a red apple left of a blue car" out.png

use pollster::FutureExt;
use std::error::Error;
use std::path::Path;
use unigen_core::Device;
use unigen_core::engine::{Engine, GenerateRequest};
use unigen_core::sampling::{Flow, StepReport};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompt, out] = arguments.as_slice() else {
        return Err("give the model's folder, a prompt and the file to write".into());
    };
    let engine = Engine::open(Path::new(model), &Device::flex())?;
    let request = GenerateRequest { prompt: prompt.clone(), seed: 1 };
    let on_step = async |report: StepReport<'_>| {
        println!("step {} of {}", report.step, report.steps);
        Flow::Continue
    };
    engine.generate(&request, engine.generation(), on_step).block_on()?.save(out)?;
    Ok(())
}
