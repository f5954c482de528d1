//! `unigen pull`.

use super::import::{ShowOSampling, StorageArgs, write};
use super::interruptible;
use super::models::bytes;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use unigen_core::{Error, ErrorKind};
use unigen_models::Library;
use unigen_models::pull::{Hub, Kind, Patience, Published, Pull as Pulled};
use unigen_runs::Interrupt;

/// Downloads published weights from the Hugging Face Hub, and imports them.
///
/// HF_HOME is the folder that keeps downloads, HF_TOKEN a token for private or gated repositories, HF_ENDPOINT another
/// server than huggingface.co.
#[derive(Args)]
pub struct Pull {
    /// Name of a published model, or a repository of the Hub as owner/name. Without a name, the published models are listed
    name: Option<String>,
    /// Folder to write [default: the model's name, in the folder of models that `unigen models` lists]
    #[arg(long)]
    out: Option<PathBuf>,
    /// What the repository owner/name holds
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// File of the weights, where the repository owner/name has several, such as a GGUF file of each precision
    #[arg(long)]
    file: Option<String>,
    /// Repository of the image tokenizer [default: showlab/magvitv2]
    #[arg(long)]
    image_tokenizer: Option<String>,
    /// Repository of the understanding encoder (SigLIP or SigLIP2)
    #[arg(long)]
    vision: Option<String>,
    /// Repository of the text tokenizer [default: the language model's own]
    #[arg(long)]
    tokenizer: Option<String>,
    /// Side of the pictures that the model is to draw, in pixels [default: 256 for unigen, 384 for parts; Show-o says it]
    #[arg(long)]
    image_size: Option<usize>,
    /// How a Show-o draws unless told otherwise [default: what the list of models says, else usual]
    #[arg(long, value_enum)]
    sampling: Option<ShowOSampling>,
    #[command(flatten)]
    storage: StorageArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindArg {
    /// A Show-o checkpoint
    ShowO,
    /// A UniGen checkpoint
    Unigen,
    /// A language model, from which training starts
    Parts,
}

impl Pull {
    pub fn run(&self) -> Result<ExitCode> {
        interruptible(|| match &self.name {
            Some(name) => self.pull(name),
            None => list(),
        })
    }

    fn pull(&self, name: &str) -> Result<()> {
        let model = self.model(name)?;
        let library = Library::of_user();
        let out = self.out.clone().unwrap_or_else(|| library.folder(&model.name));
        ensure!(
            out.symlink_metadata().is_err(),
            "{} exists already; remove it first, or choose another folder with --out",
            out.display()
        );
        let hub = Hub::of_user(Patience::default())?;
        let pull = Pulled::list(&hub, model)?;
        for (repository, commit, licence, size) in pull.repositories() {
            let licence = licence.unwrap_or("not stated");
            println!("{repository} at {:.12}: {}, licence {licence}", commit, bytes(size));
        }
        println!(
            "{} to download, licence of the model: {}",
            bytes(pull.size()),
            pull.licence().unwrap_or("not stated; see the page of its repository")
        );
        let style =
            ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")?;
        let bar = ProgressBar::new(pull.size()).with_style(style);
        let import = pull.import(&hub, &mut |there| {
            bar.set_position(there);
            Interrupt::check().map_err(|e| Error::new(ErrorKind::Cancelled, name, e))
        })?;
        bar.finish_and_clear();
        write(import, &out, &self.storage)
    }

    /// The model called `name`, with what the options say of it.
    fn model(&self, name: &str) -> Result<Published> {
        let mut model = match self.kind {
            _ if !name.contains('/') => {
                ensure!(
                    self.kind.is_none(),
                    "--kind is for a repository owner/name; {name} is in the list of models"
                );
                Published::named(name)?
            }
            Some(KindArg::ShowO) => Published::like(Kind::ShowO, name),
            Some(KindArg::Unigen) => Published::like(Kind::Unigen, name),
            Some(KindArg::Parts) => Published::like(Kind::Parts, name),
            None => {
                anyhow::bail!("{name}: say what the repository holds with --kind show-o, unigen or parts")
            }
        };
        if let Some(repository) = &self.image_tokenizer {
            model.image_tokenizer.clone_from(repository);
        }
        for (given, part) in [(&self.vision, &mut model.vision), (&self.tokenizer, &mut model.tokenizer)] {
            if given.is_some() {
                part.clone_from(given);
            }
        }
        if let Some(sampling) = self.sampling {
            model.turbo = sampling == ShowOSampling::Turbo;
        }
        model.image_size = self.image_size.or(model.image_size);
        model.file = self.file.clone().or(model.file);
        Ok(model)
    }
}

/// Prints the published models.
fn list() -> Result<()> {
    let all = Published::all()?;
    let width = all.iter().map(|model| model.name.len()).max().unwrap_or(0);
    for Published { name, about, checkpoint, .. } in all {
        println!("{name:<width$}  {about} ({checkpoint})");
    }
    Ok(())
}
