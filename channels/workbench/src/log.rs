//! What a plugin writes to the log, heard where it would be written.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::instrument::{WithDispatch, WithSubscriber as _};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

/// By whom is written that is heard here.
const HOST: &str = "wotp_channel_wasm";

/// All that the host writes to the log about a plugin, while that is followed.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Follows something.
    pub fn follow<F>(&self, what: F) -> WithDispatch<F> {
        what.with_subscriber(Dispatch::new(Registry::default().with(self.clone())))
    }

    /// What was written since this was asked last.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with(HOST) {
            let mut written = Written(String::new());
            event.record(&mut written);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(written.0);
        }
    }
}

/// The fields of an event, one after the other.
struct Written(String);

impl Visit for Written {
    fn record_str(&mut self, _: &Field, value: &str) {
        self.record(value);
    }

    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.record(&format!("{value:?}"));
    }
}

impl Written {
    fn record(&mut self, value: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(value);
    }
}
