//! How far a move has come, on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;
use wotp_store::moving::{Kind, Phase, Progress};

/// How often the line of a terminal changes.
const OFTEN: Duration = Duration::from_millis(200);
/// How often there is another line where they all stay.
const SELDOM: Duration = Duration::from_secs(5);

/// What is shown.
pub(super) struct Shown {
    terminal: bool,
    /// Of which the last word was, when it began, and from how many.
    current: Option<(Phase, Kind, Instant, u64)>,
    said: Instant,
}

impl Shown {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), current: None, said: Instant::now() }
    }

    pub(super) fn say(&mut self, progress: Progress) {
        let Progress { phase, kind, done, total } = progress;
        let now = Instant::now();
        let (began, from) = match self.current {
            Some((of_phase, of_kind, began, from)) if (of_phase, of_kind) == (phase, kind) => (began, from),
            _ => {
                self.current = Some((phase, kind, now, done));
                (now, done)
            }
        };
        let pause = if self.terminal { OFTEN } else { SELDOM };
        let ended = done >= total && done > from;
        if total == 0 || (!ended && now.duration_since(self.said) < pause) {
            return;
        }
        self.said = now;
        let line = line(progress, done - from, now.duration_since(began));
        // Progress that cannot be shown is no reason to stop.
        let _ = match (self.terminal, ended) {
            (true, false) => write!(std::io::stderr(), "\r\x1b[K{line}"),
            (true, true) => writeln!(std::io::stderr(), "\r\x1b[K{line}"),
            (false, _) => writeln!(std::io::stderr(), "{line}"),
        };
    }
}

impl Drop for Shown {
    /// Leaves a clean line for whatever is said next.
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `done` of `progress`, of which `lately` were done in `took`.
fn line(progress: Progress, lately: u64, took: Duration) -> String {
    let Progress { phase, kind, done, total } = progress;
    let what = match phase {
        Phase::Copy => "copied",
        Phase::Compare => "compared",
    };
    let name = kind.name();
    let mut line = format!("{what} {name}: {done} of {total}");
    let seconds = took.as_secs_f64();
    if lately > 0 && seconds >= 0.001 {
        let rate = lately as f64 / seconds;
        line += &format!(", {rate:.0} a second");
        if done < total {
            line += &format!(", about {:.0} s left", (total - done) as f64 / rate);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_are_done_how_fast_and_how_long_the_rest_takes() {
        let progress = Progress { phase: Phase::Copy, kind: Kind::Verifications, done: 3_000, total: 10_000 };
        // A thousand were there from before a cut.
        let said = line(progress, 2_000, Duration::from_secs(4));
        assert_eq!(said, "copied verifications: 3000 of 10000, 500 a second, about 14 s left");
        let progress = Progress { phase: Phase::Compare, kind: Kind::Tenants, done: 0, total: 2 };
        assert_eq!(line(progress, 0, Duration::ZERO), "compared tenants: 0 of 2");
        let progress = Progress { done: 2, ..progress };
        assert_eq!(line(progress, 2, Duration::from_secs(1)), "compared tenants: 2 of 2, 2 a second");
    }
}
