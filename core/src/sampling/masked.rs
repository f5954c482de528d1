//! Masked parallel decoding of image codes with guidance (MaskGIT; the published loop of UniGen).

use super::{Noise, Order, still_masked};
use crate::decoder::{Cache, KeyOrder, Positions, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use crate::ops;
use crate::sequence::{AttentionLayout, Piece, Segment, Sequence};
use burn::tensor::{Device, Int, Tensor};
use std::ops::Range;

/// What stands before a target block: embedded rows and, per row, how many of the rows it sees.
#[derive(Debug, Clone)]
pub struct Prefix {
    /// `[rows, width]`
    pub rows: Tensor<2>,
    /// Row `i` sees rows `0..visible[i]`.
    pub visible: Vec<usize>,
}

impl Prefix {
    /// Text: every row sees itself and what is before it.
    pub fn causal(rows: Tensor<2>) -> Self {
        let visible = (1..=rows.dims()[0]).collect();
        Self { rows, visible }
    }

    /// Everything before the live block of `plan`, or all of it where there is none. `semantic` and `source` are the
    /// embedded rows of the source image, its projected features and its codes, `[rows, width]` each.
    pub fn of(
        model: &UniGen,
        plan: &Sequence,
        semantic: Option<&Tensor<2>>,
        source: Option<&Tensor<2>>,
        device: &Device,
    ) -> Self {
        let rows = plan.pieces.iter().filter_map(|piece| match piece {
            Piece::Tokens(ids) => {
                let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
                Some(model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device)))
            }
            Piece::Semantic(_) => semantic.cloned(),
            Piece::Source(_) => source.cloned(),
            Piece::Target(_) => None,
        });
        let rows = Tensor::cat(rows.collect(), 0).slice([0..plan.prefix_len]);
        Self { rows, visible: plan.ends()[..plan.prefix_len].to_vec() }
    }

    fn len(&self) -> usize {
        self.visible.len()
    }
}

/// One term of the guidance: the prefixes of all images under one condition, and its weight.
/// Guided logits are the weighted sum over the branches; the weights add up to 1, or to `1 / t` where codes are to be drawn
/// at temperature `t`.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Weight of this branch's logits.
    pub weight: f32,
    /// One prefix an image, or one for every so many images in a row, which share its keys and values.
    pub prefixes: Vec<Prefix>,
}

/// Classifier-free guidance: `uncond + scale (cond - uncond)`. One branch where the scale is 1.
pub fn text_guidance(scale: f32, cond: Vec<Prefix>, uncond: Vec<Prefix>) -> Vec<Branch> {
    let mut branches = vec![Branch { weight: scale, prefixes: cond }];
    if scale != 1.0 {
        branches.push(Branch { weight: 1.0 - scale, prefixes: uncond });
    }
    branches
}

/// Two-scale guidance of editing: `none + image_scale (image - none) + text_scale (full - image)`.
pub fn edit_guidance(
    text_scale: f32,
    image_scale: f32,
    full: Vec<Prefix>,
    image: Vec<Prefix>,
    none: Vec<Prefix>,
) -> Vec<Branch> {
    let all = [(text_scale, full), (image_scale - text_scale, image), (1.0 - image_scale, none)];
    let used = all.into_iter().filter(|(weight, _)| *weight != 0.0);
    used.map(|(weight, prefixes)| Branch { weight, prefixes }).collect()
}

/// How the decoder is run at each step; the images are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The prefix once, then the target block over its keys and values; last layer and head for masked rows only.
    Cached,
    /// Everything at every step, as published: the test oracle and the baseline of benches.
    Naive,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop: decoding ends with a `Cancelled` error.
    Cancel,
}

/// A step that is done, or at least under way: a GPU may still be at work on it.
#[derive(Debug)]
pub struct StepReport<'a> {
    /// Step, counted from 1.
    pub step: usize,
    /// Of how many.
    pub steps: usize,
    pub(super) state: StepState<'a>,
}

/// Where the codes of a step are.
#[derive(Debug)]
pub(super) enum StepState<'a> {
    Here(&'a Preview),
    OnDevice {
        /// `[images, tokens]`
        drawn: &'a Tensor<2, Int>,
        /// `[images, tokens]`
        log_probs: &'a Tensor<2>,
        /// `[images, tokens]`, negative where masked again
        codes: &'a Tensor<2, Int>,
    },
}

/// What a step has drawn.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Per image, the codes drawn so far (before re-masking); 0 where none has been, as a scattered order may leave it.
    pub codes: Vec<Vec<u32>>,
    /// Per image, the log-probabilities that those codes had when they were drawn, guided, at temperature 1.
    pub log_probs: Vec<Vec<f32>>,
    /// Per image, what is masked again.
    pub masked: Vec<Vec<bool>>,
}

