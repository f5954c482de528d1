//! Edits a picture.
//!
//!     cargo run --release --workspace --example edit -- models/nano picture.png "make the apple green" out.png

use pollster::FutureExt;
use std::error::Error;
use std::path::Path;
use unigen_core::Device;
use unigen_core::engine::{EditRequest, Engine};
use unigen_core::picture::Picture;
use unigen_core::sampling::Flow;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, instruction, out] = arguments.as_slice() else {
        return Err("give the model's folder, a picture, what to change and the file to write".into());
    };
    let engine = Engine::open(Path::new(model), &Device::flex())?;
    let image = Picture::decode(&std::fs::read(picture)?)?;
    let request = EditRequest { image, instruction: instruction.clone(), seed: 1, mask: None };
    engine.edit(&request, engine.generation(), async |_| Flow::Continue).block_on()?.save(out)?;
    Ok(())
}
