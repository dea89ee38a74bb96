//! What the message looks like: headers, plain text and the same in simple HTML.

use lettre::Message;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use wotp_core::domain::code::Code;
use wotp_core::ports::Outgoing;

/// RFC 3834: a program wrote this, so out-of-office programs do not answer it.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The message as it travels, and whom the envelope names.
///
/// The message id is made of the delivery's, so a retry is the same message to every server and
/// program that looks. `Date` is the moment of writing: `lettre` reads the clock for it. It decides
/// nothing of ours.
///
/// # Errors
/// When `to` is no address that mail can be sent to.
pub(crate) fn write(sender: &Mailbox, outgoing: &Outgoing) -> Result<Message, lettre::error::Error> {
    let to = outgoing.to.as_str().parse().map_err(|_| lettre::error::Error::MissingTo)?;
    let brand = header_text(&outgoing.brand);
    let name = if brand.is_empty() { sender.name.clone() } else { Some(brand) };
    Message::builder()
        .from(Mailbox::new(name, sender.email.clone()))
        .to(Mailbox::new(None, to))
        .subject(header_text(&outgoing.subject))
        .message_id(Some(format!("<{}@{}>", outgoing.message_id, sender.email.domain())))
        .header(AutoSubmitted)
        .multipart(
            MultiPart::alternative()
                .singlepart(SinglePart::plain(outgoing.text.clone()))
                .singlepart(SinglePart::html(html(outgoing))),
        )
}

/// A header holds one line: whatever would end it, or steer a terminal, becomes a space.
fn header_text(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The brand, the code to read from across the room, and the text. Nothing is fetched from
/// anywhere: remote pictures track readers and make mail programs warn.
fn html(outgoing: &Outgoing) -> String {
    let direction = if outgoing.locale.is_rtl() { "rtl" } else { "ltr" };
    let language = outgoing.locale;
    let brand = escaped(&header_text(&outgoing.brand));
    let subject = escaped(&header_text(&outgoing.subject));
    let mut text = escaped(&outgoing.text).replace('\n', "<br>\n");
    if let Some(link) = &outgoing.link {
        let shown = escaped(link);
        text = text.replace(&shown, &format!("<a href=\"{shown}\">{shown}</a>"));
    }
    let code = outgoing.code.as_ref().map(code_block).unwrap_or_default();
    format!(
        r#"<!DOCTYPE html>
<html lang="{language}" dir="{direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{subject}</title>
</head>
<body style="margin:0;padding:24px;font-family:system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif">
<div style="max-width:480px;margin:0 auto">
<p style="margin:0 0 24px;font-size:18px;font-weight:600">{brand}</p>
{code}<p style="margin:0;font-size:16px;line-height:1.5">{text}</p>
</div>
</body>
</html>
"#
    )
}

/// Spaced by style and not by spaces, so that what is copied is the code. Always left to right,
/// as codes are read in every language.
fn code_block(code: &Code) -> String {
    format!(
        "<p dir=\"ltr\" style=\"margin:0 0 24px;font-family:ui-monospace,Menlo,Consolas,monospace;\
         font-size:36px;font-weight:700;letter-spacing:6px\">{}</p>\n",
        escaped(code.as_str())
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wotp_core::domain::address::{Address, AddressKind};
    use wotp_core::testing::channel::{demanding_texts, outgoing};

    fn sender() -> Mailbox {
        "House <codes@mail.example.com>".parse().unwrap()
    }

    /// The header block of what travels, unfolded.
    fn head(message: &Outgoing) -> String {
        let all = String::from_utf8(write(&sender(), message).unwrap().formatted()).unwrap();
        all.split_once("\r\n\r\n").unwrap().0.replace("\r\n ", " ")
    }

    #[test]
    fn the_message_id_is_the_deliverys_so_a_retry_is_the_same_message() {
        let message = outgoing(AddressKind::Email, 1);
        let line = format!("Message-ID: <{}@mail.example.com>", message.message_id);
        assert!(head(&message).lines().any(|head| head == line), "{}", head(&message));
        assert!(head(&message).lines().any(|head| head == "Auto-Submitted: auto-generated"));
    }

    #[test]
    fn the_sender_is_named_for_the_brand_and_else_as_configured() {
        let message = outgoing(AddressKind::Email, 1);
        assert!(head(&message).contains("From: Acme <codes@mail.example.com>"));
        let message = Outgoing { brand: "\r\n".to_owned(), ..message };
        assert!(head(&message).contains("From: House <codes@mail.example.com>"));
    }

    #[test]
    fn html_shows_the_text_escaped_and_fetches_nothing() {
        let message = Outgoing {
            text: demanding_texts()[0].clone(),
            brand: "<img src=x onerror=alert(1)>".to_owned(),
            locale: "he".parse().unwrap(),
            ..outgoing(AddressKind::Email, 1)
        };
        let html = html(&message);
        assert!(html.contains("dir=\"rtl\"") && html.contains("lang=\"he\""));
        assert!(html.contains("&lt;b&gt;Sons&lt;/b&gt;"));
        assert!(html.contains(">482913</p>"));
        for fetched in ["<img", "src=\"", "http", "url(", "<script", "<link"] {
            assert!(!html.contains(fetched), "{fetched} in {html}");
        }
    }

    #[test]
    fn a_link_that_approves_can_be_pressed() {
        let link = "https://wotp.example/l/Ab3-_xYz";
        let message = Outgoing {
            code: None,
            text: format!("Acme: Open this link.\n{link}"),
            link: Some(link.to_owned().into()),
            ..outgoing(AddressKind::Email, 1)
        };
        let html = html(&message);
        assert!(html.contains(&format!("Open this link.<br>\n<a href=\"{link}\">{link}</a></p>")), "{html}");
        assert_eq!(html.matches("<a ").count(), 1);
    }

    #[test]
    fn a_direct_message_shows_no_code() {
        let message = Outgoing { code: None, ..outgoing(AddressKind::Email, 1) };
        assert!(!html(&message).contains("letter-spacing"));
    }

    #[test]
    fn a_phone_number_gets_no_mail() {
        assert!(write(&sender(), &outgoing(AddressKind::Phone, 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_brand_or_subject_adds_a_header(
            brand in "(\\PC|[\r\n\t:@<>\",]|Bcc: e@example.org){0,40}",
            subject in "(\\PC|[\r\n\t:=?]|\r\nTo: e@example.org){0,60}",
        ) {
            let names = |message: &Outgoing| -> Vec<String> {
                let all = write(&sender(), message).unwrap().formatted();
                let all = String::from_utf8(all).unwrap();
                let (head, _) = all.split_once("\r\n\r\n").unwrap();
                let starts = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
                starts.map(|line| line.split(':').next().unwrap().to_owned()).collect()
            };
            let plain = outgoing(AddressKind::Email, 1);
            let hostile = Outgoing { brand, subject, ..plain.clone() };
            prop_assert_eq!(names(&hostile), names(&plain));
        }

        #[test]
        fn every_address_that_we_take_can_be_written_to(local in "[a-z0-9!#$%&'*+/=?^_`{|}~é-]{1,20}") {
            if let Ok(to) = Address::parse(&format!("{local}@example.com")) {
                let message = Outgoing { to, ..outgoing(AddressKind::Email, 1) };
                prop_assert!(write(&sender(), &message).is_ok());
            }
        }
    }
}
