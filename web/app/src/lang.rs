//! English and Chinese, the languages of the app.

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Lang {
    #[default]
    En,
    Zh,
}

impl Lang {
    /// The language of a tag as browsers give them, such as `zh-CN`.
    pub fn of(tag: &str) -> Self {
        if tag.to_lowercase().starts_with("zh") { Self::Zh } else { Self::En }
    }

    /// For the `lang` attribute.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-Hans",
        }
    }
}
