//! Values that serde's own words would explain badly.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The port for mail that a program hands in. Source: RFC 6409.
pub(super) fn submission_port() -> u16 {
    587
}

/// Reads an address to listen on: IP and port.
///
/// # Errors
/// In words, what would be right.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no address to listen on; write IP:PORT, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080")
    })
}

/// Reads a network in CIDR notation; an address alone is the network of just that address.
///
/// # Errors
/// In words, what would be right.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map_err(|_| format!("`{text}` is no network; write 10.0.0.0/8, fd00::/8, or one address as in 192.0.2.7"))
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    listen_address(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| network(text).map_err(D::Error::custom)).collect()
}
