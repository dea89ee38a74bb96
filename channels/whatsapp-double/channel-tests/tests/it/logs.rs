//! Nothing that is anybody's business gets into a log of ours.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use wotp_channel_whatsapp::Status;
use wotp_core::domain::phone::Phone;
use wotp_whatsapp_double::{Fault, Rule, Strike};

use crate::tenant::{Process, connected, qr, send, until, within};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.clone().write_all(line.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn no_number_text_or_code_gets_into_a_log_of_ours() {
    const OWN: &str = "12025550142";
    const THEIRS: &str = "+447700900942";
    let (ours, the_clients) = (Lines::default(), Lines::default());
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(ours.clone())
        .finish();
    tracing::subscriber::set_global_default(everything).unwrap();
    log::set_boxed_logger(Box::new(the_clients.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let process = Process::new().await;
    let session = process.session(1).await;
    session.show_code(&Phone::parse(&format!("+{OWN}")).unwrap()).await.unwrap();
    let code = until(&session, "a code", |status| match status {
        Status::Pairing { code: Some(code), .. } => Some(code.text.clone()),
        _ => None,
    })
    .await;
    let qr = qr(&session).await;
    within("the pairing", process.double.scan(OWN, &qr)).await.unwrap();
    connected(&session).await;
    send(&session, 1, THEIRS, "Your code is 730142").await.unwrap();
    process.double.arm(Rule::once(Fault::AckError { code: 463 }, OWN)).await;
    send(&session, 2, THEIRS, "Your code is 730142").await.unwrap_err();
    process.double.say(THEIRS, OWN, "7Q4K-XY").await.unwrap();
    process.told.message(0).await;
    process.double.strike(OWN, Strike::Drop).await.unwrap();
    until(&session, "it is lost", |status| (status.name() == "disconnected").then_some(())).await;
    connected(&session).await;
    session.log_out().await.unwrap();

    let (ours, the_clients) = (ours.text(), the_clients.text());
    assert!(ours.contains("a WhatsApp session has changed"), "nothing was captured");
    let qr_key = qr.split(',').nth(1).unwrap();
    for secret in [OWN, &THEIRS[1..], "730142", "7Q4K-XY", code.as_str(), qr_key] {
        assert!(!ours.contains(secret), "{secret} is in {ours}");
    }
    // Why the server must not forward what comes through the crate `log`: `make lint` sees to that.
    assert!(the_clients.contains(OWN), "the client's own log names numbers");
}
