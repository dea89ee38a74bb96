//! The real client, as tests use it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use whatsapp_rust::async_channel::Receiver;
use whatsapp_rust::http::{HttpClient, HttpRequest, HttpResponse};
use whatsapp_rust::prelude::*;
use whatsapp_rust::traits::Backend;
use whatsapp_rust::transport::TokioWebSocketTransportFactory;
use wotp_whatsapp_double::Double;

/// The tenant's number.
pub const TENANT: &str = "15550100";
/// Somebody who gets messages.
pub const ANNA: &str = "447700900123";

/// Bounds what a test waits for: the client waits between its own tries, 1 s at first and some more each time.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Nothing that is tested needs anything else of the internet.
struct NoHttp;

#[async_trait::async_trait]
impl HttpClient for NoHttp {
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        anyhow::bail!("a test asked for {}", request.url)
    }
}

/// A client that runs, and what it has told.
pub struct Client {
    bot: BotHandle,
    events: Receiver<Arc<Event>>,
    /// Told, and not asked for yet.
    told: VecDeque<Arc<Event>>,
}

impl Client {
    /// Starts one on what it kept, or on nothing.
    pub async fn start(double: &Double, kept: &Arc<dyn Backend>) -> Self {
        let (handler, events) = ChannelEventHandler::new();
        let bot = Bot::builder()
            .with_backend_arc(Arc::clone(kept))
            .with_transport_factory(TokioWebSocketTransportFactory::new().with_url(double.url()))
            .with_http_client(NoHttp)
            .with_runtime(TokioRuntime)
            .with_version((2, 3000, 1_026_131_876))
            .skip_history_sync()
            .with_push_name("Codes")
            .with_wanted_pre_key_count(30)
            .build()
            .await
            .unwrap();
        bot.client().subscribe_handler(handler).detach();
        Self { bot: bot.spawn(), events, told: VecDeque::new() }
    }

    /// One that is linked by QR to the tenant's number, and connected.
    pub async fn linked(double: &Double) -> Self {
        Self::linked_to(double, TENANT, &nothing_kept()).await
    }

    pub async fn linked_to(double: &Double, number: &str, kept: &Arc<dyn Backend>) -> Self {
        let mut client = Self::start(double, kept).await;
        let qr = client.qr().await;
        within("the pairing", double.scan(number, &qr)).await.unwrap();
        client.connected().await;
        client
    }

    pub fn api(&self) -> Arc<whatsapp_rust::Client> {
        self.bot.client()
    }

    pub async fn stop(self) {
        self.bot.shutdown().await;
    }

    /// The first event that is wanted, told already or yet to come. What else was told stays.
    pub async fn told<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        if let Some((place, found)) =
            self.told.iter().enumerate().find_map(|(place, event)| Some((place, wanted(event)?)))
        {
            self.told.remove(place);
            return found;
        }
        within(what, async {
            loop {
                let event = self.events.recv().await.unwrap();
                match wanted(&event) {
                    Some(found) => return found,
                    None => self.told.push_back(event),
                }
            }
        })
        .await
    }

    /// Whether something was told already. Only of use after something that is told later.
    pub fn was_told(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.told.iter().any(|event| wanted(event))
    }

    pub async fn qr(&mut self) -> String {
        self.told("a QR", |event| match event {
            Event::PairingQrCode(qr) => Some(qr.code.clone()),
            _ => None,
        })
        .await
    }

    pub async fn connected(&mut self) {
        self.told("the client connects", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    }

    pub async fn disconnected(&mut self) {
        self.told("the client is disconnected", |event| matches!(event, Event::Disconnected(_)).then_some(())).await;
    }

    /// Sends a text; the id of the message.
    pub async fn send(&self, to: &str, text: &str) -> String {
        within("sending", self.api().send_text(Jid::pn(to), text)).await.unwrap().message_id
    }

    /// The server's acknowledgement of a message: the code that it was refused with, if it was.
    pub async fn ack(&mut self, id: &str) -> Option<String> {
        self.told("the acknowledgement", |event| acknowledges(event, id)).await
    }

    pub async fn receipt(&mut self, id: &str, kind: &str) {
        self.told(&format!("a receipt: {kind}"), |event| match event {
            Event::Receipt(receipt) => {
                let it = receipt.message_ids.iter().any(|known| known == id);
                (it && format!("{:?}", receipt.r#type) == kind).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// The next message that was decrypted: its text, and the number of whoever wrote it.
    pub async fn message(&mut self) -> (String, String) {
        self.told("a message", |event| match event {
            Event::Messages(batch) => batch.iter().find_map(|message| {
                let sender = [Some(&message.info.source.sender), message.info.source.sender_alt.as_ref()];
                let number = sender.into_iter().flatten().find(|jid| jid.is_pn())?.user.to_string();
                Some((message.message.conversation.clone()?, number))
            }),
            _ => None,
        })
        .await
    }
}

/// Whether an event is the acknowledgement of a message, and the code in it.
pub fn acknowledges(event: &Event, id: &str) -> Option<Option<String>> {
    match event {
        Event::ServerAck(ack) if ack.id == id && ack.class.as_deref() == Some("message") => Some(ack.error.clone()),
        _ => None,
    }
}

/// What a client starts on that was never linked.
pub fn nothing_kept() -> Arc<dyn Backend> {
    Arc::new(wacore::store::InMemoryBackend::new())
}
