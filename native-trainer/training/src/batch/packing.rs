//! Packs several sequences without padding and runs the decoder over them.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use rand::{Rng, RngExt, seq::SliceRandom};
use std::ops::Range;
use unigen_core::decoder::Wanted;
use unigen_core::image_tokenizer::CodeGroups;
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::sequence::{AttentionLayout, Row, Sequence};

/// A sequence and the data of its rows.
#[derive(Default)]
pub struct Example {
    pub sequence: Sequence,
    /// Features of the source image from the frozen tower, `[rows, features]`, one for each semantic row.
    pub semantic: Option<Tensor<2>>,
    /// Codes of the source image, one for each source row.
    pub source: Vec<u32>,
    /// Codes of the target image, one for each target row.
    pub target: Vec<u32>,
    /// Which target codes are masked.
    pub masked: Vec<bool>,
}

impl Example {
    /// The rows that the loss covers: those of masked codes, or those before the tokens of the answers.
    ///
    /// # Errors
    /// If the mask does not fit the target.
    fn loss_rows(&self) -> Result<Vec<usize>> {
        let mut rows = self.sequence.masked_rows(&self.masked)?;
        rows.extend(self.sequence.answer_labels().iter().map(|(row, _)| row));
        Ok(rows)
    }
}

/// Draws a mask by the cosine schedule of MaskGIT (Chang et al., arXiv 2202.04200, section 3.3): `⌈cos(π u / 2)
/// codes⌉` codes are masked, at least one.
pub fn mask(codes: usize, rng: &mut impl Rng) -> Vec<bool> {
    let share = (rng.random_range(0.0..1.0_f64) * std::f64::consts::FRAC_PI_2).cos();
    let count = ((share * codes as f64).ceil() as usize).clamp(1.min(codes), codes);
    let mut masked: Vec<bool> = (0..codes).map(|i| i < count).collect();
    masked.shuffle(rng);
    masked
}

/// The final hidden states of the rows that the loss covers.
pub struct Hidden {
    /// `[rows, width]`, one example after another.
    pub rows: Tensor<2>,
    /// The first row of each example, then the total number of rows.
    pub starts: Vec<usize>,
}

/// Runs the decoder over whole sequences.
///
/// # Errors
/// If an example lacks codes or features for its rows, or its mask does not fit them.
pub fn hidden(model: &UniGen, examples: &[Example], device: &Device) -> Result<Hidden> {
    // Tokens, codes and features are embedded separately and then put in order.
    let (mut ids, mut codes) = (Vec::<i32>::new(), Vec::<Option<u32>>::new());
    let (mut features, mut seen) = (Vec::new(), 0);
    let (mut order, mut places) = (Vec::<Place>::new(), Vec::new());
    let (mut wanted, mut starts) = (Vec::new(), vec![0]);
    for example in examples {
        let first = places.len();
        wanted.extend(example.loss_rows()?.iter().map(|row| first + row));
        starts.push(wanted.len());
        let semantic = example.semantic.as_ref().map_or(0, |features| features.dims()[0]);
        for (place, row) in example.sequence.rows().enumerate() {
            places.push(place);
            let code = match row {
                Row::Token(id) => {
                    order.push(Place::Token(ids.len()));
                    ids.push(id as i32);
                    continue;
                }
                Row::Semantic(i) => {
                    ensure!(i < semantic, "no feature for row {place} of a sequence");
                    order.push(Place::Feature(seen + i));
                    continue;
                }
                Row::Source(i) => example.source.get(i).copied().map(Some),
                Row::Target(i) => {
                    let masked = example.masked.get(i).copied().unwrap_or(false);
                    example.target.get(i).map(|&code| (!masked).then_some(code))
                }
            };
            order.push(Place::Code(codes.len()));
            codes.push(code.with_context(|| format!("no code for row {place} of a sequence"))?);
        }
        features.extend(example.semantic.clone());
        seen += semantic;
    }
    let order: Vec<i32> = order.iter().map(|place| place.index(ids.len(), codes.len()) as i32).collect();
    let mut parts = vec![model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device))];
    if !codes.is_empty() {
        parts.push(model.embed_codes(&codes, device)?);
    }
    if !features.is_empty() {
        let projector = model.mm_projector.as_ref().context("the model has no projector for features")?;
        parts.push(projector.forward(Tensor::cat(features, 0)));
    }
    let order = Tensor::<1, Int>::from_ints(order.as_slice(), device);
    let x = ops::select_rows(Tensor::cat(parts, 0), order);
    let layout = AttentionLayout::full(examples.iter().map(|example| &example.sequence));
    let positions = model.llm.positions(&places, device);
    let wanted = Wanted::new(&wanted, &positions, &layout, device);
    Ok(Hidden { rows: model.llm.forward_wanted(x, &positions, &layout, &wanted), starts })
}

