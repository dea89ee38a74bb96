use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;

/// Where the machine says whom to ask.
const CONFIGURATION: &str = "/etc/resolv.conf";

/// Finds the addresses of a host.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of a name; none when it has none, or nobody says.
    async fn resolve(&self, host: &str) -> Vec<IpAddr>;
}

/// Asks whom the machine asks, by `/etc/resolv.conf` and `/etc/hosts`.
#[derive(Default)]
pub struct SystemResolver(Mutex<Made<TokioResolver>>);

/// What was made of a file, and is made anew when the file changed, or when it could not be made.
struct Made<T> {
    of: Option<SystemTime>,
    made: Option<T>,
}

impl<T> Default for Made<T> {
    fn default() -> Self {
        Self { of: None, made: None }
    }
}

impl<T: Clone> Made<T> {
    fn get(&mut self, changed_at: Option<SystemTime>, make: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.made.is_none() || self.of != changed_at {
            // What there was is better than nothing.
            self.made = make().or(self.made.take());
            self.of = changed_at;
        }
        self.made.clone()
    }
}

impl SystemResolver {
    fn resolver(&self) -> Option<TokioResolver> {
        let changed_at = std::fs::metadata(CONFIGURATION).and_then(|file| file.modified()).ok();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(changed_at, || {
            let built = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            if let Err(error) = &built {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "no name can be resolved: nothing outside is reached");
            }
            built.ok()
        })
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Vec<IpAddr> {
        let Some(resolver) = self.resolver() else { return Vec::new() };
        // With a dot at its end it is a whole name, and not one within the machine's own domain.
        let whole = format!("{}.", host.trim_end_matches('.'));
        match resolver.lookup_ip(whole).await {
            Ok(found) => found.iter().collect(),
            Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_could_not_be_made_is_made_later_and_what_was_is_made_anew_when_its_file_changed() {
        let (early, late) = (Some(SystemTime::UNIX_EPOCH), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
        let mut made = Made::default();
        assert_eq!(made.get(early, || None), None);
        assert_eq!(made.get(early, || Some(1)), Some(1));
        assert_eq!(made.get(early, || unreachable!("it is there")), Some(1));
        assert_eq!(made.get(late, || Some(2)), Some(2));
        assert_eq!(made.get(early, || None), Some(2), "what there was is better than nothing");
    }
}
