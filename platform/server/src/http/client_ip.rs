//! Who is calling, behind however many proxies of ours.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use super::problem::{Problem, route_not_found};

/// The address of the client, kept with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientIp(pub(super) IpAddr);

impl ClientIp {
    /// The peer, or when that is a proxy we trust, the last address in `X-Forwarded-For` that is
    /// not: everything left of it was written by whoever called.
    pub(super) fn of(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Option<Self> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let peer = peer.ip().to_canonical();
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
        if !is_trusted(&peer) {
            return Some(Self(peer));
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut client = peer;
        for hop in hops.iter().rev() {
            // Something unreadable was not written by our proxy: stop believing there.
            let Ok(ip) = hop.parse::<IpAddr>() else { break };
            client = ip.to_canonical();
            if !is_trusted(&client) {
                break;
            }
        }
        Some(Self(client))
    }

    /// What shares one bucket: an IPv4 address, or an IPv6 /64, which one customer has whole.
    pub(super) fn bucket(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        }
    }
}

/// That a call comes from a program on this machine that meant this machine, and that no proxy passed it on. For
/// everybody else there is no such path.
pub(super) struct FromThisMachine;

impl<S: Send + Sync> FromRequestParts<S> for FromThisMachine {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let is_near = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
        let by_proxies = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
        let is_passed_on = by_proxies.iter().any(|name| parts.headers.contains_key(*name));
        if is_near && !is_passed_on && names_this_machine(parts) { Ok(Self) } else { Err(route_not_found().await) }
    }
}

/// Whether whoever calls knows this server as one of their own machine. A page that a browser here shows knows it
/// by the name of the page's site, whatever address that name has at the moment; and so do proxies that pass on
/// what they were asked for.
fn names_this_machine(parts: &Parts) -> bool {
    let named = match parts.headers.get(HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).ok(),
        None => parts.uri.authority().cloned(),
    };
    let Some(named) = named else { return !parts.headers.contains_key(HOST) };
    let host = named.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn client(peer: &str, forwarded: &[&str], trusted: &[&str]) -> IpAddr {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        ClientIp::of(&extensions, &headers, &trusted).unwrap().0
    }

    #[test]
    fn the_header_of_a_stranger_is_not_believed() {
        assert_eq!(client("198.51.100.7", &["192.0.2.1"], &["10.0.0.0/8"]).to_string(), "198.51.100.7");
    }

    #[test]
    fn behind_proxies_of_ours_the_last_stranger_is_the_client() {
        assert_eq!(
            client("10.0.0.1", &["203.0.113.66, 192.0.2.1, 10.0.0.2"], &["10.0.0.0/8"]).to_string(),
            "192.0.2.1"
        );
        assert_eq!(client("10.0.0.1", &["203.0.113.66", "192.0.2.1"], &["10.0.0.0/8"]).to_string(), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, nonsense"], &["10.0.0.0/8"]).to_string(), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.1"], &["10.0.0.0/8"]).to_string(), "192.0.2.1");
    }

    #[test]
    fn a_site_that_has_a_name_of_its_own_does_not_mean_this_machine() {
        let means_it = |host: &str| {
            let request = Request::builder().header(HOST, host).body(()).unwrap();
            names_this_machine(&request.into_parts().0)
        };
        for host in ["localhost", "localhost:8080", "app.localhost:3000", "127.0.0.1:8080", "[::1]:8080"] {
            assert!(means_it(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "192.0.2.1:8080", "localhost@evil.example", ""] {
            assert!(!means_it(host), "{host}");
        }
    }

    #[test]
    fn a_whole_ipv6_64_shares_a_bucket() {
        let bucket = |ip: &str| ClientIp(ip.parse().unwrap()).bucket();
        assert_eq!(bucket("2001:db8:1:2:3:4:5:6"), bucket("2001:db8:1:2::9"));
        assert_ne!(bucket("2001:db8:1:2::1"), bucket("2001:db8:1:3::1"));
        assert_ne!(bucket("192.0.2.1"), bucket("192.0.2.2"));
    }
}
