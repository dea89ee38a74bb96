//! The channel that prints, and the one to copy when you write another.
//!
//! Each message is one line on standard output:
//!
//! ```text
//! console: to=+12025550123 channel=console code=482913 text="482913 is your Acme code."
//! ```
//!
//! **Development only**: whoever reads the terminal reads the codes. The server refuses to start
//! with this channel when `environment = "production"`.
//!
//! # Writing a channel
//!
//! A channel is a crate that knows one outside system and nothing of ours but `wotp_core`. It
//! implements [`Channel`], which is four answers:
//!
//! 1. [`name`](Channel::name): what tenants write in their channel order. It never changes: it is
//!    stored with every delivery.
//! 2. [`reaches`](Channel::reaches): phones, email addresses or both.
//! 3. [`send`](Channel::send): returns once the other side has *acknowledged* the message, because
//!    that is what `sent` means to a tenant. A call that merely returned is no acknowledgement.
//!    The caller bounds the time, by dropping the future: hold nothing across an `await` that would
//!    be wrong to lose. It shares its thread with every request and every other delivery: what
//!    blocks belongs on a thread of its own, as printing does here (`printer.rs`).
//! 4. [`probe`](Channel::probe): could it send now, and if not, what should the operator do?
//!
//! # What to say when it fails
//!
//! The channel understands the failure best, so it gives the verdict, and nobody second-guesses it:
//!
//! | say | when | then |
//! |---|---|---|
//! | [`SendError::Later`] | busy, or out of reach: the same message may go through soon | tried again here after `after`, a few times |
//! | [`SendError::Away`] | it has not answered lately, and was not asked | the next channel at once; without one, here again after `after` |
//! | [`SendError::Refused`] | it will not go through here, however often | the next channel at once |
//! | [`SendError::Unknown`] | it broke off after the message was handed over | the next channel; a late acknowledgement still counts |
//!
//! Say `Unknown` rather than `Later` when in doubt whether it got out: a second code that arrives is
//! a nuisance, and a tenant who pays per message pays twice. `detail` goes to a log: it holds
//! neither the address nor the code, also when the other side's own words do.
//!
//! # Proving it
//!
//! `tests/contract.rs` runs `wotp_core::testing::channel::holds` over the real thing, here a child
//! process whose standard output is read back. Then register the channel in the server's
//! `wiring.rs`, the only file that names it.

mod printer;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

use async_trait::async_trait;
use jiff::SignedDuration;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};

use printer::{PrintError, Printer};

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Standard output.
    #[default]
    Stdout,
    /// Nowhere: acknowledged and forgotten, to measure everything but the channel.
    Nowhere,
}

/// How long a message waits when too many wait before it.
const BUSY: SignedDuration = SignedDuration::from_secs(1);

/// Prints messages, or pretends to.
#[derive(Debug)]
pub struct Console {
    /// None prints nowhere.
    printer: Option<Printer>,
}

impl Console {
    /// What tenants call it.
    pub const NAME: &str = "console";

    /// A channel that prints to `output`. Standard output gets a thread, nowhere needs none.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(output: Output) -> io::Result<Self> {
        let printer = match output {
            Output::Stdout => Some(Printer::start()?),
            Output::Nowhere => None,
        };
        Ok(Self { printer })
    }
}

#[async_trait]
impl Channel for Console {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone, AddressKind::Email]
    }

    /// Prints one line in one write, so that lines never mix, and a person reading along sees it
    /// at once. Done when the system took it: while nobody reads a full pipe, that does not happen.
    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        if let Some(printer) = &self.printer {
            printer.print(line(outgoing)).await?;
        }
        Ok(Acknowledged { provider_id: None, reached: DeliveryStatus::Sent, cost: None })
    }

    /// Prints nothing, in its turn.
    async fn probe(&self) -> Result<(), String> {
        let Some(printer) = &self.printer else { return Ok(()) };
        let printed = printer.print(String::new()).await;
        printed.map_err(|error| format!("{error}: start the server with its output open, and read it"))
    }
}

impl From<PrintError> for SendError {
    fn from(error: PrintError) -> Self {
        let detail = error.to_string();
        match error {
            PrintError::Full => Self::Later { after: BUSY, detail },
            PrintError::Closed(_) => Self::Refused { reason: DeliveryFailure::Misconfigured, detail },
            PrintError::Ended => Self::Unknown { detail },
        }
    }
}

fn line(outgoing: &Outgoing) -> String {
    let mut line = format!("console: to={} channel={}", outgoing.to.as_str(), Console::NAME);
    if let Some(code) = &outgoing.code {
        line.push_str(" code=");
        line.push_str(&one_line(code.as_str()));
    }
    line.push_str(" text=\"");
    line.push_str(&one_line(&outgoing.text));
    line.push_str("\"\n");
    line
}

/// The text with whatever would end the line, close the quotes or steer the terminal written as
/// Rust writes it: `\n`, `\"`, `\\`, `\u{1b}`. Everything else stays readable.
fn one_line(text: &str) -> Cow<'_, str> {
    let told = |c: char| c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}');
    if !text.contains(told) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '"' | '\\' => escaped.extend(['\\', c]),
            c if told(c) => {
                write!(escaped, "\\u{{{:x}}}", u32::from(c)).expect("a string takes any text");
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wotp_core::testing::channel::outgoing;

    #[test]
    fn a_line_says_to_whom_through_what_and_which_code() {
        let message = outgoing(AddressKind::Phone, 23);
        assert_eq!(
            line(&message),
            "console: to=+12025550123 channel=console code=482913 \
             text=\"482913 is your Acme code (23). It expires in 5 minutes. Do not share it.\"\n"
        );
    }

    #[test]
    fn a_direct_message_has_no_code() {
        let message = Outgoing { code: None, text: "Hello".to_owned(), ..outgoing(AddressKind::Email, 1) };
        assert_eq!(line(&message), "console: to=ada.lovelace1@example.com channel=console text=\"Hello\"\n");
    }

    #[test]
    fn a_text_can_neither_end_its_line_nor_steer_the_terminal() {
        assert_eq!(one_line("a\r\n\t\"b\"\\ \u{1b}[2J\u{2028}é👩‍👧"), r#"a\r\n\t\"b\"\\ \u{1b}[2J\u{2028}é👩‍👧"#);
        assert!(matches!(one_line("nothing to escape, כלום"), Cow::Borrowed(_)));
    }
}
