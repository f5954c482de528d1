//! Several sequences packed without pads, ready for the decoder.

use anyhow::{Context, Result};
use burn::tensor::{Device, Int, Tensor};
use std::ops::Range;
use unigen_core::decoder::Wanted;
use unigen_core::image_tokenizer::CodeGroups;
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::sequence::{AttentionLayout, Row, Sequence};

/// One sequence with its image codes.
pub struct Example {
    pub sequence: Sequence,
    /// Codes of the source image, one a source row.
    pub source: Vec<u32>,
    /// Codes of the image to be made, one a target row.
    pub target: Vec<u32>,
    /// Which of them are masked.
    pub masked: Vec<bool>,
}

impl Example {
    /// The rows that predict something: those of masked codes, or those before the answer's tokens.
    ///
    /// # Errors
    /// Where the mask does not fit the target.
    fn loss_rows(&self) -> Result<Vec<usize>> {
        let mut rows = self.sequence.masked_rows(&self.masked)?;
        rows.extend(self.sequence.answer_labels().iter().map(|(row, _)| row));
        Ok(rows)
    }
}

/// The final hidden states of the rows of a batch that predict something.
pub struct Hidden {
    /// `[rows, width]`, one example after another.
    pub rows: Tensor<2>,
    /// The first row of each example, and the number of all.
    pub starts: Vec<usize>,
}

/// Runs the decoder over whole sequences.
///
/// # Errors
/// Where an example lacks codes for its rows, or its mask does not fit them.
pub fn hidden(model: &UniGen, examples: &[Example], device: &Device) -> Result<Hidden> {
    // Tokens and codes are embedded apart and then put in order.
    let (mut ids, mut codes) = (Vec::<i32>::new(), Vec::<Option<u32>>::new());
    let (mut order, mut places) = (Vec::<Place>::new(), Vec::new());
    let (mut wanted, mut starts) = (Vec::new(), vec![0]);
    for example in examples {
        let first = places.len();
        wanted.extend(example.loss_rows()?.iter().map(|row| first + row));
        starts.push(wanted.len());
        for (place, row) in example.sequence.rows().enumerate() {
            places.push(place);
            let code = match row {
                Row::Token(id) => {
                    order.push(Place::Token(ids.len()));
                    ids.push(id as i32);
                    continue;
                }
                Row::Source(i) => example.source.get(i).copied().map(Some),
                Row::Target(i) => {
                    let masked = example.masked.get(i).copied().unwrap_or(false);
                    example.target.get(i).map(|&code| (!masked).then_some(code))
                }
                Row::Semantic(_) => None,
            };
            order.push(Place::Code(codes.len()));
            codes.push(code.with_context(|| format!("no code for row {place} of a sequence"))?);
        }
    }
    let order: Vec<i32> = order.iter().map(|place| place.index(ids.len()) as i32).collect();
    let mut parts = vec![model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device))];
    if !codes.is_empty() {
        parts.push(model.embed_codes(&codes, device));
    }
    let x = Tensor::cat(parts, 0).select(0, Tensor::<1, Int>::from_ints(order.as_slice(), device));
    let layout = AttentionLayout::full(examples.iter().map(|example| &example.sequence));
    let positions = model.llm.positions(&places, device);
    let wanted = Wanted::new(&wanted, &positions, &layout, device);
    Ok(Hidden { rows: model.llm.forward_wanted(x, &positions, &layout, &wanted), starts })
}

/// Where a row's embedding is before they are put in order.
enum Place {
    Token(usize),
    Code(usize),
}

impl Place {
    fn index(&self, tokens: usize) -> usize {
        match self {
            Self::Token(index) => *index,
            Self::Code(index) => tokens + index,
        }
    }
}

impl Hidden {
    fn of(&self, examples: Range<usize>) -> Option<Tensor<2>> {
        let rows = self.starts[examples.start]..self.starts[examples.end];
        (!rows.is_empty()).then(|| self.rows.clone().slice([rows]))
    }

