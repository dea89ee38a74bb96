//! Linking by QR: the server gives the device references, which it shows one after the other, each with its keys.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Outcome;
use crate::error::{Error, Result};
use crate::node::{ask, key, leaf, parent};
use crate::people::{Line, World};

/// How many references a device is given, and so how often it can show another QR.
const REFERENCES: u32 = 6;
/// How long the first QR is shown.
const FIRST: Duration = Duration::from_secs(60);
/// How long each of the others is shown.
const LATER: Duration = Duration::from_secs(20);

/// A reference that a device may show.
pub(super) struct Offer {
    pub(super) line: Line,
    expires: Instant,
}

impl World {
    /// Gives references to a device that has connected without being linked.
    pub(crate) fn offer_qr(&mut self, line: &Line) {
        let now = Instant::now();
        let references: Vec<String> = (0..REFERENCES)
            .map(|nth| {
                let reference = format!("2@{}", BASE64_STANDARD.encode(rand::random::<[u8; 24]>()));
                let offer = Offer { line: line.clone(), expires: now + FIRST + LATER * nth };
                self.pairing.offers.insert(reference.clone(), offer);
                reference
            })
            .collect();
        let id = format!("offer-{}", self.next());
        let references = references.into_iter().map(|reference| leaf("ref", reference.into_bytes()));
        line.send(ask(&id, "md", parent("pair-device", references)));
    }

    /// The phone of a number scans a QR.
    pub(crate) fn scan(&mut self, number: &str, qr: &str) -> Result<Outcome> {
        // Some devices show it as a link, with what matters behind a `#`.
        let parts: Vec<&str> = qr.rsplit('#').next().unwrap_or(qr).split(',').collect();
        let &[reference, noise_key, identity, secret, ..] = &parts[..] else { return Err(Error::NotAQr) };
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| Error::NotAQr);
        let (noise_key, identity, secret) = (key(&decode(noise_key)?)?, key(&decode(identity)?)?, decode(secret)?);
        let offer = self.pairing.offers.remove(reference).ok_or(Error::UnknownQr)?;
        if offer.expires <= Instant::now() {
            return Err(Error::UnknownQr);
        }
        let (done, outcome) = oneshot::channel();
        self.vouch(number, offer.line, noise_key, identity, &secret, done)?;
        Ok(outcome)
    }

    /// All QRs that are shown now expire at once: the server ends the connections, and devices come back for new ones.
    pub(crate) fn expire_qr(&mut self) {
        for offer in std::mem::take(&mut self.pairing.offers).into_values() {
            offer.line.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Read as _;
    use crate::people::Outgoing;

    fn qr(reference: &str) -> String {
        let key = BASE64_STANDARD.encode([7; 32]);
        format!("https://wa.me/settings/linked_devices#{reference},{key},{key},{key},1")
    }

    #[tokio::test(start_paused = true)]
    async fn each_qr_expires_when_the_device_shows_the_next_one() {
        let mut world = World::default();
        let (line, mut outgoing) = Line::new();
        world.offer_qr(&line);
        let Some(Outgoing::Stanza(offer)) = outgoing.recv().await else { panic!("no offer") };
        let references: Vec<String> = offer
            .get_optional_child("pair-device")
            .unwrap()
            .children()
            .unwrap()
            .iter()
            .map(|reference| String::from_utf8(reference.content()).unwrap())
            .collect();
        assert_eq!(references.len(), 6);
        tokio::time::advance(FIRST).await;
        assert!(matches!(world.scan("15550100", &qr(&references[0])), Err(Error::UnknownQr)));
        assert!(world.scan("15550100", &qr(&references[1])).is_ok());
        tokio::time::advance(LATER * 5 - Duration::from_secs(1)).await;
        assert!(matches!(world.scan("15550100", &qr(&references[4])), Err(Error::UnknownQr)));
        assert!(world.scan("15550100", &qr(&references[5])).is_ok());
    }
}
