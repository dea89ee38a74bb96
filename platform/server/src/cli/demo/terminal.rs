//! The screen: few colours, and none where they are not wanted.

use std::io::IsTerminal as _;

use crate::cli::failure::Failure;
use crate::cli::output;

/// What is printed, and whether at all: with `--json` only the result is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    silent: bool,
    colours: bool,
}

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    /// A heading.
    Strong,
    /// What is there for completeness.
    Quiet,
    /// It went well.
    Good,
}

impl Terminal {
    pub(super) fn new(silent: bool) -> Self {
        // https://no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { silent, colours: std::io::stdout().is_terminal() && !refused }
    }

    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "32",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub(super) fn line(self, text: &str) -> Result<(), Failure> {
        if self.silent { Ok(()) } else { output::line(text) }
    }

    /// A numbered step, after a blank line.
    pub(super) fn step(self, number: usize, what: &str) -> Result<(), Failure> {
        self.line(&format!("\n{}", self.paint(Tone::Strong, &format!("{number}. {what}"))))
    }

    /// Lines that belong to a step.
    pub(super) fn indented(self, tone: Tone, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Failure> {
        for line in lines {
            self.line(&format!("   {}", self.paint(tone, line.as_ref())))?;
        }
        Ok(())
    }
}
