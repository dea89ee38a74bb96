//! A QR as a picture: what is dark in it comes from a crate, and is drawn here, so that no library for images is needed.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use qrcode::{Color, EcLevel, QrCode};

/// Modules around it that are light, without which readers do not find it. Source: ISO/IEC 18004, quiet zone.
const QUIET: usize = 4;
/// Pixels of a module, each way: a screen need not make it larger.
const PIXELS: usize = 8;

/// A QR that holds a text.
pub(super) struct Qr {
    /// Modules each way, with those around it.
    size: usize,
    /// Row by row.
    dark: Vec<bool>,
}

impl Qr {
    /// That of a text; none where it is too long for one: beyond 2,331 bytes.
    pub(super) fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let (inner, colors) = (code.width(), code.to_colors());
        let size = inner + 2 * QUIET;
        let mut dark = vec![false; size * size];
        for (at, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
            dark[(QUIET + at / inner) * size + QUIET + at % inner] = true;
        }
        Some(Self { size, dark })
    }

    fn rows(&self) -> impl Iterator<Item = &[bool]> {
        self.dark.chunks(self.size)
    }

    /// As SVG, that fills whatever it is put into.
    pub(super) fn svg(&self) -> String {
        let size = self.size;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/><path d=\""
        );
        for (y, row) in self.rows().enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|one, next| one == next) {
                if run[0] {
                    // A text takes whatever is written to it.
                    let _ = write!(svg, "M{x} {y}h{0}v1h-{0}z", run.len());
                }
                x += run.len();
            }
        }
        svg.push_str("\"/></svg>");
        svg
    }

    /// As PNG, in a URL that holds all of it.
    pub(super) fn png_url(&self) -> String {
        format!("data:image/png;base64,{}", BASE64.encode(self.png()))
    }

    /// As PNG: one bit for each pixel. Source: W3C, Portable Network Graphics (third edition).
    fn png(&self) -> Vec<u8> {
        let width = self.size * PIXELS;
        let mut pixels = ZlibEncoder::new(Vec::new(), Compression::default());
        for row in self.rows() {
            // A module is as wide as a byte has bits, and light is 1. The first byte says that the row is as it is.
            let line: Vec<u8> = std::iter::once(0).chain(row.iter().map(|dark| if *dark { 0 } else { 0xFF })).collect();
            for _ in 0..PIXELS {
                pixels.write_all(&line).expect("memory takes what is written to it");
            }
        }
        let pixels = pixels.finish().expect("memory takes what is written to it");
        let side = u32::try_from(width).unwrap_or(u32::MAX).to_be_bytes();
        // One bit of grey; compression, filter and order as there is one of each.
        let header = [&side[..], &side[..], &[1, 0, 0, 0, 0]].concat();
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in [(b"IHDR", &header), (b"IDAT", &pixels), (b"IEND", &Vec::new())] {
            let mut sum = Crc::new();
            sum.update(kind);
            sum.update(data);
            png.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
            png.extend_from_slice(kind);
            png.extend_from_slice(data);
            png.extend_from_slice(&sum.sum().to_be_bytes());
        }
        png
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use wotp_core::domain::inbound::deep_link;
    use wotp_core::domain::service::BRAND_LENGTH_MAX;
    use wotp_core::domain::template::{self, InboundSentence, render_inbound};

    use super::*;

    const LINK: &str = "https://wa.me/12025550100?text=Acme%3A%20It%20is%20me";

    /// What is dark in the SVG, drawn from its path.
    fn drawn(qr: &Qr) -> Vec<bool> {
        let svg = qr.svg();
        let (_, path) = svg.rsplit_once(" d=\"M").unwrap();
        let mut dark = vec![false; qr.size * qr.size];
        for run in path.strip_suffix("z\"/></svg>").unwrap().split("zM") {
            let (x, rest) = run.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (length, _) = rest.split_once('v').unwrap();
            let [x, y, length] = [x, y, length].map(|number| number.parse::<usize>().unwrap());
            dark[y * qr.size + x..][..length].fill(true);
        }
        dark
    }

    #[test]
    fn both_pictures_show_the_same_with_light_around_it() {
        let qr = Qr::of(LINK).unwrap();
        assert_eq!(drawn(&qr), qr.dark);
        let edges = (0..qr.size).flat_map(|n| [(n, 0), (n, QUIET - 1), (0, n), (qr.size - QUIET, n)]);
        assert!(edges.clone().count() > 0 && edges.map(|(x, y)| qr.dark[y * qr.size + x]).all(|dark| !dark));
        // The corner of a finder pattern: seven dark modules, and a ring of light ones within.
        let row = |y: usize| &qr.dark[(QUIET + y) * qr.size + QUIET..][..8];
        assert_eq!(row(0), [true, true, true, true, true, true, true, false]);
        assert_eq!(row(1), [true, false, false, false, false, false, true, false]);

        let png = qr.png();
        let length = u32::from_be_bytes(png[33..37].try_into().unwrap()) as usize;
        assert_eq!((&png[..8], &png[12..16], &png[37..41]), (&b"\x89PNG\r\n\x1a\n"[..], &b"IHDR"[..], &b"IDAT"[..]));
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&png[41..41 + length]).read_to_end(&mut rows).unwrap();
        let shown: Vec<bool> =
            rows.chunks(1 + qr.size).step_by(PIXELS).flat_map(|row| &row[1..]).map(|p| *p == 0).collect();
        assert_eq!(shown, qr.dark);
        assert_eq!(&png[png.len() - 12..], b"\0\0\0\0IEND\xAE\x42\x60\x82");
    }

    #[test]
    fn the_link_of_any_brand_fits_in_any_language() {
        let brand = "\u{1F600}".repeat(BRAND_LENGTH_MAX);
        for locale in template::languages() {
            let sentence = render_inbound(&locale, &brand, InboundSentence::Confirm);
            let link = deep_link("+123456789012345", &format!("{sentence}\n{}", "W".repeat(44)));
            assert!(Qr::of(&link).is_some(), "{locale}: {}", link.len());
        }
    }

    #[test]
    fn what_is_too_long_has_none() {
        assert!(Qr::of(&"x".repeat(2331)).is_some());
        assert!(Qr::of(&"x".repeat(2332)).is_none());
    }
}
