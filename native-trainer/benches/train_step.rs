//! The nano models' training steps in f32 and bf16.

use anyhow::Result;
use burn::tensor::Device;
use std::time::Instant;
use unigen_core::ops::cpu::{MatmulPrecision, matmul_precision, set_matmul_precision};
use unigen_trainer::bench::{self, Job};

/// Measured steps, after one that is not.
const STEPS: u32 = 5;

fn main() -> Result<()> {
    let device = Device::flex();
    for job in [bench::decoder(32, 180, &device)?, bench::tokenizer(8, &device)?] {
        for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
            set_matmul_precision(precision);
            if matmul_precision() == precision {
                let name = format!("{precision:?}").to_lowercase();
                println!("{}, {name}: {:.1} GFLOP/s", job.name, gflops(&job)?);
            }
        }
        set_matmul_precision(MatmulPrecision::F32);
    }
    Ok(())
}

fn gflops(job: &Job) -> Result<f64> {
    job.step()?;
    let start = Instant::now();
    (0..STEPS).try_for_each(|_| job.step())?;
    Ok(f64::from(STEPS) * job.batch as f64 * job.flops / 1e9 / start.elapsed().as_secs_f64())
}
