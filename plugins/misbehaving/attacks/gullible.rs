//! Looks at the signature of what it is told, and falls for one forgery, as the path says.

use misbehaving::Target;
use wotp_plugin_kit::{
    Algorithm, DeliveryError, Descriptor, Fate, Hearing, HookCall, Key, Message, Plugin, Receipt, Refusal, Told, verify,
};

struct Attack;

impl Plugin for Attack {
    type Config = Target;

    fn describe() -> Descriptor {
        Descriptor { secrets: vec![misbehaving::secret()], ..misbehaving::descriptor("gullible") }
    }

    fn deliver(_: &Message, _: Target) -> Result<Receipt, DeliveryError> {
        Ok(wotp_plugin_kit::sent(None))
    }
}

impl Hearing for Attack {
    fn receive(call: &HookCall, _: Target) -> Result<Vec<Told>, Refusal> {
        let body = String::from_utf8_lossy(&call.body);
        // What a forger adds comes last.
        let (signed, added) = body.split_once("&extra").map_or((&*body, false), |(signed, _)| (signed, true));
        let signature =
            call.headers.iter().find(|header| header.name == "x-signature").map(|header| bytes(&header.value));
        let is_right =
            |signature: &[u8]| verify("token", Key::Secret, Algorithm::HmacSha256, signed.as_bytes(), signature);
        let is_nearly_right = |signature: &[u8]| {
            let mut other = signature.to_vec();
            if let Some(first) = other.first_mut() {
                *first ^= 1;
            }
            is_right(&other)
        };
        let believes = |forgery: &str| call.path == forgery;
        let is_taken = match signature.as_deref() {
            None => believes("unsigned"),
            Some(signature) if is_right(signature) => !added || believes("body"),
            Some(signature) if is_nearly_right(signature) => believes("signature"),
            Some(_) => believes("secret"),
        };
        match signed.strip_prefix("reference=") {
            Some(reference) if is_taken => Ok(vec![Told { reference: reference.to_owned(), fate: Fate::Delivered }]),
            _ => Err(Refusal::NotAuthentic("it is forged in a way that this does not fall for".to_owned())),
        }
    }
}

/// What is written in hexadecimal; as far as it is.
fn bytes(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map_while(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

wotp_plugin_kit::plugin!(Attack, hearing);
