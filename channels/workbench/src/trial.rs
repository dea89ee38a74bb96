//! One message delivered for real: with the policy of production, to whom it is written, and for what it costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Serialize;
use serde_json::Value;
use wotp_channel_wasm::{
    Component, DeclaredHosts, Host, NoHost, Plugin, Refusal, Runtime, RuntimeError, Said, Secret, Settings,
    SettingsError, World,
};
use wotp_core::domain::address::Address;
use wotp_core::domain::code::Code;
use wotp_core::ports::{Clock, Entropy, Outgoing, SendError};
use wotp_outbound::{Plain, Policy, Resolve};
use zeroize::Zeroizing;

use crate::message::message;
use crate::suite::shown;
use crate::wire::{Exchange, Wire};

/// As long as an operator gives a delivery who says nothing of it.
const TIME: Duration = Duration::from_secs(7);
/// The name of the channel.
const CHANNEL: &str = "tried";

/// What is delivered, with what.
pub struct Setting {
    /// The plugin's settings.
    pub settings: Value,
    /// Its secrets, by their names.
    pub secrets: BTreeMap<String, Zeroizing<String>>,
    /// The hosts that are approved, for a plugin that calls whichever the operator names.
    pub hosts: Vec<String>,
    /// Whether it may call this machine too, with `http://`, as in development.
    pub loopback: bool,
    /// To whom.
    pub to: Address,
    /// The text.
    pub text: String,
    /// The code in it.
    pub code: Option<Code>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Finds whom it calls.
    pub resolver: Arc<dyn Resolve>,
}

