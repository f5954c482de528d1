//! Grounding: the vision tower learns to name what each patch shows, beside whole captions. SigLIP2 (arXiv
//! 2502.14786, section 2.2) learns this with a decoder that describes regions (LocCa, arXiv 2403.19596). Where the
//! regions of a picture are known, a linear layer over the patches does the same, and a small tower learns shapes
//! from far fewer pictures.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use unigen_core::nn::Linear;
use unigen_core::ops;
use unigen_core::vision::Patches;

use crate::data::Region;

/// The classifiers of patches.
#[derive(Module, Debug)]
pub struct Grounding {
    pub class: Linear,
    pub color: Linear,
}

/// The labels of a batch's patches.
pub struct PatchLabels {
    /// Number of classes, with one more for nothing; number of attributes.
    names: [usize; 2],
    /// Patches of the pictures whose regions are known, as positions among all patches of the batch, padding
    /// included.
    rows: Vec<i32>,
    classes: Vec<u32>,
    /// Positions in `rows` of patches with an object, and the object's colour.
    objects: Vec<i32>,
    colors: Vec<u32>,
    /// Positions in `rows` of patches with nothing.
    nothing: Vec<i32>,
}

impl PatchLabels {
    /// The labels of pictures of `sizes` (width, height) pixels, cut into `patches`; `labels` as in
    /// [`Region::labels`]. Pictures without known regions are ignored.
    pub fn new(
        regions: &[Option<Vec<Region>>],
        sizes: &[(u32, u32)],
        patches: &Patches,
        labels: [usize; 2],
    ) -> Self {
        let length = patches.pixels.dims()[1];
        let mut shown = Self {
            names: [labels[0] + 1, labels[1]],
            rows: vec![],
            classes: vec![],
            objects: vec![],
            colors: vec![],
            nothing: vec![],
        };
        for (picture, (regions, (&[rows, columns], &size))) in
            regions.iter().zip(patches.shapes.iter().zip(sizes)).enumerate()
        {
            if let Some(regions) = regions {
                shown.add(picture * length, regions, [rows, columns], size);
            }
        }
        shown
    }

    /// Adds a picture whose first patch is `first`.
    fn add(
        &mut self,
        first: usize,
        regions: &[Region],
        [rows, columns]: [usize; 2],
        (width, height): (u32, u32),
    ) {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let x = (column as f32 + 0.5) / columns as f32 * width as f32;
            let y = (row as f32 + 0.5) / rows as f32 * height as f32;
            // Later regions cover earlier ones.
            let region = regions.iter().rfind(|region| {
                let [left, top, right, bottom] = region.bbox;
                (left..right).contains(&x) && (top..bottom).contains(&y)
            });
            let place = self.rows.len() as i32;
            match region {
                Some(region) => {
                    self.objects.push(place);
                    self.colors.push(region.labels[1] as u32);
                }
                None => self.nothing.push(place),
            }
            let nothing = self.names[0] - 1;
            self.classes.push(region.map_or(nothing, |region| region.labels[0]) as u32);
            self.rows.push((first + row * columns + column) as i32);
        }
    }
}

impl Grounding {
    /// Layers with random weights for patches of `width`; `labels` as in [`Region::labels`].
    pub fn new(width: usize, labels: [usize; 2], device: &Device) -> Self {
        let [class, color] = [labels[0] + 1, labels[1]]
            .map(|names| Linear::new(width, names, true, (width as f64).powf(-0.5), device));
        Self { class, color }
    }

