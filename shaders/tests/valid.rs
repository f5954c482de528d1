//! Tests that every shader is valid WGSL and needs nothing beyond core WebGPU.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};
use unigen_shaders::{Shader, WORKGROUPS_IN_A_ROW, all};

fn parsed(shader: &Shader) -> Module {
    let source = shader.source(&vec![16; shader.constants().len()]);
    match naga::front::wgsl::parse_str(&source) {
        Ok(module) => module,
        Err(error) => panic!("{}: {}", shader.name, error.emit_to_string(&source)),
    }
}

#[test]
fn kernels_are_valid_without_any_extension() {
    for shader in all() {
        let module = parsed(shader);
        // No subgroups, f16 or 64-bit numbers. Naga also lists the unpacking of halves as a capability, which is part
        // of core WebGPU.
        let core = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        let mut validator = Validator::new(ValidationFlags::all(), core);
        if let Err(error) = validator.validate(&module) {
            panic!("{}: {error:?}", shader.name);
        }
        assert!(!shader.source(&[]).contains("enable "), "{}", shader.name);
    }
}

#[test]
fn workgroups_are_what_the_host_is_told() {
    for shader in all() {
        let [entry] = &parsed(shader).entry_points[..] else { panic!("{} has one entry point", shader.name) };
        assert_eq!(
            (entry.name.as_str(), entry.workgroup_size),
            ("main", shader.workgroup),
            "{}",
            shader.name
        );
        assert!(shader.workgroup.iter().product::<u32>() <= 256, "{}", shader.name);
    }
}

/// Bindings count up from 0, storage buffers are writable, and the numbers come last.
#[test]
fn bindings_are_as_the_host_makes_them() {
    for shader in all() {
        let module = parsed(shader);
        let mut bindings: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| Some((variable.binding.as_ref()?.binding, variable.space)))
            .collect();
        bindings.sort_by_key(|(binding, _)| *binding);
        let last = bindings.len() - 1;
        for (i, (binding, space)) in bindings.into_iter().enumerate() {
            let want = match i == last {
                true => AddressSpace::Uniform,
                false => AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE },
            };
            assert_eq!((binding as usize, space), (i, want), "{}", shader.name);
        }
    }
}

#[test]
fn rows_of_workgroups_are_as_long_here_as_there() {
    let text = format!("const WORKGROUPS_IN_A_ROW: u32 = {WORKGROUPS_IN_A_ROW}u;");
    let lists: Vec<_> = all().filter(|shader| shader.source(&[]).contains("place(workgroup)")).collect();
    assert!(lists.len() > 4 && lists.iter().all(|shader| shader.source(&[]).contains(&text)));
}