impl StepReport<'_> {
    /// What the step has drawn. A GPU is waited for, which costs time: ask for it only to show it.
    ///
    /// # Errors
    /// `Device` where the codes cannot be read.
    pub async fn preview(&self) -> Result<Preview> {
        match self.state {
            StepState::Here(preview) => Ok(preview.clone()),
            StepState::OnDevice { drawn, log_probs, codes } => {
                let tokens = drawn.dims()[1];
                let log_probs = read(log_probs.clone()).await?;
                Ok(Preview {
                    codes: read_codes(drawn.clone(), |code| code as u32).await?,
                    log_probs: log_probs.chunks(tokens).map(<[f32]>::to_vec).collect(),
                    masked: read_codes(codes.clone(), |code| code < 0).await?,
                })
            }
        }
    }
}

/// `[images, tokens]` → one vector an image.
pub(super) async fn read_codes<T>(codes: Tensor<2, Int>, convert: impl Fn(i32) -> T) -> Result<Vec<Vec<T>>> {
    let error = |e| Error::new(ErrorKind::Device, "image codes", e);
    let tokens = codes.dims()[1];
    let data = codes.into_data_async().await.map_err(|e| error(format!("{e:?}")))?;
    let values = data.convert::<i32>().try_to_vec::<i32>().map_err(|e| error(format!("{e:?}")))?;
    Ok(values.chunks(tokens).map(|image| image.iter().map(|&code| convert(code)).collect()).collect())
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
}

impl MaskedDecoding {
    /// Fills the `None`s of `targets` (one vector of codes an image, row-major) with codes.
    ///
    /// `delimiters` are the token ids before and after a block of codes (soi, eoi). `on_step` sees every step and
    /// may cancel; decoding waits for it, so that a caller on a single thread can let others run.
    ///
    /// # Errors
    /// `Config` for no steps, no branches or unequal batches; `Cancelled` where `on_step` asks for it.
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
        let unequal = |b: &Branch| b.prefixes.is_empty() || !images.is_multiple_of(b.prefixes.len());
        if self.steps == 0 || images == 0 || branches.is_empty() || branches.iter().any(unequal) {
            let what = format!("{} steps, {} branches, {images} images", self.steps, branches.len());
            return Err(Error::new(ErrorKind::Config, "masked decoding", what)
                .fix("ask for at least one step and give every branch one prefix for as many images"));
        }
        let device = branches[0].prefixes[0].rows.device();
        let block = Block::of_branches(model, branches, &targets, delimiters, &device);
        if let (Path::Cached, true, Some(seeds)) =
            (self.path, ops::sample::on_device(&device), noise.seeds(images))
        {
            return self.decode_on_device(model, branches, &block, &targets, seeds, on_step).await;
        }
        let turns = self.order.turns(images, targets[0].len(), noise);
        let mut codes = targets;
        let mut drawn = Preview {
            codes: codes.iter().map(|c| c.iter().map(|c| c.unwrap_or(0)).collect()).collect(),
            log_probs: codes.iter().map(|c| vec![0.0; c.len()]).collect(),
            masked: Vec::new(),
        };
        let initially: Vec<usize> = unknown_positions(&codes).iter().map(Vec::len).collect();
        let prepared = (self.path == Path::Cached).then(|| block.prefill(model));
        let mut temperature = self.order.temperature();
        for step in 1..=self.steps {
            let unknown = unknown_positions(&codes);
            let left = unknown.iter().zip(&initially);
            let left: Vec<usize> =
                left.map(|(unknown, &all)| still_masked(all, unknown.len(), step, self.steps)).collect();
            // In an order that is known beforehand, only what will stay is drawn; the last step draws all.
            let wanted = match &turns {
                Some(turns) if step < self.steps => {
                    (0..images).map(|i| highest(&unknown[i], &turns[i], left[i])).collect()
                }
                _ => unknown.clone(),
            };
            let logits = block.guided_logits(model, branches, prepared.as_ref(), &codes, &wanted);
            let classes = logits.dims()[1];
            let logits = read(logits).await?;
            temperature *= 1.0 - step as f32 / self.steps as f32;
            let mut rows = logits.chunks(classes);
            drawn.masked = codes.iter().map(|c| c.iter().map(Option::is_none).collect()).collect();
            for (image, wanted) in wanted.iter().enumerate() {
                let mut confidence = vec![0.0; codes[image].len()];
                for (&position, row) in wanted.iter().zip(&mut rows) {
                    let draw = |class| noise.token(step - 1, image, position, class);
                    let (code, log_p) = draw_code(row, &model.config().code_groups, draw);
                    drawn.codes[image][position] = code;
                    drawn.log_probs[image][position] = log_p;
                    let noise = noise.confidence(step - 1, image, position);
                    confidence[position] = log_p.max(ops::sample::LEAST_LOG_P) + temperature * noise;
                }
                let scores = turns.as_ref().map_or(&confidence, |turns| &turns[image]);
                for position in highest(&unknown[image], scores, left[image]) {
                    drawn.masked[image][position] = false;
                    codes[image][position] = Some(drawn.codes[image][position]);
                }
            }
            let report = StepReport { step, steps: self.steps, state: StepState::Here(&drawn) };
            go_on(on_step(report).await, step)?;
        }
        Ok(drawn.codes)
    }

    /// Guided logits of the masked positions of `targets` before anything is drawn, `[positions, classes]`.
    pub fn first_logits(
        &self,
        model: &UniGen,
        branches: &[Branch],
        targets: &[Vec<Option<u32>>],
        delimiters: [u32; 2],
    ) -> Tensor<2> {
        let device = branches[0].prefixes[0].rows.device();
        let block = Block::of_branches(model, branches, targets, delimiters, &device);
        let prepared = (self.path == Path::Cached).then(|| block.prefill(model));
        block.guided_logits(model, branches, prepared.as_ref(), targets, &unknown_positions(targets))
    }
}

