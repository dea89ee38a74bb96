//! The frame of the page, and how text becomes HTML.

use std::fmt::{self, Display, Formatter, Write as _};

use serde_json::Value;

use super::reference::{Operation, Reference};
use super::{errors, guide};
use crate::http::ProblemCode;

/// Appends formatted text to a `String`.
macro_rules! put {
    ($html:expr, $($text:tt)+) => {
        std::fmt::Write::write_fmt($html, format_args!($($text)+)).expect("a string takes everything")
    };
}
pub(in crate::http) use put;

/// Text with what HTML would take for its own escaped, in content and in quoted attributes.
pub(in crate::http) struct Text<'a>(pub(in crate::http) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A sentence with code between backticks; the code of a problem leads to its description.
pub(super) struct Prose<'a>(pub(super) &'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, piece) in self.0.split('`').enumerate() {
            let code = index % 2 == 1;
            match ProblemCode::ALL.iter().find(|problem| code && problem.id() == piece) {
                Some(problem) => write!(f, "<a href=\"#{0}\"><code>{0}</code></a>", problem.id())?,
                None if code => write!(f, "<code>{}</code>", Name(piece))?,
                None => write!(f, "{}", Text(piece))?,
            }
        }
        Ok(())
    }
}

/// A name or path that may be broken where a narrow screen needs it.
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(['_', '.', '/', ':']) {
            write!(f, "{}", Text(piece))?;
            if piece.len() > 1 && piece.ends_with(['_', '.', '/', ':']) {
                f.write_str("<wbr>")?;
            }
        }
        Ok(())
    }
}

/// Opens a part of the page with a heading that can be linked to.
pub(super) fn open_section(html: &mut String, id: &str, title: &str) {
    put!(
        html,
        "<section class=\"part\" aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title}<a class=\"here\" href=\"#{id}\" aria-label=\"Link to {title}\">#</a></h2>\n",
        title = Text(title)
    );
}

/// A block of code, already HTML.
pub(super) fn block(html: &mut String, caption: &str, code: &str) {
    put!(
        html,
        "<figure class=\"sample\"><figcaption>{}</figcaption><pre><code>{code}</code></pre></figure>\n",
        Text(caption)
    );
}

/// The whole page.
pub(super) fn page(document: &Value, style: &str, script: &str) -> String {
    let reference = Reference::of(document);
    let version = document["info"]["version"].as_str().unwrap_or_default();
    let mut html = String::with_capacity(256 * 1024);
    put!(
        &mut html,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>WOTP API</title>\n<style>{style}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the content</a>\n\
         <div class=\"side\">\n<header class=\"bar\"><a class=\"brand\" href=\"#start\">WOTP <span>API {}</span></a>\
         <a class=\"raw\" href=\"/openapi.json\">OpenAPI</a></header>\n",
        Text(version)
    );
    contents(&mut html, &reference);
    html.push_str("</div>\n<main id=\"main\" tabindex=\"-1\">\n");
    guide::write(&mut html, &reference);
    for (tag, description, operations) in reference.tags() {
        open_section(&mut html, &tag_id(tag), tag);
        put!(&mut html, "<p class=\"lead\">{}</p>\n", Prose(description));
        for operation in &operations {
            reference.write(&mut html, operation);
        }
        html.push_str("</section>\n");
    }
    errors::write(&mut html, &reference);
    reference.write_objects(&mut html);
    put!(&mut html, "</main>\n<script>{script}</script>\n</body>\n</html>\n");
    html
}

fn tag_id(tag: &str) -> String {
    format!("tag-{}", tag.to_ascii_lowercase())
}

fn contents(html: &mut String, reference: &Reference<'_>) {
    html.push_str("<details class=\"menu\"><summary>Contents</summary><nav aria-label=\"Contents\">\n");
    let group = |html: &mut String, title: &str| put!(html, "<p class=\"group\">{}</p><ul>\n", Text(title));
    let entry = |html: &mut String, id: &str, title: &str| {
        put!(html, "<li><a href=\"#{}\">{}</a></li>\n", Text(id), Text(title));
    };
    group(html, "Guide");
    for (id, title) in guide::SECTIONS {
        entry(html, id, title);
    }
    html.push_str("</ul>\n");
    for (tag, _, operations) in reference.tags() {
        put!(html, "<p class=\"group\"><a href=\"#{}\">{}</a></p><ul>\n", Text(&tag_id(tag)), Text(tag));
        for Operation { id, method, title, .. } in &operations {
            let short = title.split([':', ',']).next().unwrap_or(title);
            put!(
                html,
                "<li><a href=\"#op-{}\"><span>{}</span> <span class=\"verb {method}\">{}</span></a></li>\n",
                Text(id),
                Text(short),
                verb(method)
            );
        }
        html.push_str("</ul>\n");
    }
    group(html, "Reference");
    entry(html, errors::ID, errors::TITLE);
    entry(html, "objects", "Objects");
    html.push_str("</ul>\n</nav></details>\n");
}

/// The name of a method as it is written in a request.
pub(super) fn verb(method: &str) -> String {
    method.to_ascii_uppercase()
}
