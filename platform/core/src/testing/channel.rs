//! What every channel promises, as tests that run over any of them.
//!
//! A channel's own test sets up the real thing at the other end, and says through a callback what
//! arrived there. [`holds`] then runs every promise:
//!
//! ```no_run
//! # async fn example(channel: &dyn wotp_core::ports::Channel) {
//! use wotp_core::testing::channel::{self, Received};
//!
//! let inbox = || -> Vec<Received> { vec![/* everything that has arrived so far */] };
//! channel::holds(channel, inbox).await;
//! # }
//! ```

use std::future::{Future, poll_fn};
use std::task::Poll;

use crate::domain::Timestamp;
use crate::domain::address::{Address, AddressKind};
use crate::domain::code::Code;
use crate::domain::dispatch::DeliveryStatus;
use crate::domain::id::{DeliveryId, TenantId, VerificationId};
use crate::domain::locale::Locale;
use crate::ports::{Channel, Item, Outgoing, SendError};

/// What arrived at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The address it was sent to, as it was given to the channel.
    pub to: String,
    /// The text that a person reads. Lines end with `\n`.
    pub text: String,
    /// The code, where the channel carries it beside the text.
    pub code: Option<String>,
}

/// How many messages are sent at once to see whether they get in each other's way.
const AT_ONCE: u8 = 32;

/// Texts with everything that breaks carriers: several lines, a line that is a full stop (the end
/// of an SMTP message) and one that starts with one, quotes and escapes, markup, right-to-left
/// letters, emoji made of several characters, and a line longer than SMTP's 998 bytes. Once all of
/// it, and once in short lines of ASCII, because carriers treat that apart.
pub fn demanding_texts() -> [String; 2] {
    let ascii = "482913 is your \"code\" for O'Brien & <b>Sons</b> \\n.\n.\n..dots\nFrom here\n\n\tindented = =3D %0a\n\
                 @example.com #482913";
    let long = "long line ".repeat(120);
    let all = format!("{ascii}\nקוד האימות שלך: 482913\nرمز التحقق: ٤٨٢٩١٣\n👩‍👩‍👧 🇺🇳 é ñ 漢字 Söhne\n{long}end");
    [all, ascii.to_owned()]
}

/// A message for a test, to an address of `kind`. Different `number`s are different messages.
///
/// # Panics
/// Never: the addresses in it are valid.
pub fn outgoing(kind: AddressKind, number: u8) -> Outgoing {
    let mut id = [7; 16];
    id[15] = number;
    let to = match kind {
        AddressKind::Phone => format!("+120255501{:02}", number % 100),
        AddressKind::Email => format!("ada.lovelace{number}@example.com"),
    };
    Outgoing {
        message_id: DeliveryId::from_bytes(id),
        tenant: TenantId::from_bytes([3; 16]),
        connection: None,
        item: Item::Verification(VerificationId::from_bytes(id)),
        to: Address::parse(&to).expect("a number for fiction and a name at example.com are addresses"),
        subject: "Your code for Acme".to_owned(),
        text: format!("482913 is your Acme code ({number}). It expires in 5 minutes. Do not share it."),
        code: Some(Code::typed("482913")),
        link: None,
        brand: "Acme".to_owned(),
        locale: Locale::ENGLISH,
        expires_at: Timestamp::from_second(1_900_000_000).expect("the year 2030 is a moment"),
    }
}

/// Runs every promise over `channel`, for every kind of address that it reaches.
///
/// `received` tells everything that has arrived so far, and waits for what was acknowledged before
/// it was called.
///
/// # Panics
/// When a promise does not hold.
pub async fn holds(channel: &dyn Channel, received: impl Fn() -> Vec<Received>) {
    its_name_and_reach_are_stable(channel);
    for kind in channel.reaches().to_vec() {
        what_is_acknowledged_has_arrived(channel, kind, &received).await;
        a_demanding_text_arrives_intact(channel, kind, &received).await;
        a_message_without_a_code_arrives(channel, kind, &received).await;
        the_same_message_may_be_sent_twice(channel, kind, &received).await;
        messages_sent_at_once_all_arrive(channel, kind, &received).await;
    }
    assert_eq!(channel.probe().await, Ok(()), "a channel that sends says that it can");
}

/// Its name is lower case, and name and reach are the same each time.
///
/// # Panics
/// When the promise does not hold.
pub fn its_name_and_reach_are_stable(channel: &dyn Channel) {
    let name = channel.name().to_owned();
    let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(holds), "{name:?}");
    assert_eq!(channel.name(), name);
    let reach = channel.reaches().to_vec();
    assert!(!reach.is_empty(), "{name} reaches nobody");
    assert_eq!(channel.reaches(), reach);
}

