//! QRs as pictures, as whoever shows them gets them. What is dark in one is read off it here, and held against the QR of
//! the text that is expected, which each test has made anew.

use std::fmt;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Crc;
use flate2::read::ZlibDecoder;
use qrcode::{Color, EcLevel, QrCode};
use serde_json::Value;

/// Modules around a QR that are light. Source: ISO/IEC 18004, quiet zone.
const QUIET: usize = 4;

/// What is dark in a picture, row by row, with the light around it.
#[derive(PartialEq)]
pub struct Modules(Vec<Vec<bool>>);

/// As a picture, for whoever has to see what two differ in.
impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.0 {
            let line: String = row.iter().map(|dark| if *dark { "##" } else { "  " }).collect();
            write!(f, "\n|{line}|")?;
        }
        Ok(())
    }
}

/// Those of a text.
pub fn of_text(text: &str) -> Modules {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).expect("it is short enough");
    let within = QUIET..QUIET + code.width();
    let is_dark =
        |x: usize, y: usize| within.contains(&x) && within.contains(&y) && code[(x - QUIET, y - QUIET)] == Color::Dark;
    let side = 0..code.width() + 2 * QUIET;
    Modules(side.clone().map(|y| side.clone().map(|x| is_dark(x, y)).collect()).collect())
}

/// Those of an SVG, which is of rectangles, one unit to a module. Nobody knows what is behind it: where it paints nothing,
/// it may be dark.
pub fn of_svg(svg: &Value) -> Modules {
    let svg = svg.as_str().expect("a text");
    let (_, size) = svg.split_once(" viewBox=\"0 0 ").expect("it says how large it is");
    let (width, rest) = size.split_once(' ').expect("a width");
    let (height, _) = rest.split_once('"').expect("a height");
    let [width, height] = [width, height].map(|side| side.parse::<usize>().expect("a number"));
    let mut dark = vec![vec![true; width]; height];
    for path in svg.split("<path ").skip(1) {
        let is_dark = !path.starts_with("fill=\"#fff\" ");
        let (_, shapes) = path.split_once("d=\"M").expect("a path begins somewhere");
        let (shapes, _) = shapes.split_once("z\"/>").expect("a path ends where it began");
        for shape in shapes.split("zM") {
            let [x, y, width, height] = rectangle(shape);
            for row in &mut dark[y..y + height] {
                row[x..x + width].fill(is_dark);
            }
        }
    }
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && svg.ends_with("</svg>"), "{svg}");
    Modules(dark)
}

/// Where a shape is, and how wide and high: `4 4h7v1h-7` or `4 4h7v1H4`, without its end.
fn rectangle(shape: &str) -> [usize; 4] {
    let parts: Vec<&str> = shape.split([' ', 'h', 'v', 'H']).collect();
    let [x, y, width, height, _] = parts[..] else { panic!("no rectangle: {shape}") };
    assert!(shape.ends_with(&format!("h-{width}")) || shape.ends_with(&format!("H{x}")), "no rectangle: {shape}");
    [x, y, width, height].map(|number| number.parse::<usize>().expect("a number"))
}

/// Those of a PNG in a URL, in which each is a square of pixels.
pub fn of_png(url: &Value) -> Modules {
    let url = url.as_str().expect("a text");
    let base64 = url.strip_prefix("data:image/png;base64,").expect("a PNG in a URL");
    let pixels = pixels(&STANDARD.decode(base64).expect("it is base64"));
    // The first dark one on the way down from the corner is that of a finder pattern.
    let corner = (0..pixels.len()).find(|at| pixels[*at][*at]).expect("something is dark");
    let scale = corner / QUIET;
    assert!(scale > 0 && corner == scale * QUIET, "its edge is of {corner} pixels");
    let modules: Vec<Vec<bool>> =
        pixels.iter().step_by(scale).map(|row| row.iter().copied().step_by(scale).collect()).collect();
    for (y, row) in pixels.iter().enumerate() {
        for (x, dark) in row.iter().enumerate() {
            assert_eq!(*dark, modules[y / scale][x / scale], "the pixel at {x}, {y} is as its module is");
        }
    }
    Modules(modules)
}

/// What is dark in a PNG of one bit a pixel, row by row. Source: W3C, Portable Network Graphics (third edition).
fn pixels(png: &[u8]) -> Vec<Vec<bool>> {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("it begins as a PNG");
    let mut header: &[u8] = &[];
    let mut packed = Vec::new();
    loop {
        let (length, after) = rest.split_at(4);
        let length = usize::try_from(number(length)).expect("a length");
        let (chunk, after) = after.split_at(4 + length);
        let (sum, after) = after.split_at(4);
        let mut crc = Crc::new();
        crc.update(chunk);
        assert_eq!(crc.sum(), number(sum), "a chunk is whole");
        let (kind, data) = chunk.split_at(4);
        match kind {
            b"IHDR" => header = data,
            b"IDAT" => packed.extend_from_slice(data),
            b"IEND" => {
                assert!(data.is_empty() && after.is_empty(), "nothing is behind its end");
                break;
            }
            other => panic!("a chunk that nothing needs: {other:?}"),
        }
        rest = after;
    }
    let (size, form) = header.split_at(8);
    assert_eq!(form, [1, 0, 0, 0, 0], "one bit of grey, in the order of the rows");
    let [width, height] = [&size[..4], &size[4..]].map(|side| usize::try_from(number(side)).expect("a side"));
    let mut lines = Vec::new();
    ZlibDecoder::new(&packed[..]).read_to_end(&mut lines).expect("the pixels are whole");
    let of_row = 1 + width.div_ceil(8);
    assert_eq!(lines.len(), height * of_row, "there are as many rows as it says");
    let row = |line: &[u8]| {
        let (filter, bits) = line.split_at(1);
        assert_eq!(filter, [0], "a row is as it is");
        // A bit of light is 1, and the first pixel has the highest.
        (0..width).map(|x| bits[x / 8] & (0x80_u8 >> (x % 8)) == 0).collect::<Vec<bool>>()
    };
    lines.chunks(of_row).map(row).collect()
}

/// Four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}
