use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks that are not the public internet, by the IANA registry of special-purpose addresses, with
/// multicast, the future's and the old relays of 6to4.
const SPECIAL_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// IPv6 networks within 2000::/3 that are not the public internet: protocol assignments with Teredo,
/// benchmarks and ORCHID, documentation, 6to4, which hides an IPv4 address, and documentation again.
const SPECIAL_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is one of the public internet. An IPv4 address that is written as an IPv6 one (mapped,
/// or through the well-known prefix of NAT64) is judged by itself.
///
/// ```
/// use wotp_outbound::is_public;
/// assert!(is_public("8.8.8.8".parse().unwrap()));
/// assert!(!is_public("::ffff:169.254.169.254".parse().unwrap()));
/// ```
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|(network, bits)| {
            let rest = 32 - bits;
            address.to_bits() >> rest == network.to_bits() >> rest
        }),
        IpAddr::V6(address) => {
            if let Some(inner) = inner_v4(address) {
                return is_public(IpAddr::V4(inner));
            }
            // Nothing else is given out.
            let unicast = address.to_bits() >> 125 == 0b001;
            let special = SPECIAL_V6.iter().any(|(network, bits)| {
                let rest = 128 - bits;
                address.to_bits() >> rest == network.to_bits() >> rest
            });
            unicast && !special
        }
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped (`::ffff:0:0/96`), or by NAT64 (`64:ff9b::/96`).
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let bits = address.to_bits();
    let nat64 = bits >> 32 == 0x0064_ff9b_u128 << 64;
    nat64.then(|| Ipv4Addr::from_bits(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        let table: &[(bool, &[&str])] = &[
            (true, &["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"]),
            (true, &["172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"]),
            (true, &["223.255.255.255", "192.0.1.0", "169.253.255.255", "169.255.0.0", "126.255.255.255", "128.0.0.0"]),
            (false, &["0.0.0.0", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.0", "100.127.255.255"]),
            (false, &["127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255"]),
            (false, &["192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255"]),
            (false, &["198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"]),
            (true, &["2606:4700:4700::1111", "2a00:1450:4001:800::200e", "2001:4860:4860::8888", "2001:200::1"]),
            (false, &["::", "::1", "::7f00:1", "::127.0.0.1", "::8.8.8.8"]),
            (false, &["fe80::1", "febf::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "100::1", "5f00::1"]),
            (false, &["2001:db8::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "3fff::1", "4000::1"]),
            // Teredo and 6to4, also of public addresses: whoever relays them is unknown.
            (false, &["2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:7f00:1::1", "2002:808:808::1"]),
            (false, &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"]),
            (true, &["::ffff:8.8.8.8"]),
            (false, &["64:ff9b::127.0.0.1", "64:ff9b::10.1.2.3", "64:ff9b:1::8.8.8.8"]),
            (true, &["64:ff9b::8.8.8.8"]),
        ];
        for (public, addresses) in table {
            for address in *addresses {
                assert_eq!(is_public(address.parse().unwrap()), *public, "{address}");
            }
        }
    }
}