/// An acknowledged message is at the other end, once, as it was given.
///
/// # Panics
/// When the promise does not hold.
pub async fn what_is_acknowledged_has_arrived(
    channel: &dyn Channel,
    kind: AddressKind,
    received: impl Fn() -> Vec<Received>,
) {
    let message = outgoing(kind, 1);
    let before = received().len();
    accept(channel, &message).await;
    expect(&received()[before..], &message);
}

/// No character is lost, changed or taken for markup or for the end.
///
/// # Panics
/// When the promise does not hold.
pub async fn a_demanding_text_arrives_intact(
    channel: &dyn Channel,
    kind: AddressKind,
    received: impl Fn() -> Vec<Received>,
) {
    // Each a message of its own: the same one again may be received once, as it was at first.
    for (number, text) in (5..).zip(demanding_texts()) {
        let message = Outgoing {
            text,
            subject: "רמז \"Ünï\" 👩‍👩‍👧 with\r\na line that would be a header: x".to_owned(),
            brand: "Söhne, \"Böse\" <b>\r\nBcc: eve@example.org".to_owned(),
            locale: "he".parse().expect("Hebrew is a language"),
            ..outgoing(kind, number)
        };
        let before = received().len();
        accept(channel, &message).await;
        expect(&received()[before..], &message);
    }
}

/// Direct messages carry no code.
///
/// # Panics
/// When the promise does not hold.
pub async fn a_message_without_a_code_arrives(
    channel: &dyn Channel,
    kind: AddressKind,
    received: impl Fn() -> Vec<Received>,
) {
    let message = Outgoing { code: None, text: "Your parcel is here.".to_owned(), ..outgoing(kind, 3) };
    let before = received().len();
    accept(channel, &message).await;
    expect(&received()[before..], &message);
}

/// After a crash the same message is sent again: the channel takes it, and whatever arrives is
/// that message.
///
/// # Panics
/// When the promise does not hold.
pub async fn the_same_message_may_be_sent_twice(
    channel: &dyn Channel,
    kind: AddressKind,
    received: impl Fn() -> Vec<Received>,
) {
    let message = outgoing(kind, 4);
    let before = received().len();
    accept(channel, &message).await;
    accept(channel, &message).await;
    let arrived = &received()[before..];
    assert!((1..=2).contains(&arrived.len()), "{arrived:?}");
    for one in arrived {
        expect(std::slice::from_ref(one), &message);
    }
}

/// Messages that are sent at once are all acknowledged, and each arrives whole.
///
/// # Panics
/// When the promise does not hold.
pub async fn messages_sent_at_once_all_arrive(
    channel: &dyn Channel,
    kind: AddressKind,
    received: impl Fn() -> Vec<Received>,
) {
    let messages: Vec<_> = (0..AT_ONCE).map(|number| outgoing(kind, 10 + number)).collect();
    let before = received().len();
    together(messages.iter().map(|message| accept(channel, message))).await;
    let arrived = received().split_off(before);
    assert_eq!(arrived.len(), messages.len(), "{arrived:?}");
    for message in &messages {
        let own: Vec<_> = arrived.iter().filter(|one| one.to == message.to.as_str()).cloned().collect();
        expect(&own, message);
    }
}

/// What a channel says about a failure shows neither the address nor the code: it goes to a log.
///
/// For the channel's own tests, which know how to make it fail.
///
/// # Panics
/// When the promise does not hold.
pub fn tells_no_secret(error: &SendError, message: &Outgoing) {
    let address = message.to.as_str();
    let local = address.split('@').next().unwrap_or(address);
    for shown in [format!("{error}"), format!("{error:?}"), format!("{message:?}")] {
        let folded = shown.to_lowercase();
        assert!(!folded.contains(&local.to_lowercase()), "the address is in {shown:?}");
        if let Some(code) = &message.code {
            assert!(!shown.contains(code.as_str()), "the code is in {shown:?}");
        }
    }
}

async fn accept(channel: &dyn Channel, message: &Outgoing) {
    match channel.send(message).await {
        Ok(acknowledged) => {
            let reached = acknowledged.reached;
            let known = [DeliveryStatus::Sent, DeliveryStatus::Delivered, DeliveryStatus::Read];
            assert!(known.contains(&reached), "acknowledged, and yet {reached:?}");
            let provider_id = acknowledged.provider_id.unwrap_or_default();
            assert!(!provider_id.contains(message.to.as_str()), "the provider's id is the address");
        }
        Err(error) => {
            tells_no_secret(&error, message);
            panic!("{} refused a good message: {error}", channel.name());
        }
    }
}

fn expect(arrived: &[Received], message: &Outgoing) {
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(arrived[0].to, message.to.as_str());
    assert_eq!(arrived[0].text, message.text);
    if let (Some(arrived), sent) = (&arrived[0].code, &message.code) {
        assert_eq!(Some(arrived.as_str()), sent.as_ref().map(Code::as_str));
    }
}

/// Waits for all of them, all under way at once. (The core has no runtime to spawn on.)
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, done) in &mut running {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if running.iter().all(|(_, done)| done.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
