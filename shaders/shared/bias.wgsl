@group(0) @binding(3) var<storage, read_write> bias: array<f32>;
@group(0) @binding(4) var<uniform> info: Info;

fn bias_at(output: u32) -> f32 {
    return bias[output];
}
