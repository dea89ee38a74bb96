//! What is tried of a plugin that its provider tells something, with the signatures that its author describes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use wotp_channel_wasm::Plugin;
use wotp_core::ports::{Channel as _, Hear, HearError, Heard};

use super::Report;
use super::asked::expected;
use super::bench::Bench;
use crate::script::{Algorithm, Callback, Encoding, Expected, Signing, SigningKey};

/// Where the provider calls.
const HOOKS: &str = "https://wotp.example/hooks/tried/";
/// What stands for a signature.
const SIGNATURE: &str = "{signature}";

/// A call of the provider's, and what of it is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forged {
    Nothing,
    /// One bit of the signature.
    Signature,
    /// The secret that it was made with.
    Secret,
    /// The body, after it was signed.
    Body,
    /// There is no signature.
    Unsigned,
}

/// It takes what its provider signed, and nothing else.
pub(super) async fn signed(bench: &Bench, plugin: &Plugin, report: &mut Report) {
    for callback in &bench.script.callbacks {
        let tried = callback.name.as_str();
        let Some(ears) = plugin.ears() else {
            report.no(tried, "nothing", "it does not export `webhook`, so nobody can tell it anything");
            continue;
        };
        let Some(secret) = bench.secrets.get(&callback.sign.secret) else {
            let why = format!("it asks for no secret `{}`, which the script signs with", callback.sign.secret);
            report.no(tried, "nothing", why);
            continue;
        };
        let reference = bench.message().reference().to_string();
        let calls = Calls { bench, callback, secret, reference: &reference };
        if calls.is_heard(ears, report).await {
            calls.are_refused_forged(ears, report).await;
        }
    }
}

struct Calls<'a> {
    bench: &'a Bench,
    callback: &'a Callback,
    secret: &'a str,
    reference: &'a str,
}

impl Calls<'_> {
    /// Whether the plugin takes it as it is, and says what the script expects.
    async fn is_heard(&self, ears: &dyn Hear, report: &mut Report) -> bool {
        let tried = self.callback.name.as_str();
        let expect = self.callback.expect;
        let news = match self.bench.watched(ears.hear(self.heard(Forged::Nothing))).await.0 {
            Ok(heard) => heard.news,
            Err(error) => {
                let why = format!("the script expects `{expect}`; see that it signs as the provider does");
                report.no(tried, error.to_string(), why);
                return false;
            }
        };
        let found = match news.as_slice() {
            [] => Some(Expected::NoNews),
            [one] if one.reference == self.reference => Some(expected(one.receipt)),
            _ => None,
        };
        let said = found.map_or_else(|| "news of another message".to_owned(), |found| found.to_string());
        report.note(tried, said, (found != Some(expect)).then(|| format!("the script expects `{expect}`")), None);
        true
    }

    async fn are_refused_forged(&self, ears: &dyn Hear, report: &mut Report) {
        let tried = format!("{}: refuses it forged", self.callback.name);
        for (forged, what) in [
            (Forged::Unsigned, "without its signature"),
            (Forged::Signature, "with a signature in which one bit is another"),
            (Forged::Secret, "signed with another secret"),
            (Forged::Body, "with a body that was changed after it was signed"),
        ] {
            if forged == Forged::Body && self.callback.body.is_empty() {
                continue;
            }
            match self.bench.watched(ears.hear(self.heard(forged))).await.0 {
                Err(HearError::NotAuthentic | HearError::Unreadable) => {}
                Err(HearError::Busy) => {
                    let why = "anybody can call: say `not-authentic` or `unreadable`";
                    return report.no(&tried, format!("{what} it crashes it, or keeps it too long"), why);
                }
                Ok(_) => {
                    let why = "anybody could tell what became of messages; hold the signature against all that is signed, \
                               with `signatures.verify`";
                    return report.no(&tried, format!("it takes it {what}"), why);
                }
            }
        }
        report.ok(&tried, "without its signature, and with another one, secret or body");
    }

    fn heard(&self, forged: Forged) -> Heard {
        let Callback { method, path, headers, body, sign, .. } = self.callback;
        let now = self.bench.now().as_second().to_string();
        let plain = |text: &str| text.replace("{reference}", self.reference).replace("{now}", &now);
        let path = plain(path);
        let url = format!("{HOOKS}{path}");
        let body = plain(body);
        let whole = |text: &str| plain(text).replace("{url}", &url).replace("{body}", &body);
        let secret = if forged == Forged::Secret { "another-secret" } else { self.secret };
        let mut signature = signature(sign, secret, whole(&sign.data).as_bytes());
        if forged == Forged::Signature {
            signature[0] ^= 1;
        }
        let signature = written(sign.encoding, &signature);
        let is_sent = |value: &&String| forged != Forged::Unsigned || !value.contains(SIGNATURE);
        let headers = headers.iter().filter(|(_, value)| is_sent(value));
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_lowercase(), whole(value).replace(SIGNATURE, &signature))).collect();
        let is_json = body.starts_with(['{', '[']);
        let body = match forged {
            Forged::Body if is_json => format!("{body} "),
            Forged::Body => format!("{body}&extra=1"),
            _ => body,
        };
        let posted = !method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("GET"));
        Heard { posted, url, path, headers, body: body.into_bytes() }
    }
}

fn signature(sign: &Signing, secret: &str, data: &[u8]) -> Vec<u8> {
    const ANY_KEY: &str = "HMAC takes a key of any length";
    let hashed = Sha256::digest(secret.as_bytes());
    let key: &[u8] = match sign.key {
        SigningKey::Secret => secret.as_bytes(),
        SigningKey::Sha256OfSecret => &hashed,
    };
    match sign.algorithm {
        Algorithm::HmacSha1 => {
            Hmac::<Sha1>::new_from_slice(key).expect(ANY_KEY).chain_update(data).finalize().into_bytes().to_vec()
        }
        Algorithm::HmacSha256 => {
            Hmac::<Sha256>::new_from_slice(key).expect(ANY_KEY).chain_update(data).finalize().into_bytes().to_vec()
        }
    }
}

fn written(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Hex => bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all that is written to it");
            text
        }),
    }
}
