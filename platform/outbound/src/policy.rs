use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::call::NoAnswer;
use crate::public::is_public;
use crate::resolve::Resolve;

/// The first port that is not reserved for services of the machine itself.
const PORT_FREE: u16 = 1024;

/// Where `http://` is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plain {
    /// Nowhere: what travels without TLS can be read and changed on its way.
    #[default]
    Never,
    /// To this machine, which nobody is on the way to. For development only.
    ToLoopback,
    /// Anywhere. For development only.
    Anywhere,
}

/// What may be called besides the public internet over TLS.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Networks that are not public, and may be reached nevertheless, on any port.
    pub allowed_networks: Vec<IpNet>,
    /// Where `http://` is allowed.
    pub plain: Plain,
}

/// What is wrong with a URL, as far as one can tell without asking for its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is none, or names no host.
    #[error("is no URL with a host")]
    Shape,
    /// Its scheme is not one that may be called.
    #[error("does not begin with `https://`")]
    Scheme,
    /// It holds a user or a password.
    #[error("holds a user or a password")]
    Login,
    /// It ends with a fragment.
    #[error("has a part after `#`")]
    Fragment,
    /// Its host is an address that is not public.
    #[error("names an address that is not public")]
    NotPublic,
    /// Its port is one of other services.
    #[error("uses a port other than 443 or one from 1024 on")]
    Port,
}

impl Policy {
    /// Reads a URL that may be called, as far as one can tell without asking for its address.
    ///
    /// # Errors
    /// [`UrlFault`].
    pub fn read(&self, url: &str) -> Result<Url, UrlFault> {
        let url = Url::parse(url).map_err(|_| UrlFault::Shape)?;
        match url.scheme() {
            "https" => {}
            "http" if self.plain != Plain::Never => {}
            _ => return Err(UrlFault::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlFault::Login);
        }
        if url.fragment().is_some() {
            return Err(UrlFault::Fragment);
        }
        let literal = match url.host().ok_or(UrlFault::Shape)? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        if literal.is_some_and(|address| !self.may_be_plain(&url, address)) {
            return Err(UrlFault::Scheme);
        }
        let allowed = literal.is_some_and(|address| self.is_allowed_network(address));
        if literal.is_some_and(|address| !allowed && !is_public(address)) {
            return Err(UrlFault::NotPublic);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        // A name may turn out to be of an allowed network; then its port is looked at again.
        let known = literal.is_some() || self.allowed_networks.is_empty();
        if known && !allowed && !port_is_free(port) {
            return Err(UrlFault::Port);
        }
        Ok(url)
    }

    /// Where to connect: every address of the host may be called, or none is.
    pub(crate) async fn addresses(&self, url: &Url, resolver: &dyn Resolve) -> Result<Vec<SocketAddr>, NoAnswer> {
        let port = url.port_or_known_default().ok_or(NoAnswer::NotAllowed)?;
        let found = match url.host().ok_or(NoAnswer::NotAllowed)? {
            Host::Domain(name) => resolver.resolve(name).await,
            Host::Ipv4(address) => vec![IpAddr::V4(address)],
            Host::Ipv6(address) => vec![IpAddr::V6(address)],
        };
        if found.is_empty() {
            return Err(NoAnswer::Unresolved);
        }
        for address in &found {
            if !self.may_be_plain(url, *address) {
                return Err(NoAnswer::NotAllowed);
            }
            if self.is_allowed_network(*address) {
                continue;
            }
            if !is_public(*address) {
                return Err(NoAnswer::NotPublic);
            }
            if !port_is_free(port) {
                return Err(NoAnswer::NotAllowed);
            }
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Whether what goes to this address may go by the scheme of this URL.
    fn may_be_plain(&self, url: &Url, address: IpAddr) -> bool {
        match self.plain {
            _ if url.scheme() == "https" => true,
            Plain::Never => false,
            Plain::ToLoopback => address.to_canonical().is_loopback(),
            Plain::Anywhere => true,
        }
    }

    fn is_allowed_network(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed_networks.iter().any(|network| network.contains(&address))
    }
}

/// Ports below are of mail servers, databases of old and the like, which may read a request as something else.
fn port_is_free(port: u16) -> bool {
    port == 443 || port >= PORT_FREE
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// A name that is these addresses.
    struct Named(&'static [&'static str]);

    #[async_trait]
    impl Resolve for Named {
        async fn resolve(&self, _: &str) -> Vec<IpAddr> {
            self.0.iter().map(|address| address.parse().unwrap()).collect()
        }
    }

    fn development() -> Policy {
        let allowed_networks = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        Policy { allowed_networks, plain: Plain::ToLoopback }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_apart() {
        for (url, fault) in [
            ("example.com", UrlFault::Shape),
            ("http://example.com/", UrlFault::Scheme),
            ("ftp://example.com/", UrlFault::Scheme),
            ("https://allowed.example@evil.example/", UrlFault::Login),
            ("https://example.com/#a", UrlFault::Fragment),
            ("https://[::ffff:10.0.0.1]/", UrlFault::NotPublic),
            ("https://0x7f.1/", UrlFault::NotPublic),
            ("https://example.com:25/", UrlFault::Port),
        ] {
            assert_eq!(Policy::default().read(url), Err(fault), "{url}");
        }
    }

    #[tokio::test]
    async fn without_tls_only_this_machine_is_reached() {
        assert!(development().read("http://127.0.0.1:9000/").is_ok());
        assert_eq!(development().read("http://10.0.0.1:9000/"), Err(UrlFault::Scheme));
        assert_eq!(development().read("http://8.8.8.8/"), Err(UrlFault::Scheme));
        // A name is looked at by what it is, all of it.
        let plain = development().read("http://gateway.example:9000/").unwrap();
        for (addresses, result) in [
            (&["127.0.0.1"][..], Ok(1)),
            (&["127.0.0.1", "10.0.0.1"], Err(NoAnswer::NotAllowed)),
            (&["8.8.8.8"], Err(NoAnswer::NotAllowed)),
            (&[], Err(NoAnswer::Unresolved)),
        ] {
            let found = development().addresses(&plain, &Named(addresses)).await;
            assert_eq!(found.map(|found| found.len()), result, "{addresses:?}");
        }
        let tls = development().read("https://gateway.example:9000/").unwrap();
        assert_eq!(
            development().addresses(&tls, &Named(&["10.0.0.1", "8.8.8.8"])).await.map(|found| found.len()),
            Ok(2)
        );
    }
}
