//! Which hosts a plugin may call: those that it names itself and the operator approves.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// What a plugin writes that calls whichever hosts the operator names.
const ANY: &str = "*";

/// Characters that are shown of what is no host.
const SHOWN_MAX: usize = 80;

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    name: String,
    port: u16,
}

/// A text that is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no host; write it as in `api.example.com` or `api.example.com:8443`, without `https://` and path", .0.escape_debug())]
pub struct NoHost(pub String);

impl FromStr for Host {
    type Err = NoHost;

    /// ```
    /// use wotp_channel_wasm::Host;
    /// assert_eq!("API.example.com".parse::<Host>()?.to_string(), "api.example.com");
    /// assert_eq!("127.0.0.1:8080".parse::<Host>()?.to_string(), "127.0.0.1:8080");
    /// assert!("https://api.example.com/v1".parse::<Host>().is_err());
    /// # Ok::<(), wotp_channel_wasm::NoHost>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, NoHost> {
        // A stranger's words, which an operator reads: the beginning is enough.
        let none = || NoHost(text.chars().take(SHOWN_MAX).collect());
        // What a URL would have besides a host and a port.
        if text.is_empty() || text.contains(|c: char| "/\\@?#*%".contains(c) || c.is_whitespace()) {
            return Err(none());
        }
        let url = Url::parse(&format!("https://{text}/")).map_err(|_| none())?;
        Self::of(&url).ok_or_else(none)
    }
}

impl Host {
    /// Whom a URL names.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let name = url.host_str()?.trim_end_matches('.').to_owned();
        Some(Self { name, port: url.port_or_known_default()? })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => f.write_str(&self.name),
            port => write!(f, "{}:{port}", self.name),
        }
    }
}

/// The hosts that a plugin says it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredHosts {
    /// Whichever the operator names.
    Any,
    /// These; none calls nobody.
    These(Vec<Host>),
}

impl DeclaredHosts {
    pub(crate) fn read(declared: &[String]) -> Result<Self, NoHost> {
        match declared {
            [any] if any == ANY => Ok(Self::Any),
            these => Ok(Self::These(these.iter().map(|host| host.parse()).collect::<Result<_, _>>()?)),
        }
    }

    /// As the plugin wrote them: `*` for whichever the operator names.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Any => vec![ANY.to_owned()],
            Self::These(these) => these.iter().map(ToString::to_string).collect(),
        }
    }

    /// Those that the operator approves as well.
    pub(crate) fn approved(&self, approved: &[Host]) -> Vec<Host> {
        let declared = |host: &&Host| match self {
            Self::Any => true,
            Self::These(these) => these.contains(host),
        };
        approved.iter().filter(declared).cloned().collect()
    }

    /// Those that wait for the operator's approval.
    pub(crate) fn missing(&self, approved: &[Host]) -> Vec<Host> {
        match self {
            Self::Any => Vec::new(),
            Self::These(these) => these.iter().filter(|host| !approved.contains(host)).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&str]) -> Vec<Host> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_host_is_a_name_and_a_port_and_nothing_else() {
        for (text, shown) in [
            ("api.example.com:443", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("[::1]:8080", "[::1]:8080"),
            ("0x7f.1:9000", "127.0.0.1:9000"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), shown);
        }
        for wrong in ["", "*", "*.example.com", "a b", "https://a.example", "u@a.example", "a.example/x", "a.example:x"]
        {
            assert_eq!(wrong.parse::<Host>(), Err(NoHost(wrong.to_owned())));
        }
    }

    #[test]
    fn a_url_is_of_the_host_that_would_be_called() {
        let host = |url: &str| Host::of(&Url::parse(url).unwrap()).unwrap().to_string();
        assert_eq!(host("https://allowed.example@evil.example/"), "evil.example");
        assert_eq!(host("https://EVIL.example\\@allowed.example/"), "evil.example");
        assert_eq!(host("http://api.example.com/"), "api.example.com:80");
    }

    #[test]
    fn a_plugin_reaches_what_both_name() {
        let approved = hosts(&["a.example", "c.example"]);
        let declared = DeclaredHosts::read(&["a.example".to_owned(), "b.example".to_owned()]).unwrap();
        assert_eq!(declared.approved(&approved), hosts(&["a.example"]));
        assert_eq!(declared.missing(&approved), hosts(&["b.example"]));
        let any = DeclaredHosts::read(&["*".to_owned()]).unwrap();
        assert_eq!(any.approved(&approved), approved);
        assert!(DeclaredHosts::read(&["*".to_owned(), "a.example".to_owned()]).is_err());
    }
}
