//! A survey of a user's own files: everything is read once, so that what is wrong shows before training does.

use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::index::ShardIndex;
use super::record::Record;

/// Number of samples that are read together.
const BATCH: usize = 128;
/// Number of samples that are shown, and of broken ones that are listed.
const SHOWN: usize = 60;
const LISTED: usize = 100;
/// Bounds of the histogram of lengths, in characters.
const LENGTHS: [usize; 8] = [25, 50, 100, 200, 400, 800, 1600, 3200];

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Survey {
    pub samples: usize,
    /// Number of samples by what they teach: captions, questions, edits, prompts. One sample may teach several things.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Edits without a description of the wanted picture, which `align` and `rl` need.
    pub without_description: usize,
    /// Number of pictures, and their smallest, median and largest width and height.
    pub pictures: usize,
    pub sizes: Option<[[u32; 2]; 3]>,
    /// Number of texts by language, by its English name; `unclear` for short ones.
    pub languages: BTreeMap<String, usize>,
    /// Number of texts by length in characters: up to the bound, and above the last one.
    pub lengths: Vec<(String, usize)>,
    pub longest: usize,
    /// Number of samples that cannot be used, and the first of them with the reason.
    pub broken: usize,
    pub reasons: Vec<String>,
    /// Number of pictures that occurred before, and of pictures that look like one before.
    pub same_pictures: usize,
    pub similar_pictures: usize,
    /// Number of texts that occurred before.
    pub same_texts: usize,
}