/// An error where step `step` was the last one wanted.
pub(super) fn go_on(flow: Flow, step: usize) -> Result<()> {
    match flow {
        Flow::Continue => Ok(()),
        Flow::Cancel => {
            Err(Error::new(ErrorKind::Cancelled, "masked decoding", format!("cancelled at step {step}")))
        }
    }
}

/// Positions of each image's masked codes.
pub(super) fn unknown_positions(codes: &[Vec<Option<u32>>]) -> Vec<Vec<usize>> {
    codes.iter().map(|c| (0..c.len()).filter(|&p| c[p].is_none()).collect()).collect()
}

/// Those of `positions` that stay when the `left` with the lowest scores are masked again; equals stay together.
fn highest(positions: &[usize], scores: &[f32], left: usize) -> Vec<usize> {
    let mut sorted: Vec<f32> = positions.iter().map(|&position| scores[position]).collect();
    sorted.sort_by(f32::total_cmp);
    let threshold = sorted.get(left).copied().unwrap_or(f32::INFINITY);
    positions.iter().copied().filter(|&position| scores[position] >= threshold).collect()
}

/// One draw a group by the Gumbel-max trick; the code, and the sum of the groups' log-probabilities.
fn draw_code(logits: &[f32], groups: &[usize], noise: impl Fn(usize) -> f32) -> (u32, f32) {
    let (mut code, mut log_p, mut first) = (0, 0.0, 0);
    for &bits in groups {
        let classes = 1 << bits;
        let row = &logits[first..first + classes];
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = row.iter().map(|l| (l - top).exp()).sum::<f32>().ln() + top;
        let score = |class: usize| row[class] + noise(first + class);
        let best = (1..classes).fold((0, score(0)), |best, class| {
            let s = score(class);
            if s > best.1 { (class, s) } else { best }
        });
        code = code << bits | best.0 as u32;
        log_p += row[best.0] - total;
        first += classes;
    }
    (code, log_p)
}

/// The weighted sum of the branches' logits, `[branches * rows, classes]` → `[rows, classes]`.
fn guided(branches: &[Branch], logits: Tensor<2>, rows: usize) -> Tensor<2> {
    let parts = branches.iter().enumerate().map(|(b, branch)| {
        let part = logits.clone().slice([b * rows..(b + 1) * rows]);
        if branch.weight == 1.0 { part } else { part * branch.weight }
    });
    parts.reduce(|a, b| a + b).unwrap_or(logits)
}

async fn read(tensor: Tensor<2>) -> Result<Vec<f32>> {
    let error = |e| Error::new(ErrorKind::Device, "logits", e);
    let data = tensor.into_data_async().await.map_err(|e| error(format!("{e:?}")))?;
    data.try_to_vec().map_err(|e| error(format!("{e:?}")))
}

/// The target blocks of all sequences (branch after branch, image after image), and where everything lies.
pub(super) struct Block {
    prefix: Tensor<2>,
    prefix_visible: Vec<usize>,
    /// Rows of each prefix.
    prefix_rows: Vec<Range<usize>>,
    /// Of each sequence, the rows of its prefix.
    sequences: Vec<Range<usize>>,
    delimiters: Tensor<2>,
    tokens: usize,
    images: usize,
    device: Device,
}

