//! The names that a detector knows, and the error for unknown names.

/// An error lists all known names if there are no more than this.
const FEW: usize = 12;

/// The names of the classes and colours that a detector can distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vocabulary<'a> {
    pub classes: &'a [&'a str],
    pub colors: &'a [&'a str],
}

/// An error message: `name` is not among the `known` names of a `what`. It lists the known names if they are few, and
/// suggests the closest one.
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let mut text = match known.len() {
        ..=FEW => format!("unknown {what} \"{name}\"; choose one of {}", known.join(", ")),
        count => format!("unknown {what} \"{name}\": it is not one of the {count} known"),
    };
    let near = |known: &&&str| !name.is_empty() && (known.ends_with(name) || name.ends_with(**known));
    if let Some(near) = known.iter().find(near) {
        text += &format!("; did you mean \"{near}\"?");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_quoted_and_known_ones_offered() {
        let few = unknown("color", "dark red", &["red", "blue"]);
        assert_eq!(few, "unknown color \"dark red\"; choose one of red, blue; did you mean \"red\"?");
        let many = ["apple"; 20];
        let many = unknown("class", "unicorn", &many);
        assert_eq!(many, "unknown class \"unicorn\": it is not one of the 20 known");
        assert_eq!(unknown("class", "", &["car"]), "unknown class \"\"; choose one of car");
    }
}
