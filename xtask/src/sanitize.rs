//! Runs the tests of core's CPU operations under AddressSanitizer.

use anyhow::Result;

use crate::steps::Steps;
use crate::{Workspace, system};

/// # Errors
/// Where the tests cannot be built, a test fails or the sanitizer finds a fault.
pub fn run(workspace: &Workspace) -> Result<()> {
    system::check_compiler()?;
    let host = system::host(workspace)?;
    let mut steps = Steps::default();
    for (name, tests) in [("ops::cpu", ["--lib", "ops::cpu"]), ("ops", ["--test=ops", ""])] {
        let mut test = workspace.cargo(&[
            "test",
            "--package",
            "unigen-core",
            "--no-default-features",
            "--features",
            "cpu,train",
        ]);
        // With a target named, build scripts and macros stay without the flag.
        test.args(["--profile", "sanitize", "--target", &host]);
        test.args(tests.into_iter().filter(|arg| !arg.is_empty()));
        // Sanitizers are not stable yet.
        test.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
        steps.command(name, test);
    }
    steps.finish()
}
