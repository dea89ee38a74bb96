//! What goes over the wire between a plugin and whom it calls, as it went: the host's HTTP with somebody who looks on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use url::Url;
use wotp_outbound::{Answer, Caller, Fetch, NoAnswer, Plain, Policy, Reading, Request, Resolve};

/// A request, as it left, and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request, with the secrets in it.
    pub request: Request,
    /// The answer.
    pub came: Result<Answer, NoAnswer>,
}

/// Makes the requests of a plugin and keeps them.
pub struct Wire {
    /// What may be called, as in production.
    policy: Policy,
    caller: Caller,
    /// Who answers in the place of everybody.
    led_to: Option<Mutex<SocketAddr>>,
    kept: Mutex<Vec<Exchange>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    /// To whom the plugin calls.
    pub fn to_the_world(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        let caller = Caller::new(policy.clone(), resolver);
        Self { policy, caller, led_to: None, kept: Mutex::default() }
    }

    /// To an address of this machine, whomever the plugin calls: what it may call is decided as in production, by the
    /// URL that it wrote, and what is led elsewhere is only the connection, without TLS.
    pub fn led_to(address: SocketAddr) -> Self {
        let here = Policy { allowed_networks: vec![address.ip().into()], plain: Plain::ToLoopback };
        let caller = Caller::new(here, Arc::new(NoNames));
        let led_to = Some(Mutex::new(address));
        Self { policy: Policy::default(), caller, led_to, kept: Mutex::default() }
    }

    /// Leads what comes next elsewhere.
    pub(crate) fn lead_to(&self, address: SocketAddr) {
        if let Some(led_to) = &self.led_to {
            *lock(led_to) = address;
        }
    }

    /// All that went over it since it was asked last.
    pub fn taken(&self) -> Vec<Exchange> {
        std::mem::take(&mut *lock(&self.kept))
    }

    /// The request as it is sent, which is where it is led.
    fn led(&self, request: &Request) -> Option<Request> {
        let Some(led_to) = &self.led_to else { return Some(request.clone()) };
        let address = *lock(led_to);
        let mut url = Url::parse(&request.url).ok()?;
        url.set_scheme("http").ok()?;
        url.set_ip_host(address.ip()).ok()?;
        url.set_port(Some(address.port())).ok()?;
        Some(Request { url: url.into(), ..request.clone() })
    }
}

#[async_trait]
impl Fetch for Wire {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    async fn call(&self, request: Request, reading: Reading, time: Duration) -> Result<Answer, NoAnswer> {
        let came = match self.led(&request) {
            Some(led) => self.caller.call(led, reading, time).await,
            None => Err(NoAnswer::NotAllowed),
        };
        lock(&self.kept).push(Exchange { request, came: came.clone() });
        came
    }
}

/// No name is asked for: all that is led is led to an address.
struct NoNames;

#[async_trait]
impl Resolve for NoNames {
    async fn resolve(&self, _: &str) -> Vec<std::net::IpAddr> {
        Vec::new()
    }
}
