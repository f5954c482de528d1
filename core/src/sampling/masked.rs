//! The loop of masked parallel decoding (MaskGIT, Chang et al., arXiv 2202.04200, section 3.2), as UniGen publishes it.

use super::blocks::{Blocks, Target};
use super::draw::{draw_code, highest};
use super::guidance::guided;
use super::read::read_logits;
use super::step::{Flow, Preview, StepReport, StepState};
use super::{Branch, Counted, Noise, Order, still_masked};
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use crate::ops;
use burn::tensor::Tensor;
use std::ops::Range;

/// How the decoder is run at each step. The images are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The prefix once, then the target block over its keys and values, with the last layer and the head for masked rows
    /// only.
    Cached,
    /// Everything at every step, as published: the oracle of tests and the baseline of benches.
    Naive,
}

/// Settings of one decoding.
#[derive(Debug, Clone, Copy)]
pub struct MaskedDecoding {
    /// Decoding steps, at least 1.
    pub steps: usize,
    /// Which codes a step keeps.
    pub order: Order,
    /// How the decoder is run.
    pub path: Path,
    /// Codes are drawn from this many of the likeliest; from all where there is nothing.
    pub top_k: Option<usize>,
    /// Which codes the schedule counts.
    pub counted: Counted,
}

impl MaskedDecoding {
    /// UniGen's decoding: over cached prefixes, from all codes, counting those that are to be drawn.
    pub fn new(steps: usize, order: Order) -> Self {
        Self { steps, order, path: Path::Cached, top_k: None, counted: Counted::Unknown }
    }