    /// Cross-entropy of the classes of patches with an object, of those with nothing, and of the objects' colours:
    /// `features` `[batch, patches, width]` → `[1]`. `None` if no regions are known.
    ///
    /// # Errors
    /// If a class or a colour is none of those that the layers tell apart.
    pub fn loss(&self, features: Tensor<3>, shown: &PatchLabels) -> Result<Option<Tensor<1>>> {
        let Some(known) = self.known(features, shown) else { return Ok(None) };
        let device = self.class.weight.device();
        let mean = |layer: &Linear, places: &[i32], names: Vec<u32>| -> Result<Option<Tensor<1>>> {
            if places.is_empty() {
                return Ok(None);
            }
            let rows = ops::select_rows(known.clone(), ints(places, &device));
            Ok(Some(ops::cross_entropy(layer.forward(rows), names)?))
        };
        // Most patches show nothing. In a common mean, patches with an object would hardly count.
        let classes = |places: &[i32]| {
            let names = places.iter().map(|&place| shown.classes[place as usize]).collect();
            mean(&self.class, places, names)
        };
        let colors = mean(&self.color, &shown.objects, shown.colors.clone())?;
        let losses = [classes(&shown.objects)?, classes(&shown.nothing)?, colors];
        Ok(losses.into_iter().flatten().reduce(|a, b| a + b))
    }

    /// How many patches with an object get its class, and how many such patches there are.
    pub fn named(&self, features: Tensor<3>, shown: &PatchLabels) -> [usize; 2] {
        let Some(known) = self.known(features, shown) else { return [0; 2] };
        let names: Vec<i64> = self.class.forward(known).argmax(1).into_data().iter::<i64>().collect();
        let right = |&&place: &&i32| names[place as usize] == i64::from(shown.classes[place as usize]);
        [shown.objects.iter().filter(right).count(), shown.objects.len()]
    }

    /// The features of patches whose regions are known, `[patches, width]`.
    fn known(&self, features: Tensor<3>, shown: &PatchLabels) -> Option<Tensor<2>> {
        let device = features.device();
        let rows = (!shown.rows.is_empty()).then(|| ints(&shown.rows, &device))?;
        Some(ops::select_rows(features.flatten(0, 1), rows))
    }
}

fn ints(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_ints(values, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;
    use unigen_core::vision::preprocess;

    #[test]
    fn a_patch_shows_the_last_region_over_its_middle() {
        let device = Device::flex();
        let picture = RgbImage::new(40, 20);
        let patches = preprocess::naflex(&[picture], 10, 8, &device).unwrap();
        assert_eq!(patches.shapes[0], [2, 4]);
        let region = |bbox, labels| Region { bbox, labels };
        let regions = vec![region([0.0, 0.0, 24.0, 9.0], [2, 0]), region([14.0, 0.0, 31.0, 20.0], [1, 3])];
        let shown = PatchLabels::new(&[Some(regions)], &[(40, 20)], &patches, [5, 4]);
        assert_eq!(shown.classes, [2, 1, 1, 5, 5, 1, 1, 5]);
        assert_eq!(
            (shown.objects.as_slice(), shown.nothing.as_slice()),
            (&[0, 1, 2, 5, 6][..], &[3, 4, 7][..])
        );
        assert_eq!(shown.colors, [0, 3, 3, 3, 3]);
    }

    #[test]
    fn pictures_without_regions_teach_nothing() {
        let device = Device::flex();
        let picture = RgbImage::new(32, 32);
        let patches = preprocess::naflex(&[picture.clone(), picture], 8, 16, &device).unwrap();
        let grounding = Grounding::new(6, [5, 4], &device);
        let features = Tensor::<3>::ones([2, 16, 6], &device);
        let sizes = [(32, 32); 2];
        let none = PatchLabels::new(&[None, None], &sizes, &patches, [5, 4]);
        assert!(grounding.loss(features.clone(), &none).unwrap().is_none());
        assert_eq!(grounding.named(features.clone(), &none), [0, 0]);
        let regions = vec![Region { bbox: [0.0, 0.0, 9.0, 9.0], labels: [1, 2] }];
        let second = PatchLabels::new(&[None, Some(regions)], &sizes, &patches, [5, 4]);
        assert_eq!(second.rows, (16..32).collect::<Vec<_>>());
        assert!(grounding.loss(features, &second).unwrap().is_some());
    }
}