/// Where the embedding of a row lies before the rows are put in order.
enum Place {
    Token(usize),
    Code(usize),
    Feature(usize),
}

impl Place {
    fn index(&self, tokens: usize, codes: usize) -> usize {
        match self {
            Self::Token(index) => *index,
            Self::Code(index) => tokens + index,
            Self::Feature(index) => tokens + codes + index,
        }
    }
}

impl Hidden {
    fn of(&self, examples: Range<usize>) -> Option<Tensor<2>> {
        let rows = self.starts[examples.start]..self.starts[examples.end];
        (!rows.is_empty()).then(|| self.rows.clone().slice([rows]))
    }

    /// Cross-entropy of the masked codes in the examples `of`: the sum over a code's bit groups, averaged over the
    /// codes. `None` if `of` is empty. All of these examples must have a target.
    ///
    /// # Errors
    /// If an example's codes are not those of the model.
    pub fn code_loss(
        &self,
        model: &UniGen,
        examples: &[Example],
        of: Range<usize>,
    ) -> Result<Option<Tensor<1>>> {
        let Some(rows) = self.of(of.clone()) else { return Ok(None) };
        let groups = CodeGroups::new(model.config().code_groups.clone());
        let mut labels = vec![Vec::new(); groups.bits().len()];
        for example in &examples[of] {
            for (&code, _) in example.target.iter().zip(&example.masked).filter(|(_, masked)| **masked) {
                let classes = groups.split_code(code);
                labels.iter_mut().zip(classes).for_each(|(labels, class)| labels.push(class));
            }
        }
        let logits = model.code_logits(rows);
        let [count, _] = logits.dims();
        let mut first = 0;
        let losses = groups.classes().zip(labels).map(|(classes, labels)| {
            first += classes;
            Ok(ops::cross_entropy(logits.clone().slice([0..count, first - classes..first]), labels)?)
        });
        Ok(losses.collect::<Result<Vec<_>>>()?.into_iter().reduce(|a, b| a + b))
    }

