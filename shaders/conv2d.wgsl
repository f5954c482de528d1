// Two-dimensional cross-correlation of channels-last images with zero padding: `linear` inside a loop over the taps. An
// invocation keeps a tile of eight pixels by four channels in registers. All lanes of a workgroup work on the same
// pixels.

struct Info {
    // size of the input
    height: u32,
    width: u32,
    // input channels / 4
    quads: u32,
    // number of all output pixels, and of those of one image
    pixels: u32,
    pixels_out: u32,
    width_out: u32,
    channels_out: u32,
    // side and stride of the kernel
    side: u32,
    stride: u32,
    // rows and columns of zeros before the image
    top: u32,
    left: u32,
}

// [batch, height, width, channels_in]
@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
// [channels_out, side, side, channels_in]
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;
// [channels_out]
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;
// [batch, height_out, width_out, channels_out]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> info: Info;

/// Writes four channels of a pixel, as far as they exist.
fn store(pixel: u32, channel: u32, sums: vec4<f32>) {
    if (pixel >= info.pixels) {
        return;
    }
    let at = pixel * info.channels_out + channel;
    y[at] = sums.x + bias[channel];
    if (channel + 1u < info.channels_out) {
        y[at + 1u] = sums.y + bias[channel + 1u];
    }
    if (channel + 2u < info.channels_out) {
        y[at + 2u] = sums.z + bias[channel + 2u];
    }
    if (channel + 3u < info.channels_out) {
        y[at + 3u] = sums.w + bias[channel + 3u];
    }
}

/// For an output pixel: the first row of its image among all rows, and its row and column in the padded image.
fn corner(pixel: u32) -> vec3<u32> {
    let inside = pixel % info.pixels_out;
    let image = pixel / info.pixels_out;
    return vec3<u32>(
        image * info.height,
        inside / info.width_out * info.stride,
        inside % info.width_out * info.stride,
    );
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pixel = 8u * workgroup.y;
    let channel = 4u * (32u * workgroup.x + lane);
    if (channel >= info.channels_out) {
        return;
    }
    let taps = info.side * info.side;
    // Beyond the edge of the image the tile reads the last pixel again and writes nothing.
    let o = min(channel + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(info.channels_out - 1u)) * taps * info.quads;
    // repeat 8
    let corner# = corner(min(pixel + #u, info.pixels - 1u));
    var sums# = vec4<f32>();
    // end
    for (var tap = 0u; tap < taps; tap++) {
        let dy = tap / info.side;
        let dx = tap % info.side;
        // A pixel beyond the image has factor 0. Before the image the difference wraps around, so it is beyond the
        // image too.
        // repeat 8
        let row# = corner#.y + dy - info.top;
        let column# = corner#.z + dx - info.left;
        let inside# = row# < info.height && column# < info.width;
        let at# = select(0u, ((corner#.x + row#) * info.width + column#) * info.quads, inside#);
        let counts# = select(0.0, 1.0, inside#);
        // end
        let w = o + tap * info.quads;
        for (var quad = 0u; quad < info.quads; quad++) {
            let w0 = weight[w.x + quad];
            let w1 = weight[w.y + quad];
            let w2 = weight[w.z + quad];
            let w3 = weight[w.w + quad];
            // repeat 8
            let x# = x[at# + quad] * counts#;
            sums# += vec4<f32>(dot(x#, w0), dot(x#, w1), dot(x#, w2), dot(x#, w3));
            // end
        }
    }
    // repeat 8
    store(pixel + #u, channel, sums#);
    // end
}
