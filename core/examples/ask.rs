//! Answers a question about a picture.
//!
//!     cargo run --release --workspace --example ask -- models/nano picture.png "what is left of the car?"

use pollster::FutureExt;
use std::error::Error;
use std::path::Path;
use unigen_core::Device;
use unigen_core::engine::{AnswerSettings, Engine};
use unigen_core::picture::Picture;
use unigen_core::sampling::Flow;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, question] = arguments.as_slice() else {
        return Err("give the model's folder, a picture and a question".into());
    };
    let engine = Engine::open(Path::new(model), &Device::flex())?;
    let image = Picture::decode(&std::fs::read(picture)?)?;
    let settings = AnswerSettings::default();
    let answer = engine.ask(&image, question, &settings, async |_| Flow::Continue);
    println!("{}", answer.block_on()?.text);
    Ok(())
}