    /// Cross-entropy of the masked codes of some of the batch's examples: the mean over the codes of the sum over the
    /// groups. None without examples; all of them must be of images to be made.
    pub fn code_loss(&self, model: &UniGen, examples: &[Example], of: Range<usize>) -> Option<Tensor<1>> {
        let rows = self.of(of.clone())?;
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
            ops::cross_entropy(logits.clone().slice([0..count, first - classes..first]), labels)
        });
        losses.reduce(|a, b| a + b)
    }

    /// Cross-entropy of the answers' tokens in some of the batch's examples, the mean over them. None without examples; all of them
    /// must have answers.
    pub fn answer_loss(&self, model: &UniGen, examples: &[Example], of: Range<usize>) -> Option<Tensor<1>> {
        let rows = self.of(of.clone())?;
        let answers = examples[of].iter().flat_map(|example| example.sequence.answer_labels());
        let labels = answers.map(|(_, token)| token).collect();
        Some(ops::cross_entropy(model.llm.logits(rows, 0..model.config().text_vocab), labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unigen_core::config::{ModelConfig, SpecialTokens};
    use unigen_core::sequence::{ImageRows, Layouts, Opener};
    use unigen_core::text::Template;

    fn model() -> UniGen {
        let mut config = ModelConfig::preset("nano").unwrap();
        config.decoder.num_hidden_layers = 2;
        UniGen::new(&config, &Device::flex())
    }

    /// Two images to make with 3 and 1 codes masked, two captions, two texts.
    fn examples() -> Vec<Example> {
        let special = SpecialTokens::FIRST;
        let template = Template { user: vec![20, 10], assistant: vec![21, 10], newline: vec![10] };
        let layouts = Layouts { special: &special, template: &template, opener: Opener::Block };
        let generate = |text: &[u32], masked: [bool; 4]| Example {
            sequence: layouts.generate(text, 4),
            source: vec![],
            target: vec![7, 65_535, 300, 4096],
            masked: masked.to_vec(),
        };
        let plain = |sequence, source: &[u32]| Example {
            sequence,
            source: source.to_vec(),
            target: vec![],
            masked: vec![],
        };
        vec![
            generate(&[30, 31, 32], [true, false, true, true]),
            generate(&[], [false, false, false, true]),
            plain(layouts.describe(ImageRows::Codes(3), &[40], Some(&[50, 51])), &[1, 2, 60_000]),
            plain(layouts.describe(ImageRows::Codes(3), &[41, 42], Some(&[52])), &[9, 8, 7]),
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
        let (model, device, examples) = (model(), Device::flex(), examples());
        let batch = hidden(&model, &examples, &device).unwrap();
        for (example, place) in examples.iter().zip(batch.starts.windows(2)) {
            let rows = example.sequence.rows().map(|row| match row {
                Row::Token(id) => model.llm.embed(Tensor::<1, Int>::from_ints([id as i32], &device)),
                Row::Source(i) => model.embed_codes(&[Some(example.source[i])], &device),
                Row::Target(i) => {
                    let code = (!example.masked[i]).then_some(example.target[i]);
                    model.embed_codes(&[code], &device)
                }
                Row::Semantic(_) => panic!("there are none"),
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
            (alone[i].code_loss(&model, one, 0..1).unwrap(), masked)
        });
        let together = batch.code_loss(&model, &examples, 0..2).unwrap();
        close(&values(together), &mean(codes.collect()));
        for of in [2..4, 4..6] {
            let answers = of.clone().map(|i| {
                let one = std::slice::from_ref(&examples[i]);
                let count = examples[i].sequence.answer_labels().len();
                (alone[i].answer_loss(&model, one, 0..1).unwrap(), count)
            });
            let together = batch.answer_loss(&model, &examples, of.clone()).unwrap();
            close(&values(together), &mean(answers.collect()));
        }
        assert!(batch.code_loss(&model, &examples, 0..0).is_none());
        assert!(batch.answer_loss(&model, &examples, 4..4).is_none());
    }

    #[test]
    fn missing_codes_are_an_error() {
        let mut examples = examples();
        examples[2].source.pop();
        let error = hidden(&model(), &examples, &Device::flex()).err().unwrap();
        assert!(error.to_string().contains("no code for row 5"), "{error}");
    }
}
