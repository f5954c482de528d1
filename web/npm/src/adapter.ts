// How fast a software adapter is.

const PRODUCT = /* wgsl */ `
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;
override side: u32;

@compute @workgroup_size(8, 8)
fn product(@builtin(global_invocation_id) at: vec3u) {
    var sum = 0.0;
    for (var i = 0u; i < side; i++) {
        sum += a[at.y * side + i] * a[i * side + at.x];
    }
    c[at.y * side + at.x] = sum;
}`;

/** TypeScript's own library knows its type only. */
declare const GPUBufferUsage: { readonly STORAGE: GPUBufferUsageFlags };

/** Milliseconds of a product of two square matrices, the second time; endless where the adapter cannot do it. */
export async function softwareMs(adapter: GPUAdapter, side: number): Promise<number> {
  let device: GPUDevice | undefined;
  try {
    const gpu = await adapter.requestDevice();
    device = gpu;
    const compute = { module: gpu.createShaderModule({ code: PRODUCT }), constants: { side } };
    const pipeline = await gpu.createComputePipelineAsync({ layout: 'auto', compute });
    const size = 4 * side * side;
    const buffers = [0, 1].map(() => gpu.createBuffer({ size, usage: GPUBufferUsage.STORAGE }));
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    let start = 0;
    for (let run = 0; run < 2; run++) {
      start = performance.now();
      const commands = gpu.createCommandEncoder();
      const pass = commands.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(side / 8, side / 8);
      pass.end();
      gpu.queue.submit([commands.finish()]);
      await gpu.queue.onSubmittedWorkDone();
    }
    return performance.now() - start;
  } catch {
    return Number.MAX_VALUE;
  } finally {
    device?.destroy();
  }
}
