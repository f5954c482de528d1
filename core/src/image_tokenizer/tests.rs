use super::blocks::{from_patches, to_patches};
use super::*;
use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Distribution};
use pollster::FutureExt;
use safetensors::SafeTensors;
use std::path::Path;

/// The numbers and shape of one tensor of a safetensors file.
fn read<const D: usize>(file: &SafeTensors, name: &str) -> TensorData {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.shape().len(), D, "{name}");
    match view.dtype() {
        safetensors::Dtype::F32 => TensorData::new(
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            view.shape().to_vec(),
        ),
        safetensors::Dtype::I64 => TensorData::new(
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect(),
            view.shape().to_vec(),
        ),
        other => panic!("{name} is {other:?}"),
    }
}

/// Fills a module from a file by the module's own paths.
struct Load<'a> {
    file: SafeTensors<'a>,
    path: Vec<String>,
    loaded: usize,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.loaded += 1;
        let data = read::<D>(&self.file, &self.path.join("."));
        param.map(|old| {
            assert_eq!(old.dims().as_slice(), &data.shape()[..], "{}", self.path.join("."));
            Tensor::from_data(data, &old.device())
        })
    }
}

fn small() -> TokenizerConfig {
    TokenizerConfig {
        ch: 8,
        encoder_ch_mult: vec![1, 2],
        encoder_num_res_blocks: vec![1, 1],
        decoder_ch_mult: vec![1, 2],
        decoder_num_res_blocks: vec![1, 1],
        z_channels: 5,
        norm_groups: 4,
        ..Default::default()
    }
}

#[test]
fn patches_are_squares_of_pixels() {
    let device = Device::flex();
    let pixels = Tensor::<1, Int>::arange(0..2 * 4 * 6 * 3, &device).float().reshape([2, 4, 6, 3]);
    let patches = to_patches(pixels.clone(), 2);
    assert_eq!(patches.dims(), [2, 2, 3, 12]);
    // The square in row 1, column 2 of the first picture: rows 2 and 3, columns 4 and 5.
    let square = patches.clone().slice([0..1, 1..2, 2..3, 0..12]);
    let seen = pixels.clone().slice([0..1, 2..4, 4..6, 0..3]).reshape([1, 1, 1, 12]);
    square.into_data().assert_eq(&seen.into_data(), true);
    from_patches(patches, 2).into_data().assert_eq(&pixels.into_data(), true);

    let config = TokenizerConfig { patch: 2, ..small() };
    assert_eq!((config.downsampling(), config.grid(8, 12).unwrap()), (4, [2, 3]));
    let tokenizer = ImageTokenizer::new(&config, &device).unwrap();
    let codes = tokenizer.encode(Tensor::zeros([1, 8, 12, 3], &device)).unwrap();
    assert_eq!(codes.dims(), [1, 6]);
    assert_eq!(tokenizer.decode(codes, 8, 12).unwrap().dims(), [1, 8, 12, 3]);
    assert!(Config::validate(&TokenizerConfig { patch: 0, ..small() }).is_err());
    for (dims, found) in [([1, 6, 12, 3], "6 x 12"), ([1, 0, 8, 3], "0 x 8"), ([1, 8, 8, 4], "4 channels")] {
        let error = tokenizer.encode(Tensor::zeros(dims, &device)).unwrap_err();
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[test]
fn matches_the_published_network() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/fixtures/magvitv2"));
    let device = Device::flex();
    let config: TokenizerConfig =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let model = std::fs::read(folder.join("model.safetensors")).unwrap();
    let io = std::fs::read(folder.join("io.safetensors")).unwrap();
    let io = SafeTensors::deserialize(&io).unwrap();
    let mut load = Load { file: SafeTensors::deserialize(&model).unwrap(), path: vec![], loaded: 0 };
    let tokenizer = ImageTokenizer::new(&config, &device).unwrap().map(&mut load);
    let buffers = ["quantize.embedding", "quantize.power_vals"];
    assert_eq!(load.loaded + buffers.len(), load.file.len(), "every tensor of the checkpoint has a place");

    let pixels = |name| Tensor::<4>::from_data(read::<4>(&io, name), &device).permute([0, 2, 3, 1]);
    let codes = |name| Tensor::<2, Int>::from_data(read::<2>(&io, name), &device);
    let difference = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();

    let wanted = pixels("latent");
    let latent = tokenizer.latent(pixels("pixel_values")).unwrap();
    let off = difference(latent, wanted.clone());
    println!("latent {off:e}");
    assert!(off < 1e-3);

    let bits = |codes| lfq::bits(codes, config.z_channels).reshape([2, 3, 5, config.z_channels]);
    let ours = bits(tokenizer.encode(pixels("pixel_values")).unwrap());
    let wrong = ours.not_equal(bits(codes("indices"))).float();
    let wrong = (wrong * wanted.abs().greater_elem(1e-4).float()).sum().into_scalar::<f32>();
    assert_eq!(wrong, 0.0, "bits that differ away from zero");

    for (ids, image, [h, w]) in
        [("indices", "reconstruction", [12, 20]), ("random_indices", "random_decoded", [12, 12])]
    {
        let off = difference(tokenizer.decode(codes(ids), h, w).unwrap(), pixels(image));
        println!("{image} {off:e}");
        assert!(off < 2e-3);
    }
}

/// Kernels in half precision stay so on the CPU, and give the picture that they give when they are widened.
#[test]
fn kernels_stay_as_they_are_stored() {
    use crate::weights::{Checkpoint, Precision, keys, load, save};
    struct Kinds(Vec<DType>);
    impl ModuleVisitor for Kinds {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 4 {
                self.0.push(param.val().dtype());
            }
        }
    }
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let made = ImageTokenizer::new(&small(), &device).unwrap();
    let open = |precision| {
        let path = folder.path().join("weights.safetensors");
        save(&made, &path, precision, keys::same, Default::default()).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        load(ImageTokenizer::new(&small(), &device).unwrap(), &checkpoint, keys::same).unwrap()
    };
    let halves = open(Precision::F16);
    // The same values in f32.
    let path = folder.path().join("widened.safetensors");
    save(&halves, &path, Precision::F32, keys::same, Default::default()).unwrap();
    let widened = Checkpoint::open(&path).unwrap();
    let widened = load(ImageTokenizer::new(&small(), &device).unwrap(), &widened, keys::same).unwrap();
    for (tokenizer, dtype) in [(&halves, DType::F16), (&widened, DType::F32)] {
        let mut kinds = Kinds(vec![]);
        tokenizer.visit(&mut kinds);
        assert!(!kinds.0.is_empty() && kinds.0.iter().all(|found| *found == dtype), "{:?}", kinds.0);
    }
    let pixels = Tensor::random([1, 8, 12, 3], Distribution::Uniform(-1.0, 1.0), &device);
    let [a, b] = [&halves, &widened].map(|tokenizer| {
        let latent = tokenizer.latent(pixels.clone()).unwrap();
        let picture = tokenizer.decode(lfq::codes(latent.clone()), 8, 12).unwrap();
        [latent.into_data(), picture.into_data()]
    });
    a.iter().zip(&b).for_each(|(a, b)| a.assert_eq(b, true));
}

