//! Where a walk through a module is.

/// The path of a parameter in a module, `layers.0.norm.weight`, for mappers and visitors to keep as they enter and leave.
///
/// Burn also announces the variant of an enum, such as the architecture of a layer; published names know nothing of it, so
/// paths leave it out.
#[derive(Clone, Debug, Default)]
pub struct ParameterPath(Vec<String>);

impl ParameterPath {
    /// Goes into the part `name` of a `container`, as burn names both.
    pub fn enter(&mut self, name: &str, container: &str) {
        if !is_enum(container) {
            self.0.push(name.into());
        }
    }

    /// Leaves a part of a `container` again.
    pub fn leave(&mut self, container: &str) {
        if !is_enum(container) {
            self.0.pop();
        }
    }

    /// The path with dots.
    pub fn joined(&self) -> String {
        self.0.join(".")
    }

    /// Whether the path leads through a part `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|part| part == name)
    }
}

fn is_enum(container: &str) -> bool {
    container.starts_with("Enum:")
}