    /// Fills the `None`s of `targets` (the codes of one image each, row-major) with codes.
    ///
    /// `delimiters` are the token ids before and after a block of codes (soi, eoi). `on_step` sees every step and
    /// may cancel; decoding waits for it, so that a caller on a single thread can let others run.
    ///
    /// # Errors
    /// `Config` where there are no steps, or where branches, targets and noise do not fit one another or the model;
    /// `Cancelled` where `on_step` asks for it; `Device`.
    pub async fn decode(
        &self,
        model: &UniGen,
        branches: &[Branch],
        targets: Vec<Vec<Option<u32>>>,
        delimiters: [u32; 2],
        noise: &dyn Noise,
        mut on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<Vec<u32>>> {
        let images = targets.len();
        if self.steps == 0 || noise.images() < images {
            let what = format!("{} steps, noise for {} of {images} images", self.steps, noise.images());
            return Err(Error::new(ErrorKind::Config, "masked decoding", what)
                .fix("ask for at least one step and give noise for every image"));
        }
        let blocks = Blocks::of_branches(model, branches, &targets, delimiters)?;
        // No shader finds the likeliest codes; models that draw from those take few steps, so reading logits costs little.
        let on_device = self.top_k.is_none() && ops::sample::on_device(blocks.device());
        if let (Path::Cached, true, Some(seeds)) = (self.path, on_device, noise.seeds(images)) {
            return self.decode_on_device(model, branches, &blocks, &targets, seeds, on_step).await;
        }
        let turns = self.order.turns(images, targets[0].len(), noise);
        let mut codes = targets;
        let mut drawn = Preview {
            codes: codes.iter().map(|c| c.iter().map(|c| c.unwrap_or(0)).collect()).collect(),
            log_probs: codes.iter().map(|c| vec![0.0; c.len()]).collect(),
            masked: Vec::new(),
        };
        let unknown = masked_positions(&codes);
        let counts =
            unknown.iter().zip(&codes).map(|(unknown, all)| self.counted.of(all.len(), unknown.len()));
        let counts: Vec<usize> = counts.collect();
        let cache = (self.path == Path::Cached).then(|| blocks.prefill(model));
        let mut temperature = self.order.temperature();
        let classes = model.config().code_classes();
        for step in 1..=self.steps {
            let masked = masked_positions(&codes);
            let left = masked.iter().zip(&counts);
            let left: Vec<usize> =
                left.map(|(masked, &count)| still_masked(count, masked.len(), step, self.steps)).collect();
            // In an order that is known beforehand, only what will stay is drawn; the last step draws all.
            let wanted = match &turns {
                Some(turns) if step < self.steps => {
                    (0..images).map(|i| highest(&masked[i], &turns[i], left[i])).collect()
                }
                _ => masked.clone(),
            };
            let hidden = blocks.hidden(model, cache.as_ref(), &codes, &wanted)?;
            let places =
                wanted.iter().enumerate().flat_map(|(i, wanted)| wanted.iter().map(move |&p| (i, p)));
            let places: Vec<(usize, usize)> = places.collect();
            temperature *= 1.0 - step as f32 / self.steps as f32;
            drawn.masked = codes.iter().map(|c| c.iter().map(Option::is_none).collect()).collect();
            let mut confidence: Vec<Vec<f32>> = codes.iter().map(|codes| vec![0.0; codes.len()]).collect();
            for piece in pieces(places.len(), branches.len() * classes) {
                let logits = read_logits(guided(model, branches, &hidden, piece.clone())).await?;
                for (&(image, position), row) in places[piece].iter().zip(logits.chunks(classes)) {
                    let draw = |class| noise.token(step - 1, image, position, class);
                    let (code, log_p) = draw_code(row, &model.config().code_groups, self.top_k, draw);
                    drawn.codes[image][position] = code;
                    drawn.log_probs[image][position] = log_p;
                    let noise = noise.confidence(step - 1, image, position);
                    confidence[image][position] = log_p.max(ops::sample::LEAST_LOG_P) + temperature * noise;
                }
            }
            for image in 0..images {
                let scores = turns.as_ref().unwrap_or(&confidence);
                for position in highest(&masked[image], &scores[image], left[image]) {
                    drawn.masked[image][position] = false;
                    codes[image][position] = Some(drawn.codes[image][position]);
                }
            }
            let report = StepReport { step, steps: self.steps, state: StepState::Here(&drawn) };
            on_step(report).await.check(step)?;
        }
        Ok(drawn.codes)
    }

    /// Guided logits of the masked positions of `targets` before anything is drawn, `[positions, classes]`.
    ///
    /// # Errors
    /// `Config` where branches and targets do not fit one another or the model.
    pub fn first_logits(
        &self,
        model: &UniGen,
        branches: &[Branch],
        targets: &[Vec<Option<u32>>],
        delimiters: [u32; 2],
    ) -> Result<Tensor<2>> {
        let blocks = Blocks::of_branches(model, branches, targets, delimiters)?;
        let cache = (self.path == Path::Cached).then(|| blocks.prefill(model));
        let masked = masked_positions(targets);
        let hidden = blocks.hidden(model, cache.as_ref(), targets, &masked)?;
        Ok(guided(model, branches, &hidden, 0..masked.iter().map(Vec::len).sum()))
    }
}

/// Equal pieces of `rows` rows whose logits, `width` values a row, are in memory together: those of a large picture over a
/// large codebook would take more than its decoder does.
fn pieces(rows: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    /// Values of a piece, about: 16 MiB.
    const PIECE: usize = 1 << 22;
    let count = (rows * width).div_ceil(PIECE).min(rows);
    (0..count).map(move |piece| piece * rows / count..(piece + 1) * rows / count)
}

/// Positions of each image's masked codes.
pub(super) fn masked_positions(targets: &[Target]) -> Vec<Vec<usize>> {
    targets.iter().map(|c| (0..c.len()).filter(|&p| c[p].is_none()).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::sampling::{Prefix, Seeded, Seeds, edit_guidance, text_guidance};
    use burn::tensor::{Device, Int};
    use pollster::FutureExt;

    fn model(groups: Vec<usize>) -> UniGen {
        let mut config = ModelConfig::preset("nano").unwrap();
        config.decoder.num_hidden_layers = 2;
        config.image_size = 24;
        if groups.len() == 1 {
            config.text_vocab = 100;
            config.decoder.vocab_size = 100 + (1 << groups[0]) + 1;
        }
        config.code_groups = groups;
        UniGen::new(&config, &Device::flex())
    }

    /// A prefix of some tokens. The first `block` of them see one another.
    fn prefix(model: &UniGen, ids: &[i32], block: usize) -> Prefix {
        let mut visible: Vec<usize> = (1..=ids.len()).collect();
        visible[..block].fill(block);
        Prefix::new(model.llm.embed(Tensor::<1, Int>::from_ints(ids, &Device::flex())), visible).unwrap()
    }

    fn decode(model: &UniGen, path: Path, targets: &[Vec<Option<u32>>], seed: u64) -> Result<Vec<Vec<u32>>> {
        let order = Order::Confidence { temperature: 1.0 };
        let settings = MaskedDecoding { path, ..MaskedDecoding::new(4, order) };
        let full = vec![prefix(model, &[1, 5, 9, 7, 2], 3), prefix(model, &[1, 8, 3], 2)];
        let image = vec![prefix(model, &[1, 5, 9], 3), prefix(model, &[1, 8], 2)];
        let none = vec![prefix(model, &[1], 1); 2];
        let branches = edit_guidance(3.0, 1.5, full, image, none);
        settings
            .decode(model, &branches, targets.to_vec(), [3, 4], &Seeded { seed }, async |_| Flow::Continue)
            .block_on()
    }

    #[test]
    fn cached_and_naive_paths_draw_the_same() {
        for groups in [vec![6], vec![3, 4]] {
            let model = model(groups);
            // The second image is inpainted: some of its codes are given, so the images' steps differ in size.
            let mut targets = vec![vec![None; 9]; 2];
            targets[1][2] = Some(5);
            targets[1][7] = Some(1);
            let cached = decode(&model, Path::Cached, &targets, 1).unwrap();
            assert_eq!(cached, decode(&model, Path::Naive, &targets, 1).unwrap());
            assert_eq!([cached[1][2], cached[1][7]], [5, 1]);
            assert_ne!(cached, decode(&model, Path::Cached, &targets, 2).unwrap());
            assert!(cached.iter().flatten().all(|&c| (c as usize) < model.config().codebook_size()));
        }
    }

    #[test]
    fn images_of_one_prefix_share_it() {
        let model = model(vec![3, 4]);
        let [a, b] = [prefix(&model, &[1, 5, 9, 7, 2], 3), prefix(&model, &[1, 8, 3], 2)];
        let empty = prefix(&model, &[1], 1);
        let own =
            text_guidance(3.0, vec![a.clone(), a.clone(), b.clone(), b.clone()], vec![empty.clone(); 4]);
        let shared = text_guidance(3.0, vec![a, b], vec![empty]);
        for path in [Path::Cached, Path::Naive] {
            let order = Order::Confidence { temperature: 1.0 };
            let settings = MaskedDecoding { path, ..MaskedDecoding::new(4, order) };
            let draw = |branches: &[Branch]| {
                let mut fixed = Vec::new();
                let targets = vec![vec![None; 9]; 4];
                let on_step = async |step: StepReport<'_>| {
                    fixed.extend(step.preview().await.unwrap().log_probs.concat());
                    Flow::Continue
                };
                let drawn = settings.decode(&model, branches, targets, [3, 4], &Seeded { seed: 1 }, on_step);
                (drawn.block_on().unwrap(), fixed)
            };
            let (ours, theirs) = (draw(&shared), draw(&own));
            assert_eq!(ours.0, theirs.0);
            assert!(ours.1.iter().zip(&theirs.1).all(|(a, b)| (a - b).abs() < 1e-5 && *a < 0.0));
        }
    }

    #[test]
    fn logits_in_pieces_are_those_of_all_rows() {
        for (rows, width, count) in
            [(0, 8, 0), (1024, 16_384, 4), (3, 1 << 23, 3), (7, 1, 1), (2052, 8192, 5)]
        {
            let all: Vec<_> = pieces(rows, width).collect();
            assert_eq!(all.len(), count);
            assert!(all.into_iter().flatten().eq(0..rows), "{rows} {width}");
        }
        let model = model(vec![6]);
        let branches = text_guidance(3.0, vec![prefix(&model, &[1, 2], 0)], vec![prefix(&model, &[1], 0)]);
        let width = model.config().decoder.hidden_size;
        let hidden = Tensor::<2>::random([18, width], burn::tensor::Distribution::Default, &Device::flex());
        let part = |rows| guided(&model, &branches, &hidden, rows).into_data();
        let halves = Tensor::<2>::cat(
            [part(0..5), part(5..9)].map(|half| Tensor::from_data(half, &Device::flex())).to_vec(),
            0,
        );
        halves.into_data().assert_eq(&part(0..9), true);
    }

    #[test]
    fn a_wholly_given_target_stays() {
        let targets = vec![(0..9).map(Some).collect::<Vec<_>>(), vec![Some(3); 9]];
        let given: Vec<Vec<u32>> = targets.iter().map(|t| t.iter().flatten().copied().collect()).collect();
        assert_eq!(decode(&model(vec![6]), Path::Cached, &targets, 1).unwrap(), given);
    }

    #[test]
    fn no_steps_and_cancelling_are_errors() {
        let model = model(vec![6]);
        let branches = text_guidance(1.0, vec![prefix(&model, &[1, 2], 0)], vec![]);
        let run = |steps, flow| {
            let settings = MaskedDecoding::new(steps, Order::Confidence { temperature: 1.0 });
            let targets = vec![vec![None; 4]];
            settings
                .decode(&model, &branches, targets, [3, 4], &Seeded { seed: 0 }, async |_| flow)
                .block_on()
                .unwrap_err()
                .kind
        };
        assert_eq!(run(0, Flow::Continue), ErrorKind::Config);
        assert_eq!(run(2, Flow::Cancel), ErrorKind::Cancelled);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let model = model(vec![3, 4]);
        let settings = MaskedDecoding::new(2, Order::Confidence { temperature: 1.0 });
        let good = || text_guidance(1.0, vec![prefix(&model, &[1, 2], 0)], vec![]);
        let fails = |branches: &[Branch], targets: Vec<Target>, delimiters, seeds: usize| {
            let noise = Seeds(vec![0; seeds]);
            let on_step = async |_: StepReport<'_>| Flow::Continue;
            let error =
                settings.decode(&model, branches, targets.clone(), delimiters, &noise, on_step).block_on();
            let error = error.unwrap_err();
            assert!(error.kind == ErrorKind::Config && !error.fix.is_empty(), "{error}");
            error.to_string()
        };
        let masked = || vec![vec![None; 9]];
        let narrow = Prefix::causal(Tensor::zeros([2, 3], &Device::flex()));
        let empty = Prefix::causal(Tensor::zeros([0, model.config().decoder.hidden_size], &Device::flex()));
        for (found, words) in [
            (fails(&[], masked(), [3, 4], 1), "0 branches"),
            (fails(&good(), vec![], [3, 4], 1), "0 images"),
            (fails(&good(), masked(), [3, 4], 0), "noise for 0 of 1"),
            (fails(&good(), masked(), [3, 1 << 20], 1), "delimiter 1048576"),
            (fails(&good(), vec![vec![]], [3, 4], 1), "number"),
            (fails(&good(), vec![vec![None; 9], vec![None; 8]], [3, 4], 2), "number"),
            (fails(&good(), vec![vec![None; 8]], [3, 4], 1), "9 codes"),
            (fails(&good(), vec![vec![Some(128); 9]], [3, 4], 1), "128"),
            (fails(&text_guidance(1.0, vec![narrow], vec![]), masked(), [3, 4], 1), "[2, 3]"),
            (fails(&text_guidance(1.0, vec![empty], vec![]), masked(), [3, 4], 1), "[0, "),
        ] {
            assert!(found.contains(words), "{found}: {words}");
        }
        assert!(settings.first_logits(&model, &[], &masked(), [3, 4]).is_err());
        assert!(Prefix::new(Tensor::zeros([2, 3], &Device::flex()), vec![1]).is_err());
        assert!(Prefix::new(Tensor::zeros([2, 3], &Device::flex()), vec![1, 3]).is_err());
    }
}
