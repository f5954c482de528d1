//! The live rows of masked decoding: for each branch and image a block `soi codes eoi` behind its prefix.
//!
//! A sequence is one image under one branch. Sequences are packed branch after branch, image after image.

use super::prefix::ints;
use super::{Branch, Prefix};
use crate::decoder::{Cache, KeyOrder, Positions, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use crate::sequence::AttentionLayout;
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// Codes of one image, row-major; `None` where masked.
pub(super) type Target = Vec<Option<u32>>;

/// The blocks of all sequences, and where everything lies.
pub(super) struct Blocks {
    /// All prefixes, one after another, `[rows, width]`.
    prefix: Tensor<2>,
    prefix_visible: Vec<usize>,
    /// Rows of each prefix.
    prefix_rows: Vec<Range<usize>>,
    /// Of each sequence, the rows of its prefix.
    sequences: Vec<Range<usize>>,
    /// The embeddings of `soi` and `eoi`, `[2, width]`.
    delimiters: Tensor<2>,
    /// Codes of an image.
    length: usize,
    images: usize,
    device: Device,
}

impl Blocks {
    /// The blocks of `targets` under every branch. Each branch has one prefix per image, or fewer that divide the images.
    ///
    /// # Errors
    /// `Config` where prefixes, targets or `delimiters` do not fit the model or one another.
    pub(super) fn of_branches(
        model: &UniGen,
        branches: &[Branch],
        targets: &[Target],
        delimiters: [u32; 2],
    ) -> Result<Self> {
        let images = targets.len();
        let unequal = |b: &Branch| b.prefixes.is_empty() || !images.is_multiple_of(b.prefixes.len());
        if images == 0 || branches.is_empty() || branches.iter().any(unequal) {
            let what = format!("{} branches of guidance do not fit {images} images", branches.len());
            return Err(Error::new(ErrorKind::Config, "masked decoding", what)
                .fix("give every branch one prefix per image, or fewer that divide the images"));
        }
        let prefixes: Vec<&Prefix> = branches.iter().flat_map(|b| &b.prefixes).collect();
        let (mut of, mut first) = (Vec::new(), 0);
        for branch in branches {
            let share = images / branch.prefixes.len();
            of.extend((0..images).map(|image| first + image / share));
            first += branch.prefixes.len();
        }
        Self::new(model, &prefixes, &of, targets, delimiters)
    }

    /// The blocks of `targets`, branch after branch; sequence `i` comes after the prefix `of[i]`.
    ///
    /// # Errors
    /// `Config` where prefixes, targets or `delimiters` do not fit the model or one another.
    pub(super) fn new(
        model: &UniGen,
        prefixes: &[&Prefix],
        of: &[usize],
        targets: &[Target],
        delimiters: [u32; 2],
    ) -> Result<Self> {
        let wrong =
            |what: String, fix: &str| Err(Error::new(ErrorKind::Config, "masked decoding", what).fix(fix));
        let config = &model.config().decoder;
        let width = config.hidden_size;
        let Some(first) = prefixes.first() else {
            return wrong("has no prefix".into(), "give at least one prefix");
        };
        if let Some(prefix) = prefixes.iter().find(|p| p.is_empty() || p.rows().dims()[1] != width) {
            let what = format!("a prefix has shape {:?}, wanted [rows, {width}]", prefix.rows().dims());
            return wrong(what, "embed at least one row with the same model");
        }
        let length = targets.first().map_or(0, Vec::len);
        if length == 0 || targets.iter().any(|target| target.len() != length) {
            return wrong(
                "the images have different numbers of codes, or none".into(),
                "give images of one size",
            );
        }
        if let Some(id) = delimiters.into_iter().find(|&id| id as usize >= config.vocab_size) {
            let what = format!("the delimiter {id} is past the {} tokens of the model", config.vocab_size);
            return wrong(what, "take soi and eoi from the model's config.json");
        }
        model.check_codes(&targets.concat())?;
        let device = first.device();
        let mut start = 0;
        let prefix_rows = prefixes.iter().map(|p| {
            start += p.len();
            start - p.len()..start
        });
        let prefix_rows: Vec<Range<usize>> = prefix_rows.collect();
        Ok(Self {
            sequences: of.iter().map(|&prefix| prefix_rows[prefix].clone()).collect(),
            prefix_rows,
            prefix: Tensor::cat(prefixes.iter().map(|p| p.rows().clone()).collect(), 0),
            prefix_visible: prefixes.iter().flat_map(|p| p.visible().to_vec()).collect(),
            delimiters: model.llm.embed(ints(delimiters.into_iter().map(|id| id as i32), &device)),
            length,
            images: targets.len(),
            device,
        })
    }

    /// Where the blocks are computed.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Rows of one block.
    fn rows(&self) -> usize {
        self.length + 2
    }

    /// Keys and values of the prefixes.
    pub(super) fn prefill(&self, model: &UniGen) -> Cache {
        let places: Vec<usize> = self.prefix_rows.iter().flat_map(|r| 0..r.len()).collect();
        let segments = self.prefix_rows.iter().map(|r| (r.clone(), r.clone()));
        let visible = self
            .prefix_rows
            .iter()
            .flat_map(|r| r.clone().map(|row| [r.start as u32, (r.start + self.prefix_visible[row]) as u32]));
        let layout = AttentionLayout::new(visible.collect(), segments.collect());
        let positions = model.llm.positions(&places, &self.device);
        model.llm.prefill(self.prefix.clone(), &positions, &layout).1
    }

    /// One block per image, from embedded codes `[images * length, width]` → `[images * rows, width]`.
    fn embed(&self, codes: Tensor<2>) -> Tensor<2> {
        let all = self.images * self.length;
        let rows = Tensor::cat(vec![codes, self.delimiters.clone()], 0);
        let (soi, eoi) = (all as i32, all as i32 + 1);
        let order = (0..self.images).flat_map(|image| {
            let codes = image * self.length..(image + 1) * self.length;
            std::iter::once(soi).chain(codes.map(|code| code as i32)).chain([eoi])
        });
        rows.select(0, ints(order, &self.device))
    }

    /// Final hidden states of the `wanted` positions of each image, branch after branch, `[positions, width]`; over the cached
    /// prefixes where there is a cache.
    pub(super) fn hidden(
        &self,
        model: &UniGen,
        cache: Option<&Cache>,
        targets: &[Target],
        wanted: &[Vec<usize>],
    ) -> Result<Tensor<2>> {
        let codes = model.embed_codes(&targets.concat(), &self.device)?;
        Ok(match cache {
            Some(cache) => self.live(model, wanted).hidden(self, model, cache, codes),
            None => self.naive_hidden(model, codes, wanted),
        })
    }

    /// The pass of the blocks over their cached prefixes that computes the `wanted` positions of each image.
    pub(super) fn live(&self, model: &UniGen, wanted: &[Vec<usize>]) -> Live {
        let rows = self.rows();
        let (mut keys, mut start) = (Vec::new(), 0);
        for prefix in &self.sequences {
            keys.push(start..start + prefix.len() + rows);
            start += prefix.len() + rows;
        }
        let queries: Vec<Range<usize>> = (0..keys.len()).map(|s| s * rows..(s + 1) * rows).collect();
        let visible = keys.iter().flat_map(|k| std::iter::repeat_n([k.start as u32, k.end as u32], rows));
        let segments = queries.iter().zip(&keys).map(|(q, k)| (q.clone(), k.clone()));
        let layout = AttentionLayout::new(visible.collect(), segments.collect());
        let places: Vec<usize> = self.sequences.iter().flat_map(|p| p.len()..p.len() + rows).collect();
        let positions: Positions = model.llm.positions(&places, &self.device);
        let order = KeyOrder::new(&self.sequences, &queries, self.prefix.dims()[0], &self.device);
        // The first row of a block is soi.
        let wanted: Vec<usize> = (0..keys.len())
            .flat_map(|s| wanted[s % self.images].iter().map(move |p| s * rows + 1 + p))
            .collect();
        let wanted = Wanted::new(&wanted, &positions, &layout, &self.device);
        Live { layout, positions, order, wanted }
    }

    /// What [`Live::hidden`] gives, from all rows through all layers.
    fn naive_hidden(&self, model: &UniGen, codes: Tensor<2>, wanted: &[Vec<usize>]) -> Tensor<2> {
        let rows = self.rows();
        let blocks = self.embed(codes);
        let (mut parts, mut visible, mut segments, mut places, mut picked) =
            (vec![], vec![], vec![], vec![], vec![]);
        let mut start = 0;
        for (s, prefix) in self.sequences.iter().enumerate() {
            let image = s % self.images;
            parts.push(self.prefix.clone().slice([prefix.clone()]));
            parts.push(blocks.clone().slice([image * rows..(image + 1) * rows]));
            let end = start + prefix.len() + rows;
            visible.extend(prefix.clone().map(|r| [start as u32, (start + self.prefix_visible[r]) as u32]));
            visible.extend(std::iter::repeat_n([start as u32, end as u32], rows));
            segments.push((start..end, start..end));
            places.extend(0..end - start);
            picked.extend(wanted[image].iter().map(|p| (start + prefix.len() + 1 + p) as i32));
            start = end;
        }
        let positions = model.llm.positions(&places, &self.device);
        let layout = AttentionLayout::new(visible, segments);
        let hidden = model.llm.forward(Tensor::cat(parts, 0), &positions, &layout);
        hidden.select(0, ints(picked.into_iter(), &self.device))
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
    /// Final hidden states of the wanted positions, branch after branch, from embedded codes `[images * length, width]`.
    pub(super) fn hidden(
        &self,
        blocks: &Blocks,
        model: &UniGen,
        cache: &Cache,
        codes: Tensor<2>,
    ) -> Tensor<2> {
        let x = Tensor::cat(vec![blocks.embed(codes); blocks.sequences.len() / blocks.images], 0);
        let Self { layout, positions, order, wanted } = self;
        model.llm.extend_wanted(x, positions, layout, cache, order, wanted)
    }
}