impl Block {
    fn of_branches(
        model: &UniGen,
        branches: &[Branch],
        targets: &[Vec<Option<u32>>],
        delimiters: [u32; 2],
        device: &Device,
    ) -> Self {
        let (images, tokens) = (targets.len(), targets.first().map_or(0, Vec::len));
        let prefixes: Vec<&Prefix> = branches.iter().flat_map(|b| &b.prefixes).collect();
        let (mut of, mut first) = (Vec::new(), 0);
        for branch in branches {
            let share = images / branch.prefixes.len();
            of.extend((0..images).map(|image| first + image / share));
            first += branch.prefixes.len();
        }
        Self::new(model, &prefixes, &of, [images, tokens], delimiters, device)
    }

    /// Blocks of `tokens` codes; sequence `i` of a branch of `images` comes after the prefix `of[i]`.
    pub(super) fn new(
        model: &UniGen,
        prefixes: &[&Prefix],
        of: &[usize],
        [images, tokens]: [usize; 2],
        delimiters: [u32; 2],
        device: &Device,
    ) -> Self {
        let mut start = 0;
        let prefix_rows = prefixes.iter().map(|p| {
            start += p.len();
            start - p.len()..start
        });
        let prefix_rows: Vec<Range<usize>> = prefix_rows.collect();
        let ids = delimiters.map(|id| id as i32);
        Self {
            sequences: of.iter().map(|&prefix| prefix_rows[prefix].clone()).collect(),
            prefix_rows,
            prefix: Tensor::cat(prefixes.iter().map(|p| p.rows.clone()).collect(), 0),
            prefix_visible: prefixes.iter().flat_map(|p| p.visible.clone()).collect(),
            delimiters: model.llm.embed(Tensor::<1, Int>::from_ints(ids, device)),
            tokens,
            images,
            device: device.clone(),
        }
    }

    /// Rows of one block: soi, codes, eoi.
    fn rows(&self) -> usize {
        self.tokens + 2
    }

    /// Keys and values of the prefixes.
    pub(super) fn prefill(&self, model: &UniGen) -> Cache {
        let places: Vec<usize> = self.prefix_rows.iter().flat_map(|r| 0..r.len()).collect();
        let segments = self.prefix_rows.iter().map(|r| Segment { queries: r.clone(), keys: r.clone() });
        let visible = self
            .prefix_rows
            .iter()
            .flat_map(|r| r.clone().map(|row| [r.start as u32, (r.start + self.prefix_visible[row]) as u32]));
        let layout = AttentionLayout { visible: visible.collect(), segments: segments.collect() };
        let positions = model.llm.positions(&places, &self.device);
        model.llm.prefill(self.prefix.clone(), &positions, &layout).1
    }

    /// Blocks of the images from embedded codes `[images * tokens, width]`: `[images * rows, width]`.
    fn embed(&self, codes: Tensor<2>) -> Tensor<2> {
        let all = self.images * self.tokens;
        let rows = Tensor::cat(vec![codes, self.delimiters.clone()], 0);
        let (soi, eoi) = (all as i32, all as i32 + 1);
        let order = (0..self.images).flat_map(|image| {
            let codes = image * self.tokens..(image + 1) * self.tokens;
            std::iter::once(soi).chain(codes.map(|code| code as i32)).chain([eoi])
        });
        let order: Vec<i32> = order.collect();
        rows.select(0, Tensor::<1, Int>::from_ints(order.as_slice(), &self.device))
    }

    /// Guided logits of the unknown positions, `[positions, classes]`; over the cached prefix where there is one.
    fn guided_logits(
        &self,
        model: &UniGen,
        branches: &[Branch],
        cache: Option<&Cache>,
        codes: &[Vec<Option<u32>>],
        unknown: &[Vec<usize>],
    ) -> Tensor<2> {
        let logits = match cache {
            Some(cache) => self.cached_logits(model, cache, codes, unknown),
            None => self.naive_logits(model, codes, unknown),
        };
        guided(branches, logits, unknown.iter().map(Vec::len).sum())
    }

    /// Logits of the `wanted` positions of each image, branch after branch, with the prefix from the cache.
    pub(super) fn cached_logits(
        &self,
        model: &UniGen,
        cache: &Cache,
        codes: &[Vec<Option<u32>>],
        wanted: &[Vec<usize>],
    ) -> Tensor<2> {
        self.live(model, wanted).logits(self, model, cache, model.embed_codes(&codes.concat(), &self.device))
    }

