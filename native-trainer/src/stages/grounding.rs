//! What lies where: the vision tower learns to name what each patch shows, beside whole captions. SigLIP2 (arXiv 2502.14786,
//! section 2.2) learns it with a decoder that describes regions (LocCa, arXiv 2403.19596); where all is known of a scene,
//! a linear layer over the patches asks for the same, and a small tower learns shapes from far fewer pictures.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use unigen_core::nn::Linear;
use unigen_core::ops;
use unigen_core::vision::Patches;

use crate::data::stickers::{Class, Color, Scene};
use crate::eval::detector::Truth;

/// Names of patches: the classes, and nothing; the colours, and an object's own.
const NAMES: [usize; 2] = [Class::COUNT + 1, Color::ALL.len() + 1];

/// Logits of what each patch shows.
#[derive(Module, Debug)]
pub struct Grounding {
    pub class: Linear,
    pub color: Linear,
}

/// What the patches of a batch show.
#[derive(Default)]
pub struct Shown {
    /// Patches of pictures whose scene is known, of all of the batch, padding included.
    rows: Vec<i32>,
    classes: Vec<u32>,
    /// The places in `rows` of patches with an object, and its colour.
    objects: Vec<i32>,
    colors: Vec<u32>,
    /// The places in `rows` of patches with nothing.
    nothing: Vec<i32>,
}

impl Shown {
    /// Of pictures of `sizes` (width, height) pixels, cut into `patches`; none of a picture without a scene.
    pub fn new(scenes: &[Option<&Scene>], sizes: &[(u32, u32)], patches: &Patches) -> Self {
        let length = patches.pixels.dims()[1];
        let mut shown = Self::default();
        for (picture, (scene, (&[rows, columns], &size))) in
            scenes.iter().zip(patches.shapes.iter().zip(sizes)).enumerate()
        {
            if let Some(scene) = scene {
                shown.add(picture * length, &Truth::of(scene, size.0, size.1), [rows, columns], size);
            }
        }
        shown
    }

    /// Adds a picture whose first patch is `first`.
    fn add(
        &mut self,
        first: usize,
        truth: &[Truth],
        [rows, columns]: [usize; 2],
        (width, height): (u32, u32),
    ) {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let x = (column as f32 + 0.5) / columns as f32 * width as f32;
            let y = (row as f32 + 0.5) / rows as f32 * height as f32;
            // Later objects cover earlier ones.
            let object = truth.iter().rfind(|object| {
                let [left, top, right, bottom] = object.bbox;
                (left..right).contains(&x) && (top..bottom).contains(&y)
            });
            let place = self.rows.len() as i32;
            match object {
                Some(object) => {
                    self.objects.push(place);
                    self.colors.push(object.color.map_or(Color::ALL.len(), Color::index) as u32);
                }
                None => self.nothing.push(place),
            }
            self.classes.push(object.map_or(Class::COUNT, |object| object.class.index()) as u32);
            self.rows.push((first + row * columns + column) as i32);
        }
    }
}

impl Grounding {
    /// Random layers for patches of `width`.
    pub fn new(width: usize, device: &Device) -> Self {
        let [class, color] =
            NAMES.map(|names| Linear::new(width, names, true, (width as f64).powf(-0.5), device));
        Self { class, color }
    }

    /// Cross-entropy of the classes of patches with an object, of those with nothing, and of the objects' colours;
    /// `features` `[batch, patches, width]` → `[1]`. None where no scene is known.
    pub fn loss(&self, features: Tensor<3>, shown: &Shown) -> Option<Tensor<1>> {
        let known = self.known(features, shown)?;
        let device = self.class.weight.device();
        let mean = |layer: &Linear, places: &[i32], names: Vec<u32>| {
            let rows =
                (!places.is_empty()).then(|| ops::select_rows(known.clone(), ints(places, &device)))?;
            Some(ops::cross_entropy(layer.forward(rows), names))
        };
        // Most patches show nothing; in one mean with them, those with an object would hardly count.
        let classes = |places: &[i32]| {
            let names = places.iter().map(|&place| shown.classes[place as usize]).collect();
            mean(&self.class, places, names)
        };
        let colors = mean(&self.color, &shown.objects, shown.colors.clone());
        [classes(&shown.objects), classes(&shown.nothing), colors].into_iter().flatten().reduce(|a, b| a + b)
    }