/// Why nothing was delivered, nor tried to be.
#[derive(Debug, thiserror::Error)]
pub enum NotTried {
    /// Nothing can be run.
    #[error("plugins cannot be run")]
    Runtime(#[from] RuntimeError),
    /// It is no plugin.
    #[error("it is no plugin that can be used")]
    Refused(#[from] Refusal),
    /// It cannot be used like that.
    #[error("it cannot be used like that")]
    Settings(#[from] SettingsError),
    /// A host is none.
    #[error(transparent)]
    Host(#[from] NoHost),
    /// It does not reach such an address.
    #[error("it does not reach an address of the kind `{0}`")]
    Kind(wotp_core::domain::address::AddressKind),
    /// It was not called.
    #[error("it was not called")]
    Away(#[source] SendError),
}

/// A request and its answer, for people: secrets stand there as `{{secret:name}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The method and the URL.
    pub request: String,
    /// The request's headers, a line each.
    pub request_headers: Vec<String>,
    /// The request's body.
    pub request_body: String,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub no_answer: Option<String>,
    /// The answer's headers, a line each.
    pub answer_headers: Vec<String>,
    /// The answer's body.
    pub answer_body: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Tried {
    /// Each request that it made.
    pub exchanges: Vec<Shown>,
    /// What the plugin says became of the message.
    pub said: Said,
}

impl Tried {
    /// What the plugin says became of the message, in one line.
    pub fn verdict(&self) -> String {
        shown(&self.said)
    }

    /// Whether the provider took the message, as the plugin says.
    pub fn is_sent(&self) -> bool {
        matches!(self.said, Said::Acknowledged(_))
    }
}

/// Delivers one message.
///
/// # Errors
/// [`NotTried`].
pub async fn run(bytes: &[u8], setting: Setting) -> Result<Tried, NotTried> {
    let mut policy = Policy::default();
    if setting.loopback {
        policy.plain = Plain::ToLoopback;
        let loopback = ["127.0.0.0/8", "::1/128"];
        policy.allowed_networks = loopback.iter().filter_map(|network| network.parse().ok()).collect();
    }
    let wire = Arc::new(Wire::to_the_world(policy, Arc::clone(&setting.resolver)));
    let (clock, entropy) = (Arc::clone(&setting.clock), Arc::clone(&setting.entropy));
    let world = World { clock, entropy, caller: Arc::clone(&wire) as _, public_url: None };
    let component = Component::load(&Runtime::new(1)?, bytes, world.clone()).await?;
    let kind = setting.to.kind();
    if !component.descriptor().reaches.contains(&kind) {
        return Err(NotTried::Kind(kind));
    }
    let hosts: Vec<Host> = match &component.descriptor().hosts {
        DeclaredHosts::These(these) => these.clone(),
        DeclaredHosts::Any => setting.hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>()?,
    };
    let secret = |(name, value): (&String, &Zeroizing<String>)| (name.clone(), Secret::from(value.to_string()));
    let settings = Settings {
        name: CHANNEL.to_owned(),
        reaches: Vec::new(),
        hosts,
        secrets: setting.secrets.iter().map(secret).collect(),
        config: setting.settings,
        timeout: TIME,
        concurrency: 1,
    };
    let plugin = Plugin::new(component, settings, world).await?;
    let outgoing = message(setting.to, "Acme", setting.text, &*setting.clock, &*setting.entropy);
    let outgoing = Outgoing { code: setting.code, ..outgoing };
    let said = plugin.deliver(&outgoing).await.map_err(NotTried::Away)?;
    let exchanges = wire.taken().iter().map(|exchange| in_words(exchange, &setting.secrets)).collect();
    Ok(Tried { exchanges, said })
}

type Secrets = BTreeMap<String, Zeroizing<String>>;

fn in_words(exchange: &Exchange, secrets: &Secrets) -> Shown {
    let Exchange { request, came } = exchange;
    let body = |bytes: &[u8]| masked(&String::from_utf8_lossy(bytes), secrets);
    let (status, no_answer) = match came {
        Ok(answer) => (Some(answer.status), None),
        Err(reason) => (None, Some(reason.to_string())),
    };
    Shown {
        request: format!("{} {}", request.method, masked(&request.url, secrets)),
        request_headers: lines(&request.headers, secrets),
        request_body: body(&request.body),
        status,
        no_answer,
        answer_headers: came.as_ref().map(|answer| lines(&answer.headers, secrets)).unwrap_or_default(),
        answer_body: came.as_ref().map(|answer| body(&answer.body)).unwrap_or_default(),
    }
}

fn lines(headers: &HeaderMap, secrets: &Secrets) -> Vec<String> {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let credentials = value.strip_prefix("Basic ").filter(|_| name == AUTHORIZATION);
        let decoded = credentials.and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
        match decoded {
            // Of these, the one half may be a secret, and the whole is one that is only written otherwise.
            Some(decoded) => format!("{name}: Basic base64({})", masked(&decoded, secrets)),
            None => format!("{name}: {}", masked(&value, secrets)),
        }
    };
    headers.iter().map(line).collect()
}

/// A text with the names of secrets in their places, however these are written there.
fn masked(text: &str, secrets: &Secrets) -> String {
    let mut spellings: Vec<(String, String)> = Vec::new();
    for (name, value) in secrets {
        let json = Value::from(value.as_str()).to_string();
        let percent: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let percent = percent.replace('+', "%20").replace('*', "%2A");
        for spelling in [value.to_string(), json[1..json.len() - 1].to_owned(), percent] {
            spellings.push((spelling, format!("{{{{secret:{name}}}}}")));
        }
    }
    // The longest first: one that begins with another would be left with its end.
    spellings.sort_by_key(|(spelling, _)| std::cmp::Reverse(spelling.len()));
    let spellings = spellings.iter().filter(|(spelling, _)| !spelling.is_empty());
    spellings.fold(text.to_owned(), |text, (spelling, name)| text.replace(spelling, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_its_name_however_it_is_written() {
        let secrets = [("token", "s3/cr+t \"x"), ("short", "s3")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), Zeroizing::new(value.to_owned()))).into();
        for (text, right) in [
            ("Bearer s3/cr+t \"x", "Bearer {{secret:token}}"),
            (r#"{"key":"s3/cr+t \"x"}"#, r#"{"key":"{{secret:token}}"}"#),
            (
                "https://a.example/?key=s3%2Fcr%2Bt%20%22x&b=s3",
                "https://a.example/?key={{secret:token}}&b={{secret:short}}",
            ),
        ] {
            assert_eq!(masked(text, &secrets), right);
        }
        let mut headers = HeaderMap::new();
        let credentials = format!("Basic {}", STANDARD.encode("ada:s3/cr+t \"x"));
        headers.insert(AUTHORIZATION, credentials.parse().unwrap());
        assert_eq!(lines(&headers, &secrets), ["authorization: Basic base64(ada:{{secret:token}})"]);
    }
}