#[test]
fn conv_matches_burn() {
    use crate::ops::conv::conv2d;
    use crate::precision::MatmulPrecision;
    let device = Device::flex();
    let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let bias = Tensor::<1>::random([6], Distribution::Normal(0.0, 1.0), &device);
    for (k, stride, padding) in
        [(1, 1, [0; 4]), (1, 2, [0; 4]), (3, 1, [1; 4]), (3, 2, [0, 1, 0, 1]), (3, 1, [2, 0, 1, 3])]
    {
        let (x, weight) = (random([2, 9, 8, 5]), random([6, 5, k, k]));
        let ours = conv2d(x.clone(), weight.clone(), bias.clone(), stride, padding, MatmulPrecision::F32);
        let [top, bottom, left, right] = padding;
        let x = x
            .permute([0, 3, 1, 2])
            .pad((left, right, top, bottom), burn::tensor::ops::PadMode::Constant(0.0));
        let options = burn::tensor::ops::ConvOptions::new([stride; 2], [0; 2], [1; 2], 1);
        let burns =
            burn::tensor::module::conv2d(x, weight, Some(bias.clone()), options).permute([0, 2, 3, 1]);
        assert_eq!(ours.dims(), burns.dims());
        assert!((ours - burns).abs().max().into_scalar::<f32>() < 1e-4, "{k} {stride} {padding:?}");
    }
}

#[cfg(feature = "train")]
#[test]
fn gradients_reach_every_parameter() {
    struct Check<'a>(&'a burn::tensor::Gradients, usize);
    impl ModuleVisitor for Check<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("a gradient");
            assert!(gradient.abs().max().into_scalar::<f32>().is_finite());
            self.1 += 1;
        }
    }
    let device = Device::flex().autodiff();
    let tokenizer = ImageTokenizer::new(&small(), &device).unwrap();
    let pixels = Tensor::random([2, 8, 12, 3], Distribution::Uniform(-1.0, 1.0), &device);
    let latent = tokenizer.latent(pixels.clone()).unwrap();
    let image = tokenizer.decode_bits(lfq::straight_through(latent.clone()));
    let loss = (image - pixels).square().mean()
        + lfq::entropy(latent.clone(), 1.0).penalty() * 0.1
        + lfq::commitment(latent) * 0.1;
    let mut check = Check(&loss.backward(), 0);
    tokenizer.visit(&mut check);
    assert_eq!(check.1, 108);
}

