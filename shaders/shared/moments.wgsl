// The mean of the row that starts at quad `first`, and the factor that brings its variance to one.
fn moments(first: u32) -> vec2<f32> {
    let width = f32(4u * info.quads);
    var sums = vec4<f32>();
    for (var i = 0u; i < info.quads; i++) {
        sums += x[first + i];
    }
    let mean = dot(sums, vec4<f32>(1.0)) / width;
    var squares = vec4<f32>();
    for (var i = 0u; i < info.quads; i++) {
        let centred = x[first + i] - mean;
        squares += centred * centred;
    }
    return vec2<f32>(mean, 1.0 / sqrt(dot(squares, vec4<f32>(1.0)) / width + info.eps));
}
