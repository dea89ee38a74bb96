//! Texts that are the same for everybody, compressed once.

use std::io::Write as _;

use axum::http::{HeaderMap, header};
use flate2::Compression;
use flate2::write::GzEncoder;

/// A text, compressed as well as it can be: it is done once, and read for as long as the program runs.
pub(super) fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.expect("a vector takes everything")
}

/// Whether a client takes gzip, and would not rather have the text as it is. Source: RFC 9110, section 12.5.3.
pub(super) fn is_taken(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut gzip, mut any, mut plain) = (None, None, 0.0);
    for element in values.flat_map(|value| value.split(',')) {
        let (coding, weight) = element.split_once(';').unwrap_or((element, ""));
        let Some(weight) = weighed(weight) else { continue };
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            "identity" => plain = weight,
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= plain
}

/// The weight that a parameter gives: 1 when there is none; none when it cannot be read.
fn weighed(parameter: &str) -> Option<f32> {
    let parameter = parameter.trim();
    if parameter.is_empty() {
        return Some(1.0);
    }
    let (name, weight) = parameter.split_once('=')?;
    let weight = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight));
    weight.filter(|_| name.trim().eq_ignore_ascii_case("q"))
}