    /// The blocks over their cached prefixes, where the logits of `positions` of each image are wanted.
    pub(super) fn live(&self, model: &UniGen, wanted: &[Vec<usize>]) -> Live {
        let rows = self.rows();
        let (mut keys, mut start) = (Vec::new(), 0);
        for prefix in &self.sequences {
            keys.push(start..start + prefix.len() + rows);
            start += prefix.len() + rows;
        }
        let queries: Vec<Range<usize>> = (0..keys.len()).map(|s| s * rows..(s + 1) * rows).collect();
        let visible = keys.iter().flat_map(|k| std::iter::repeat_n([k.start as u32, k.end as u32], rows));
        let segments =
            queries.iter().zip(&keys).map(|(q, k)| Segment { queries: q.clone(), keys: k.clone() });
        let layout = AttentionLayout { visible: visible.collect(), segments: segments.collect() };
        let places: Vec<usize> = self.sequences.iter().flat_map(|p| p.len()..p.len() + rows).collect();
        let positions: Positions = model.llm.positions(&places, &self.device);
        let order = KeyOrder::new(&self.sequences, &queries, self.prefix.dims()[0], &self.device);
        let wanted: Vec<usize> = (0..keys.len())
            .flat_map(|s| wanted[s % self.images].iter().map(move |p| s * rows + 1 + p))
            .collect();
        let wanted = Wanted::new(&wanted, &positions, &layout, &self.device);
        Live { layout, positions, order, wanted }
    }

    /// The same from all rows through all layers and the whole head.
    fn naive_logits(&self, model: &UniGen, codes: &[Vec<Option<u32>>], unknown: &[Vec<usize>]) -> Tensor<2> {
        let rows = self.rows();
        let blocks = self.embed(model.embed_codes(&codes.concat(), &self.device));
        let (mut parts, mut visible, mut segments, mut places, mut wanted) =
            (vec![], vec![], vec![], vec![], vec![]);
        let mut start = 0;
        for (s, prefix) in self.sequences.iter().enumerate() {
            let image = s % self.images;
            parts.push(self.prefix.clone().slice([prefix.clone()]));
            parts.push(blocks.clone().slice([image * rows..(image + 1) * rows]));
            let end = start + prefix.len() + rows;
            visible.extend(prefix.clone().map(|r| [start as u32, (start + self.prefix_visible[r]) as u32]));
            visible.extend(std::iter::repeat_n([start as u32, end as u32], rows));
            segments.push(Segment { queries: start..end, keys: start..end });
            places.extend(0..end - start);
            wanted.extend(unknown[image].iter().map(|p| (start + prefix.len() + 1 + p) as i32));
            start = end;
        }
        let positions = model.llm.positions(&places, &self.device);
        let layout = AttentionLayout { visible, segments };
        let hidden = model.llm.forward(Tensor::cat(parts, 0), &positions, &layout);
        let wanted = Tensor::<1, Int>::from_ints(wanted.as_slice(), &self.device);
        model.code_logits(hidden).select(0, wanted)
    }
}

/// What is the same whenever the blocks are run over their cached prefixes.
pub(super) struct Live {
    layout: AttentionLayout,
    positions: Positions,
    order: KeyOrder,
    wanted: Wanted,
}

impl Live {
    /// Logits of the wanted positions, branch after branch, from embedded codes `[images * tokens, width]`.
    pub(super) fn logits(&self, block: &Block, model: &UniGen, cache: &Cache, codes: Tensor<2>) -> Tensor<2> {
        let x = Tensor::cat(vec![block.embed(codes); block.sequences.len() / block.images], 0);
        let Self { layout, positions, order, wanted } = self;
        let (hidden, _) = model.llm.extend(x, positions, layout, cache, order, Some(wanted));
        model.code_logits(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::sampling::Seeded;
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

    /// A prefix of some tokens, the first `block` of which see one another.
    fn prefix(model: &UniGen, ids: &[i32], block: usize) -> Prefix {
        let mut prefix = Prefix::causal(model.llm.embed(Tensor::<1, Int>::from_ints(ids, &Device::flex())));
        prefix.visible[..block].fill(block);
        prefix
    }

    fn decode(model: &UniGen, path: Path, targets: &[Vec<Option<u32>>], seed: u64) -> Result<Vec<Vec<u32>>> {
        let settings = MaskedDecoding { steps: 4, order: Order::Confidence { temperature: 1.0 }, path };
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
            let settings = MaskedDecoding { steps: 4, order: Order::Confidence { temperature: 1.0 }, path };
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
            let settings =
                MaskedDecoding { steps, order: Order::Confidence { temperature: 1.0 }, path: Path::Cached };
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
}
