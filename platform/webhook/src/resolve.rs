use std::net::IpAddr;
use std::sync::OnceLock;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;

/// Finds the addresses of a host.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of a name; none when it has none, or nobody says.
    async fn resolve(&self, host: &str) -> Vec<IpAddr>;
}

/// Asks whom the machine asks, by `/etc/resolv.conf` and `/etc/hosts`.
#[derive(Default)]
pub struct SystemResolver(OnceLock<Option<TokioResolver>>);

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Vec<IpAddr> {
        let resolver = self.0.get_or_init(|| {
            let built = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            if let Err(error) = &built {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "no name can be resolved: webhooks reach no host");
            }
            built.ok()
        });
        let Some(resolver) = resolver else { return Vec::new() };
        // With a dot at its end it is a whole name, and not one within the machine's own domain.
        let whole = format!("{}.", host.trim_end_matches('.'));
        match resolver.lookup_ip(whole).await {
            Ok(found) => found.iter().collect(),
            Err(_) => Vec::new(),
        }
    }
}