/// A picture in bands is the picture: for square ones and others, in few bands and in many.
#[test]
fn bands_make_the_whole() {
    let device = Device::flex();
    let config = TokenizerConfig { ch: 4, norm_groups: 2, ..TokenizerConfig::default() };
    let tokenizer = ImageTokenizer::new(&config, &device).unwrap();
    let near = |a: Tensor<4>, b: Tensor<4>| {
        assert_eq!(a.dims(), b.dims());
        let (off, size) = ((a - b.clone()).abs().max(), b.abs().max());
        let (off, size) = (off.into_scalar::<f32>(), size.into_scalar::<f32>());
        assert!(off < 1e-4 * size.max(1.0), "{off} of {size}");
    };
    for [rows, columns] in [[8, 8], [4, 12], [13, 5]] {
        let bits =
            Tensor::<4>::random([1, rows, columns, 13], Distribution::Normal(0.0, 1.0), &device).sign();
        let whole = tokenizer.decoder.forward(bits.clone());
        let (height, width) = (16 * rows, 16 * columns);
        let pixels = Tensor::random([1, height, width, 3], Distribution::Uniform(-1.0, 1.0), &device);
        let latent = tokenizer.encoder.forward(pixels.clone());
        // Rows of the finest level that fit: half of them, 34, and almost none.
        for fit in [height / 2, 34, 6] {
            let limit = fit * width * 4;
            let mut cut = 0;
            let bands = tokenizer.decoder.bands(bits.clone(), |h| {
                cut += 1;
                bands::Bands::within(h, limit)
            });
            near(bands, whole.clone());
            assert_eq!(cut, 1);
            near(tokenizer.encoder.bands(bands::Bands::within(pixels.clone(), limit)), latent.clone());
        }
    }
}

#[test]
fn codes_are_split() {
    let groups = CodeGroups::new(vec![8, 8]);
    assert_eq!(groups.split_code(0x12_34), [0x12, 0x34]);
    assert_eq!(groups.classes().collect::<Vec<_>>(), [256, 256]);
    let device = Device::flex();
    for groups in [vec![13], vec![5, 4, 4], vec![1; 13]].map(CodeGroups::new) {
        let codes: Codes = (0..8192).collect();
        let classes: Vec<Vec<u32>> = codes.iter().map(|&code| groups.split_code(code)).collect();
        for (&code, classes) in codes.iter().zip(&classes) {
            // The groups' bits one after another are the code's.
            let bits = classes.iter().zip(groups.bits());
            assert_eq!(bits.fold(0, |code, (class, bits)| code << bits | class), code);
        }
        let split = groups.split(lfq::codes_to_device(&codes, &device));
        assert_eq!(split.into_data().iter::<u32>().collect::<Vec<_>>(), classes.concat());
    }
    let wide = lfq::bits(lfq::codes_to_device(&[(1 << 31) - 1, 1 << 30], &device), 31).reshape([1, 1, 2, 31]);
    assert_eq!(lfq::codes_from_data(lfq::codes(wide).into_data()).unwrap(), [[(1 << 31) - 1, 1 << 30]]);
}

#[test]
fn entropy_tells_sure_from_unsure() {
    let device = Device::flex();
    let entropies = |z: [f32; 2]| {
        let e = lfq::entropy(Tensor::<1>::from_floats(z, &device).reshape([2, 1, 1, 1]), 1.0);
        [e.per_sample, e.batch].map(|e| e.into_scalar::<f32>() / 2f32.ln())
    };
    let near = |a: [f32; 2], b: [f32; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(near(entropies([0.0, 0.0]), [1.0, 1.0]));
    assert!(near(entropies([9.0, -9.0]), [0.0, 1.0]));
    assert!(near(entropies([900.0, 900.0]), [0.0, 0.0]));
}

#[test]
fn impossible_sizes_are_named() {
    assert!(TokenizerConfig::default().validate().is_ok() && small().validate().is_ok());
    let wrong = |change: fn(&mut TokenizerConfig), key: &str| {
        let mut config = small();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().place, key);
    };
    wrong(|c| c.ch = 0, "ch");
    wrong(|c| c.z_channels = 32, "z_channels");
    wrong(|c| c.norm_groups = 3, "norm_groups");
    wrong(|c| c.decoder_ch_mult = vec![1], "decoder_ch_mult");
    wrong(|c| c.encoder_ch_mult = vec![], "encoder_ch_mult");
    assert_eq!(small().grid(8, 12).unwrap(), [4, 6]);
    assert!(small().grid(9, 12).is_err() && small().grid(0, 12).is_err());
}

#[test]
fn pixels_become_images() {
    let device = Device::flex();
    let tokenizer = ImageTokenizer::new(&small(), &device).unwrap();
    let pixels = Tensor::<4>::from_floats([[[[-1.0, 0.0, 1.0], [-7.0, f32::NAN, 7.0]]]], &device);
    let images = tokenizer.to_image(pixels).block_on().unwrap();
    assert_eq!((images.len(), images[0].as_raw().as_slice()), (1, &[0, 127, 255, 0, 0, 255][..]));
    assert!(tokenizer.to_image(Tensor::zeros([1, 2, 2, 1], &device)).block_on().is_err());
}