    /// Mean cross-entropy of the answers' tokens in the examples `of`. `None` if `of` is empty. All of these examples
    /// must have answers.
    ///
    /// # Errors
    /// If an answer has tokens that the model does not know.
    pub fn answer_loss(
        &self,
        model: &UniGen,
        examples: &[Example],
        of: Range<usize>,
    ) -> Result<Option<Tensor<1>>> {
        let Some(rows) = self.of(of.clone()) else { return Ok(None) };
        let answers = examples[of].iter().flat_map(|example| example.sequence.answer_labels());
        let labels = answers.map(|(_, token)| token).collect();
        Ok(Some(ops::cross_entropy(model.llm.logits(rows, 0..model.config().text_vocab), labels)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::rng_at;
    use burn::tensor::Distribution;
    use unigen_core::config::{ModelConfig, SpecialTokens};
    use unigen_core::sequence::{EditBranch, ImageRows, Layouts, Opener};
    use unigen_core::text::Template;

    fn model_on(device: &Device) -> UniGen {
        let mut config = ModelConfig::preset("nano").unwrap();
        config.decoder.num_hidden_layers = 2;
        config.image_size = 16;
        UniGen::new(&config, device)
    }

    fn model() -> UniGen {
        model_on(&Device::flex())
    }

    /// Features as wide as those of the nano tower.
    fn features(rows: usize, device: &Device) -> Tensor<2> {
        Tensor::random([rows, 192], Distribution::Normal(0.0, 1.0), device)
    }

    /// Two target images with 3 and 1 masked codes, two captions, two texts.
    fn examples() -> Vec<Example> {
        seeing(&Device::flex()).into_iter().filter(|example| example.semantic.is_none()).collect()
    }

    /// [`examples`] with an edit and a question among them, which have 2 and 3 features.
    fn seeing(device: &Device) -> Vec<Example> {
        let special = SpecialTokens::FIRST;
        let template = Template { user: vec![20, 10], assistant: vec![21, 10], newline: vec![10] };
        let layouts = Layouts { special: &special, template: &template, opener: Opener::Block };
        let generate = |text: &[u32], masked: [bool; 4]| Example {
            sequence: layouts.generate(text, 4),
            target: vec![7, 65_535, 300, 4096],
            masked: masked.to_vec(),
            ..Example::default()
        };
        let plain =
            |sequence, source: &[u32]| Example { sequence, source: source.to_vec(), ..Example::default() };
        vec![
            generate(&[30, 31, 32], [true, false, true, true]),
            Example {
                sequence: layouts.edit(EditBranch::Full, &[33], 2, 4).unwrap(),
                semantic: Some(features(2, device)),
                source: vec![1, 2, 3, 4],
                ..generate(&[], [true, false, false, true])
            },
            generate(&[], [false, false, false, true]),
            Example {
                semantic: Some(features(3, device)),
                ..plain(
                    layouts.conversation(ImageRows::Semantic(3), [[&[40][..], &[50]], [&[41], &[51, 52]]]),
                    &[],
                )
            },
            plain(layouts.conversation(ImageRows::Codes(4), [[&[40][..], &[50, 51]]]), &[1, 2, 60_000, 4]),
            plain(layouts.conversation(ImageRows::Codes(4), [[&[41, 42][..], &[52]]]), &[9, 8, 7, 6]),
            plain(layouts.text(&[60, 61, 62]), &[]),
            plain(layouts.text(&[]), &[]),
        ]
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{worst}");
    }

    #[test]
    fn rows_are_in_the_order_of_their_sequence() {
        let (model, device) = (model(), Device::flex());
        let examples = seeing(&device);
        let batch = hidden(&model, &examples, &device).unwrap();
        for (example, place) in examples.iter().zip(batch.starts.windows(2)) {
            let source: Vec<_> = example.source.iter().copied().map(Some).collect();
            let target = example.target.iter().zip(&example.masked);
            let target: Vec<_> = target.map(|(&code, masked)| (!masked).then_some(code)).collect();
            let code =
                |codes: &[Option<u32>], i| model.embed_codes(codes, &device).unwrap().slice([i..i + 1]);
            let rows = example.sequence.rows().map(|row| match row {
                Row::Token(id) => model.llm.embed(Tensor::<1, Int>::from_ints([id as i32], &device)),
                Row::Source(i) => code(&source, i),
                Row::Target(i) => code(&target, i),
                Row::Semantic(i) => {
                    let feature = example.semantic.as_ref().unwrap().clone().slice([i..i + 1]);
                    model.mm_projector.as_ref().unwrap().forward(feature)
                }
            });
            let x = Tensor::cat(rows.collect(), 0);
            let length = example.sequence.len();
            let positions = model.llm.positions(&(0..length).collect::<Vec<_>>(), &device);
            let layout = AttentionLayout::full([&example.sequence]);
            let alone = model.llm.forward(x, &positions, &layout);
            let wanted: Vec<i32> = example.loss_rows().unwrap().iter().map(|&row| row as i32).collect();
            let alone = alone.select(0, Tensor::<1, Int>::from_ints(wanted.as_slice(), &device));
            close(&values(batch.rows.clone().slice([place[0]..place[1]])), &values(alone));
        }
    }

    #[test]
    fn gradients_reach_the_projector_and_not_the_features() {
        let device = Device::flex().autodiff();
        let (model, examples) = (model_on(&device), seeing(&device));
        let hidden = hidden(&model, &examples, &device).unwrap();
        let loss = hidden.code_loss(&model, &examples, 1..2).unwrap().unwrap()
            + hidden.answer_loss(&model, &examples, 3..4).unwrap().unwrap();
        let gradients = loss.backward();
        let (first, _, second) = &model.mm_projector.as_ref().unwrap().mm_projector;
        for layer in [first, second] {
            let gradient = layer.weight.values().grad(&gradients).expect("the projector learns");
            assert!(gradient.abs().max().into_scalar::<f32>() > 0.0);
        }
        for features in examples.iter().filter_map(|example| example.semantic.as_ref()) {
            assert!(features.grad(&gradients).is_none());
        }
    }

    #[test]
    fn masks_hide_one_code_at_least_and_the_cosine_share_on_average() {
        for codes in [1, 2, 144] {
            let mut hidden = 0;
            for index in 0..2000 {
                let masked = mask(codes, &mut rng_at(1, index));
                let count = masked.iter().filter(|&&masked| masked).count();
                assert!(masked.len() == codes && (1..=codes).contains(&count), "{count} of {codes}");
                hidden += count;
            }
            // The mean of cos(π u / 2) is 2 / π; rounding up adds half a code.
            let mean = hidden as f64 / 2000.0;
            let wanted = codes as f64 * std::f64::consts::FRAC_2_PI;
            assert!(mean > wanted - 2.0 && mean < wanted + 3.0, "{mean}, wanted {wanted}");
        }
        assert!(mask(0, &mut rng_at(1, 0)).is_empty());
    }

    #[test]
    fn a_loss_is_the_mean_over_all_that_is_predicted() {
        let (model, device, examples) = (model(), Device::flex(), examples());
        let batch = hidden(&model, &examples, &device).unwrap();
        let alone: Vec<Hidden> =
            examples.iter().map(|one| hidden(&model, std::slice::from_ref(one), &device).unwrap()).collect();
        let mean = |losses: Vec<(Tensor<1>, usize)>| {
            let count: usize = losses.iter().map(|(_, count)| count).sum();
            let sum: f32 = losses.into_iter().map(|(loss, n)| values(loss)[0] * n as f32).sum();
            [sum / count as f32]
        };
        let codes = (0..2).map(|i| {
            let one = std::slice::from_ref(&examples[i]);
            let masked = examples[i].masked.iter().filter(|&&masked| masked).count();
            (alone[i].code_loss(&model, one, 0..1).unwrap().unwrap(), masked)
        });
        let together = batch.code_loss(&model, &examples, 0..2).unwrap().unwrap();
        close(&values(together), &mean(codes.collect()));
        for of in [2..4, 4..6] {
            let answers = of.clone().map(|i| {
                let one = std::slice::from_ref(&examples[i]);
                let count = examples[i].sequence.answer_labels().len();
                (alone[i].answer_loss(&model, one, 0..1).unwrap().unwrap(), count)
            });
            let together = batch.answer_loss(&model, &examples, of.clone()).unwrap().unwrap();
            close(&values(together), &mean(answers.collect()));
        }
        assert!(batch.code_loss(&model, &examples, 2..2).unwrap().is_none());
        assert!(batch.answer_loss(&model, &examples, 6..6).unwrap().is_none());
    }

    #[test]
    fn missing_codes_and_features_are_errors() {
        let device = Device::flex();
        let mut examples = seeing(&device);
        examples[4].source.pop();
        let error = hidden(&model(), &examples, &device).err().unwrap();
        assert!(error.to_string().contains("no code for row 6"), "{error}");
        let mut examples = seeing(&device);
        examples[3].semantic = Some(features(2, &device));
        let error = hidden(&model(), &examples, &device).err().unwrap();
        assert!(error.to_string().contains("no feature for row 5"), "{error}");
    }
}