/// A sample for a page.
#[derive(Debug)]
pub struct Shown {
    pub pictures: Vec<(&'static str, RgbImage)>,
    pub texts: Vec<String>,
}

/// What is read from one sample.
struct Read {
    kinds: Vec<&'static str>,
    described: bool,
    pictures: Vec<(&'static str, RgbImage)>,
    texts: Vec<(&'static str, String)>,
}

impl Survey {
    /// Reads all samples of `files`. Calls `progress` with the number of samples done.
    ///
    /// # Errors
    /// If a file cannot be opened; the error of `progress`, which may stop the survey.
    pub fn of(
        files: &[PathBuf],
        mut progress: impl FnMut(usize, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Self, Vec<Shown>)> {
        let index = ShardIndex::open(files)?;
        let (count, mut survey, mut shown) = (index.len(), Self::default(), Vec::new());
        let mut sides: [Vec<u32>; 2] = Default::default();
        let (mut exact, mut looks, mut texts) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut lengths = vec![0; LENGTHS.len() + 1];
        survey.samples = count;
        let every = count.div_ceil(SHOWN).max(1);
        for first in (0..count).step_by(BATCH) {
            let batch = (first..count.min(first + BATCH)).into_par_iter();
            let read: Vec<_> = batch
                .map(|number| {
                    let record = index.record(number);
                    let read = Read::of(&record).map_err(|error| error.to_string());
                    read.map(|read| {
                        let marks: Vec<_> = read.pictures.iter().map(|(_, picture)| marks(picture)).collect();
                        (read, marks)
                    })
                })
                .collect();
            for (number, read) in (first..).zip(read) {
                let (read, marks) = match read {
                    Ok(read) => read,
                    Err(reason) => {
                        survey.broken += 1;
                        if survey.reasons.len() < LISTED {
                            survey.reasons.push(reason);
                        }
                        continue;
                    }
                };
                for kind in &read.kinds {
                    *survey.kinds.entry(kind).or_default() += 1;
                }
                survey.without_description += usize::from(read.kinds.contains(&"edits") && !read.described);
                for ((_, picture), [same, similar]) in read.pictures.iter().zip(marks) {
                    survey.pictures += 1;
                    sides[0].push(picture.width());
                    sides[1].push(picture.height());
                    // A picture before an edit is often that of another edit, so only whole samples would tell; the
                    // number says how often pictures come again.
                    if !exact.insert(same) {
                        survey.same_pictures += 1;
                    } else if !looks.insert(similar) {
                        survey.similar_pictures += 1;
                    }
                }
                for (_, text) in &read.texts {
                    let length = text.chars().count();
                    lengths[LENGTHS.partition_point(|bound| *bound < length)] += 1;
                    survey.longest = survey.longest.max(length);
                    *survey.languages.entry(language(text)).or_default() += 1;
                    if !texts.insert(mark(text.as_bytes())) {
                        survey.same_texts += 1;
                    }
                }
                if number % every == 0 {
                    let texts = read.texts.into_iter().map(|(name, text)| format!("{name}: {text}"));
                    shown.push(Shown { pictures: read.pictures, texts: texts.collect() });
                }
            }
            progress(count.min(first + BATCH), count)?;
        }
        survey.sizes = sizes(sides);
        let upper = LENGTHS.iter().map(|bound| format!("up to {bound}"));
        let names = upper.chain([format!("above {}", LENGTHS[LENGTHS.len() - 1])]);
        survey.lengths = names.zip(lengths).collect();
        Ok((survey, shown))
    }
}

impl Read {
    /// What the parts of a sample teach.
    fn of(record: &Record) -> Result<Self, super::ShardError> {
        let text = |name: &'static str| Some((name, record.text(name).ok()?));
        let mut read = Self { kinds: vec![], described: false, pictures: vec![], texts: vec![] };
        if let Some(caption) = text("caption") {
            read.kinds.push("captions");
            read.texts.push(caption);
        }
        if let Some(question) = text("question") {
            read.kinds.push("questions");
            read.texts.extend([question, ("answer", record.text("answer")?)]);
        }
        if !read.kinds.is_empty() {
            read.pictures.push(("image", record.picture("image")?));
        }
        if let Some(instruction) = text("instruction") {
            read.kinds.push("edits");
            read.texts.push(instruction);
            let description = text("description");
            read.described = description.is_some();
            read.texts.extend(description);
            for name in ["before", "after"] {
                read.pictures.push((name, record.picture(name)?));
            }
        }
        if let Some(prompt) = text("prompt") {
            read.kinds.push("prompts");
            read.texts.push(prompt);
        }
        if read.kinds.is_empty() {
            // The error of a caption names the file and what is there.
            record.text("caption")?;
        }
        Ok(read)
    }
}

/// The language of a text, or `unclear`.
fn language(text: &str) -> String {
    let found = whatlang::detect(text).filter(whatlang::Info::is_reliable);
    found.map_or("unclear".to_owned(), |info| info.lang().eng_name().to_owned())
}

/// A mark of the pixels, and one of how the picture looks (dHash: whether each of 8 x 8 places is brighter than the next).
fn marks(picture: &RgbImage) -> [u64; 2] {
    let (width, height) = picture.dimensions();
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    let small = image::imageops::thumbnail(picture, 9, 8);
    let bright = |x, y| small.get_pixel(x, y).0.iter().map(|&c| u32::from(c)).sum::<u32>();
    let bits = (0..8).flat_map(|y| (0..8).map(move |x| (x, y)));
    let looks = bits.fold(0_u64, |bits, (x, y)| bits << 1 | u64::from(bright(x, y) < bright(x + 1, y)));
    // Flat pictures have no structure, so their colour has to tell them apart.
    let looks = if looks == 0 { mark(small.as_raw()) } else { looks };
    [mark(&[size, picture.as_raw().clone()].concat()), looks]
}

/// A mark of bytes, 64 bits of two checksums.
fn mark(bytes: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(bytes)) << 32 | u64::from(crc32c::crc32c_append(0x5EED_0001, bytes))
}

/// Smallest, median and largest of widths and heights.
fn sizes(mut sides: [Vec<u32>; 2]) -> Option<[[u32; 2]; 3]> {
    sides.iter_mut().for_each(|sides| sides.sort_unstable());
    let at = |of: fn(&[u32]) -> Option<u32>| Some([of(&sides[0])?, of(&sides[1])?]);
    Some([
        at(|sides| sides.first().copied())?,
        at(|sides| sides.get(sides.len() / 2).copied())?,
        at(|sides| sides.last().copied())?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use serde_json::json;

    #[test]
    fn everything_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let gradient = |step: u8| RgbImage::from_fn(24, 16, |x, _| Rgb([x as u8 * step, 10, 10]));
        gradient(5).save(at("a.png")).unwrap();
        gradient(6).save(at("b.png")).unwrap();
        RgbImage::from_fn(40, 30, |_, y| Rgb([255 - y as u8 * 8; 3])).save(at("c.png")).unwrap();
        std::fs::write(at("broken.png"), b"not a picture").unwrap();
        let english = "a red bicycle leans against the old wall of a quiet house in the village";
        let german = "ein rotes Fahrrad lehnt an der alten Mauer eines stillen Hauses in dem kleinen Dorf";
        let lines = [
            json!({"image": "a.png", "caption": english}),
            json!({"image": "a.png", "caption": english}),
            json!({"image": "b.png", "caption": german}),
            json!({"image": "broken.png", "caption": "x"}),
            json!({"image": "c.png", "question": "what is it?", "answer": "bands"}),
            json!({"before": "a.png", "after": "c.png", "instruction": "turn it"}),
            json!({"before": "a.png", "after": "c.png", "instruction": "turn it round", "description": "bands"}),
            json!({"prompt": "draw a house"}),
            json!({"something": "else"}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(at("all.jsonl"), text).unwrap();
        let mut done = vec![];
        let (found, shown) = Survey::of(&[at("all.jsonl")], |at, of| {
            done.push((at, of));
            Ok(())
        })
        .unwrap();
        assert_eq!(done, [(9, 9)]);
        let kinds: Vec<_> = found.kinds.iter().map(|(kind, count)| (*kind, *count)).collect();
        assert_eq!(kinds, [("captions", 3), ("edits", 2), ("prompts", 1), ("questions", 1)]);
        assert_eq!((found.samples, found.broken, found.without_description), (9, 2, 1));
        assert!(
            found.reasons[0].contains("line 4") && found.reasons[1].contains("line 9"),
            "{:?}",
            found.reasons
        );
        assert_eq!((found.pictures, found.sizes), (8, Some([[24, 16], [24, 16], [40, 30]])));
        // a.png comes four times and c.png three times; b.png looks like a.png.
        assert_eq!((found.same_pictures, found.similar_pictures), (5, 1));
        assert_eq!((found.languages["English"], found.languages["German"]), (2, 1));
        assert_eq!(found.same_texts, 2, "a caption and \"bands\"");
        assert_eq!(found.lengths.iter().map(|(_, count)| count).sum::<usize>(), 9);
        assert_eq!(found.longest, german.len());
        assert_eq!(shown.len(), 7);
        let stop = Survey::of(&[at("all.jsonl")], |_, _| anyhow::bail!("stopped"));
        assert_eq!(stop.err().unwrap().to_string(), "stopped");
    }
}