    /// How many patches with an object are called by its class, and how many there are.
    pub fn named(&self, features: Tensor<3>, shown: &Shown) -> [usize; 2] {
        let Some(known) = self.known(features, shown) else { return [0; 2] };
        let names: Vec<i64> = self.class.forward(known).argmax(1).into_data().iter::<i64>().collect();
        let right = |&&place: &&i32| names[place as usize] == i64::from(shown.classes[place as usize]);
        [shown.objects.iter().filter(right).count(), shown.objects.len()]
    }

    /// The features of patches whose scene is known, `[patches, width]`.
    fn known(&self, features: Tensor<3>, shown: &Shown) -> Option<Tensor<2>> {
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
    use crate::data::stickers::{Renderer, Split, scene_at};
    use unigen_core::vision::preprocess;

    /// The pixels under patches that show nothing are those of the scene without its objects.
    #[test]
    fn patches_without_an_object_look_like_the_background() {
        let (device, renderer) = (Device::flex(), Renderer::new());
        let (mut nothing, mut something) = (0, 0);
        for index in 0..20 {
            let scene = scene_at(Split::Train, 3, index);
            let empty = Scene { objects: vec![], ..scene.clone() };
            let size = [(96, 96), (64, 96), (120, 72)][index as usize % 3];
            let cut = |scene: &Scene| {
                let picture = renderer.render(scene, size.0, size.1);
                preprocess::naflex(&[picture], 8, 144, &device).unwrap()
            };
            let patches = cut(&scene);
            let shown = Shown::new(&[Some(&scene)], &[size], &patches);
            assert_eq!(shown.classes.len(), patches.shapes[0][0] * patches.shapes[0][1]);
            let change = (patches.pixels - cut(&empty).pixels).abs().mean_dim(2);
            let change: Vec<f32> = change.into_data().iter::<f32>().collect();
            for (&row, &class) in shown.rows.iter().zip(&shown.classes) {
                match class as usize == Class::COUNT {
                    // An edge of an object may reach into a patch whose middle it leaves free.
                    true => nothing += usize::from(change[row as usize] < 0.2),
                    false => something += usize::from(change[row as usize] > 0.02),
                }
                assert!(class as usize <= Class::COUNT);
            }
            let objects = shown.classes.iter().filter(|&&class| (class as usize) < Class::COUNT).count();
            assert_eq!((objects, objects), (shown.objects.len(), shown.colors.len()));
        }
        assert!(nothing > 1000 && something > 200, "{nothing} {something}");
    }

    #[test]
    fn pictures_without_a_scene_teach_nothing() {
        let device = Device::flex();
        let scene = scene_at(Split::Train, 3, 1);
        let picture = Renderer::new().render(&scene, 32, 32);
        let patches = preprocess::naflex(&[picture.clone(), picture], 8, 16, &device).unwrap();
        let grounding = Grounding::new(6, &device);
        let features = Tensor::<3>::ones([2, 16, 6], &device);
        let sizes = [(32, 32); 2];
        let none = Shown::new(&[None, None], &sizes, &patches);
        assert!(grounding.loss(features.clone(), &none).is_none());
        assert_eq!(grounding.named(features.clone(), &none), [0, 0]);
        let second = Shown::new(&[None, Some(&scene)], &sizes, &patches);
        assert_eq!(second.rows, (16..32).collect::<Vec<_>>());
        assert!(grounding.loss(features, &second).is_some());
    }
}
