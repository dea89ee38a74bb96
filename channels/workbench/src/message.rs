//! Messages to try a plugin with.

use jiff::SignedDuration;
use wotp_core::domain::address::{Address, AddressKind};
use wotp_core::domain::code::Code;
use wotp_core::domain::id::{DeliveryId, TenantId, VerificationId};
use wotp_core::domain::locale::Locale;
use wotp_core::ports::{Clock, Entropy, Item, Outgoing};

/// How long a message is of use.
const LIFE: SignedDuration = SignedDuration::from_mins(5);
/// A code, and a number and an address that are nobody's: reserved for fiction, and for documentation (RFC 2606).
pub(crate) const CODE: &str = "482913";
const PHONE: &str = "+12025550123";
const EMAIL: &str = "ada.lovelace@example.com";
/// What breaks providers' encodings: several lines, quotes and escapes, markup, right-to-left letters, emoji made of
/// several characters, and what would be a field or a template of its own.
pub(crate) const DEMANDING: &str = "482913 is your \"code\" for O'Brien & <b>Sons</b> \\n.\n.\n\tindented = %0a {{to}}\n\
     קוד האימות שלך: 482913\nرمز التحقق\n👩‍👩‍👧 🇺🇳 é ñ 漢字\n&To=%2B12025550199";

/// A message with a code, to somebody who is reached by an address of this kind.
///
/// # Panics
/// Never: the addresses are valid.
pub(crate) fn to_somebody(kind: AddressKind, clock: &dyn Clock, entropy: &dyn Entropy) -> Outgoing {
    let to = match kind {
        AddressKind::Phone => PHONE,
        AddressKind::Email => EMAIL,
    };
    let to = Address::parse(to).expect("a number for fiction and a name at example.com are addresses");
    let text = format!("{CODE} is your Acme code. It expires in 5 minutes. Do not share it.");
    let code = Some(Code::typed(CODE));
    Outgoing { code, ..message(to, "Acme", text, clock, entropy) }
}

/// A message without a code.
pub fn message(to: Address, brand: &str, text: String, clock: &dyn Clock, entropy: &dyn Entropy) -> Outgoing {
    let now = clock.now();
    Outgoing {
        message_id: DeliveryId::new(now, entropy),
        tenant: TenantId::new(now, entropy),
        connection: None,
        item: Item::Verification(VerificationId::new(now, entropy)),
        to,
        subject: format!("Your code for {brand}"),
        text,
        code: None,
        link: None,
        brand: brand.to_owned(),
        locale: Locale::ENGLISH,
        expires_at: now.saturating_add(LIFE).unwrap_or(now),
    }
}
