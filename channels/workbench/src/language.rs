//! The languages that plugins are begun in, and what is written for each.

use std::fmt;
use std::str::FromStr;

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// With the kit.
    Rust,
    /// On QuickJS.
    JavaScript,
    /// On CPython.
    Python,
}

/// A language's template.
pub(crate) struct Template {
    pub language: Language,
    /// Files by their path in the folder, `{{name}}` in them standing for the plugin's name.
    pub files: &'static [(&'static str, &'static str)],
}

/// Shortens what follows: a file of `plugins/`, compiled in.
macro_rules! of_plugins {
    ($file:literal) => {
        include_str!(concat!("../../../plugins/", $file))
    };
}

/// All there are. What comes next is one more entry, and one more name below.
pub(crate) const TEMPLATES: &[Template] = &[
    Template {
        language: Language::Rust,
        files: &[
            ("Cargo.toml", of_plugins!("templates/rust/Cargo.toml.in")),
            ("src/lib.rs", of_plugins!("templates/rust/src/lib.rs")),
            ("config.schema.json", of_plugins!("templates/rust/config.schema.json")),
            ("settings.toml", of_plugins!("templates/rust/settings.toml")),
            ("provider.toml", of_plugins!("templates/rust/provider.toml")),
            ("README.md", of_plugins!("templates/rust/README.md")),
            // Without its dot there, since it is none of ours; nor are the `.in` any that a tool of ours should read.
            (".gitignore", of_plugins!("templates/rust/gitignore")),
            // The kit is not on crates.io. It is the one that our own plugins use; only where its versions come from differs.
            ("kit/Cargo.toml", of_plugins!("templates/rust/kit/Cargo.toml.in")),
            ("kit/LICENSE", of_plugins!("LICENSE")),
            ("kit/src/lib.rs", of_plugins!("kit/src/lib.rs")),
            ("kit/src/http.rs", of_plugins!("kit/src/http.rs")),
            ("wit/channel.wit", of_plugins!("wit/channel.wit")),
        ],
    },
    Template {
        language: Language::JavaScript,
        files: &[
            ("README.md", of_plugins!("templates/javascript/README.md")),
            (".gitignore", of_plugins!("templates/javascript/gitignore")),
            ("package-lock.json", of_plugins!("templates/javascript/package-lock.json")),
            ("package.json", of_plugins!("templates/javascript/package.json")),
            ("provider.toml", of_plugins!("templates/javascript/provider.toml")),
            ("settings.toml", of_plugins!("templates/javascript/settings.toml")),
            ("src/gateway.js", of_plugins!("templates/javascript/src/gateway.js")),
            ("src/plugin.js", of_plugins!("templates/javascript/src/plugin.js")),
            ("test/gateway.test.js", of_plugins!("templates/javascript/test/gateway.test.js")),
            ("wit/channel.wit", of_plugins!("wit/channel.wit")),
        ],
    },
    Template {
        language: Language::Python,
        files: &[
            ("README.md", of_plugins!("templates/python/README.md")),
            ("build.py", of_plugins!("templates/python/build.py")),
            (".gitignore", of_plugins!("templates/python/gitignore")),
            ("provider.toml", of_plugins!("templates/python/provider.toml")),
            ("requirements.txt", of_plugins!("templates/python/requirements.txt")),
            ("settings.toml", of_plugins!("templates/python/settings.toml")),
            ("src/app.py", of_plugins!("templates/python/src/app.py")),
            ("src/gateway.py", of_plugins!("templates/python/src/gateway.py")),
            ("test/test_gateway.py", of_plugins!("templates/python/test/test_gateway.py")),
            ("wit/channel.wit", of_plugins!("wit/channel.wit")),
        ],
    },
];

impl Language {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Rust, Self::JavaScript, Self::Python];

    pub(crate) fn template(self) -> &'static Template {
        let template = TEMPLATES.iter().find(|template| template.language == self);
        template.expect("every language has a template, as a test sees")
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::Python => "python",
        })
    }
}

/// A word that is no language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no language that there is a template for; there are {all}", all = all())]
pub struct NoLanguage(String);

fn all() -> String {
    Language::ALL.iter().map(|language| format!("`{language}`")).collect::<Vec<_>>().join(", ")
}

impl FromStr for Language {
    type Err = NoLanguage;

    fn from_str(text: &str) -> Result<Self, NoLanguage> {
        let found = Self::ALL.iter().copied().find(|language| language.to_string() == text);
        found.ok_or_else(|| NoLanguage(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::building::RECIPES;

    #[test]
    fn every_language_is_read_as_it_is_written_and_has_a_template_that_can_be_built() {
        assert_eq!(TEMPLATES.len(), Language::ALL.len());
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(*language));
            let template = language.template();
            assert!(RECIPES.iter().any(|recipe| template.files.iter().any(|(path, _)| *path == recipe.known_by)));
        }
        assert!("cobol".parse::<Language>().unwrap_err().to_string().contains("`rust`"));
    }

    /// What an author is given is what our own plugins are built with.
    #[test]
    fn the_kit_that_authors_get_asks_for_the_same_crates_as_ours() {
        let ours: toml::Table = of_plugins!("Cargo.toml").parse().unwrap();
        let kit: toml::Table = of_plugins!("kit/Cargo.toml").parse().unwrap();
        let theirs: toml::Table = of_plugins!("templates/rust/kit/Cargo.toml.in").parse().unwrap();
        let (ours, kit, theirs) =
            (&ours["workspace"]["dependencies"], kit["dependencies"].as_table().unwrap(), &theirs["dependencies"]);
        assert_eq!(theirs.as_table().unwrap().len(), kit.len());
        for name in kit.keys() {
            assert_eq!(theirs[name], ours[name], "{name}");
        }
    }
}
