use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::code::Code;
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};

/// A channel with somebody who reads along: what the demo has instead of a phone in its hand.
///
/// It also holds messages back until the demo has printed the reply of the server, which the worker
/// would overtake, so that the screen reads in order.
pub(super) struct Overheard {
    inner: Arc<dyn Channel>,
    codes: mpsc::UnboundedSender<Code>,
    open: watch::Receiver<bool>,
}

/// Where the codes are heard.
pub(super) struct Ear {
    codes: mpsc::UnboundedReceiver<Code>,
    open: watch::Sender<bool>,
}

/// Puts an ear to a channel.
pub(super) fn overhear(inner: Arc<dyn Channel>) -> (Overheard, Ear) {
    let (told, codes) = mpsc::unbounded_channel();
    let (open, opened) = watch::channel(false);
    (Overheard { inner, codes: told, open: opened }, Ear { codes, open })
}

impl Ear {
    /// Lets messages out from now on.
    pub(super) fn let_out(&self) {
        self.open.send_replace(true);
    }

    /// The next code that went out; none once nothing can come any more.
    pub(super) async fn code(&mut self) -> Option<Code> {
        self.codes.recv().await
    }
}

#[async_trait]
impl Channel for Overheard {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn reaches(&self) -> &[AddressKind] {
        self.inner.reaches()
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        // An error means that the demo is over; the message goes out all the same.
        let _ = self.open.clone().wait_for(|open| *open).await;
        let acknowledged = self.inner.send(outgoing).await?;
        if let Some(code) = &outgoing.code {
            // Nobody listens once the demo has been shown.
            let _ = self.codes.send(code.clone());
        }
        Ok(acknowledged)
    }

    async fn probe(&self) -> Result<(), String> {
        self.inner.probe().await
    }
}
