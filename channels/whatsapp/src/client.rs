//! The client of WhatsApp, set up as sessions need it.

use std::sync::Arc;

use async_trait::async_trait;
use wacore::msg_secret::MsgSecretPolicy;
use wacore::store::DevicePropsOverride;
use wacore::store::traits::Backend;
use whatsapp_rust::anyhow::{self, bail};
use whatsapp_rust::http::{HttpClient, HttpRequest, HttpResponse};
use whatsapp_rust::prelude::Bot;
use whatsapp_rust::types::durability_hook::InboundDurabilityHook;
use whatsapp_rust::waproto::whatsapp::device_props::PlatformType;
use whatsapp_rust::{CacheConfig, CacheEntryConfig};

use crate::line::Dialer;
use crate::pace::Paced;
use crate::settings::Settings;
use crate::version::WebVersion;

/// Keys that others may begin to write with, published at a time: few, since few write to a session, and each is a
/// write to the store. The client publishes more when they run out.
const KEYS: usize = 30;

/// Most people of whom both addresses are kept in memory, of each session.
const ADDRESSES_MAX: u64 = 20_000;

/// Sessions send text: they fetch no pictures, and no version.
struct NoHttp;

#[async_trait]
impl HttpClient for NoHttp {
    async fn execute(&self, _: HttpRequest) -> anyhow::Result<HttpResponse> {
        bail!("sessions ask for nothing but WhatsApp's own connection")
    }
}

/// A client that has not been started.
pub(crate) async fn build(
    settings: &Settings,
    version: WebVersion,
    backend: Arc<dyn Backend>,
    dialer: Arc<Dialer>,
    inbound: impl InboundDurabilityHook + 'static,
) -> anyhow::Result<Bot> {
    let device =
        DevicePropsOverride::new().with_os(settings.shown_as.as_str()).with_platform_type(PlatformType::CHROME);
    let cache = CacheConfig {
        // Nobody edits what sessions send, or votes on it: a secret of each message would be kept for a month.
        msg_secret_policy: MsgSecretPolicy::Disabled,
        // Whoever is evicted is looked up again before they are written to, as somebody new: so many that this is rare.
        lid_pn_cache: CacheEntryConfig::new(None, ADDRESSES_MAX),
        ..CacheConfig::default()
    };
    let bot = Bot::builder()
        .with_backend_arc(backend)
        .with_transport_factory(Shared(dialer))
        .with_http_client(NoHttp)
        .with_runtime(Paced)
        .with_version(version)
        .with_device_props(device)
        .with_inbound_durability_hook(inbound)
        .with_wanted_pre_key_count(KEYS)
        .with_cache_config(cache)
        .skip_history_sync()
        .build()
        .await?;
    Ok(bot)
}

/// The builder wants to own what it dials with.
struct Shared(Arc<Dialer>);

#[async_trait]
impl whatsapp_rust::transport::TransportFactory for Shared {
    async fn create_transport(
        &self,
    ) -> anyhow::Result<(
        Arc<dyn whatsapp_rust::transport::Transport>,
        whatsapp_rust::async_channel::Receiver<whatsapp_rust::transport::TransportEvent>,
    )> {
        self.0.create_transport().await
    }
}
