//! How a phone vouches for the devices that are linked to it (WhatsApp calls it ADV): it signs what it knows of the
//! device together with the device's identity; the device signs that in turn.

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::rngs::ThreadRng;
use sha2::Sha256;
use wacore::libsignal::protocol::PublicKey;
use waproto::buffa::Message as _;
use waproto::whatsapp::{
    ADVDeviceIdentity, ADVKeyIndexList, ADVSignedDeviceIdentity, ADVSignedDeviceIdentityHMAC, ADVSignedKeyIndexList,
};

use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::signal::Endpoint;

const BY_ACCOUNT: [u8; 2] = [6, 0];
const BY_DEVICE: [u8; 2] = [6, 1];
const KEY_LIST: [u8; 2] = [6, 2];
/// Which of its lives an account is in; it changes when somebody registers the number anew.
const RAW_ID: u32 = 1;

/// What the phone vouches for a device with.
pub(crate) struct Vouched {
    signed: ADVSignedDeviceIdentity,
    device_identity: [u8; 32],
}

impl Vouched {
    /// The phone signs for the device of this number and identity.
    pub(crate) fn sign(phone: &Endpoint, device: u16, device_identity: [u8; 32]) -> Result<Self> {
        let details = ADVDeviceIdentity {
            raw_id: Some(RAW_ID),
            timestamp: Some(now_seconds()),
            key_index: Some(u32::from(device)),
            ..Default::default()
        }
        .encode_to_vec();
        let signature = sign(phone, &[&BY_ACCOUNT, &details, &device_identity])?;
        let signed = ADVSignedDeviceIdentity {
            details: Some(details),
            account_signature_key: Some(phone.identity().to_vec()),
            account_signature: Some(signature),
            ..Default::default()
        };
        Ok(Self { signed, device_identity })
    }

    /// As it is sent to the device, authenticated with the secret that only the phone has seen: in the QR, or agreed on
    /// by the code.
    pub(crate) fn under(&self, secret: &[u8]) -> Result<Vec<u8>> {
        let details = self.signed.encode_to_vec();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(Error::crypto)?;
        mac.update(&details);
        let hmac = mac.finalize().into_bytes().to_vec();
        Ok(ADVSignedDeviceIdentityHMAC { details: Some(details), hmac: Some(hmac), ..Default::default() }
            .encode_to_vec())
    }

    /// Checks what the device signed, and returns it as others will get it.
    pub(crate) fn countersigned(&self, answer: &[u8]) -> Result<Vec<u8>> {
        let signed = ADVSignedDeviceIdentity::decode_from_slice(answer)
            .map_err(|_| Error::Malformed("no signed device identity"))?;
        let (Some(details), Some(account), Some(device)) =
            (&signed.details, &self.signed.account_signature_key, &signed.device_signature)
        else {
            return Err(Error::Malformed("a signed device identity without its parts"));
        };
        let key = PublicKey::from_djb_public_key_bytes(&self.device_identity).map_err(Error::crypto)?;
        let message = [&BY_DEVICE, &details[..], &self.device_identity, account].concat();
        let unchanged =
            signed.details == self.signed.details && signed.account_signature == self.signed.account_signature;
        if unchanged && key.verify_signature(&message, device) {
            Ok(answer.to_vec())
        } else {
            Err(Error::PairingRefused)
        }
    }

    /// The same for a device that the double plays: both have signed.
    pub(crate) fn by_both(mut self, device: &Endpoint) -> Result<Vec<u8>> {
        let details = self.signed.details.clone().unwrap_or_default();
        let account = self.signed.account_signature_key.clone().unwrap_or_default();
        let signature = sign(device, &[&BY_DEVICE, &details, &self.device_identity, &account])?;
        self.signed.device_signature = Some(signature);
        Ok(self.signed.encode_to_vec())
    }
}

/// Which devices the phone vouches for, signed by it.
pub(crate) fn device_list(phone: &Endpoint, devices: &[u16]) -> Result<Vec<u8>> {
    let details = ADVKeyIndexList {
        raw_id: Some(RAW_ID),
        timestamp: Some(now_seconds()),
        current_index: Some(devices.iter().copied().max().unwrap_or(0).into()),
        valid_indexes: devices.iter().map(|device| u32::from(*device)).collect(),
        ..Default::default()
    }
    .encode_to_vec();
    let signature = sign(phone, &[&KEY_LIST, &details])?;
    Ok(ADVSignedKeyIndexList {
        details: Some(details),
        account_signature: Some(signature),
        account_signature_key: Some(phone.identity().to_vec()),
    }
    .encode_to_vec())
}

fn sign(by: &Endpoint, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut random: ThreadRng = rand::rng();
    Ok(by.private().calculate_signature(&parts.concat(), &mut random).map_err(Error::crypto)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_devices_own_signature_under_what_the_phone_signed_is_taken() {
        let (phone, device, other) = (Endpoint::new().unwrap(), Endpoint::new().unwrap(), Endpoint::new().unwrap());
        let answer = Vouched::sign(&phone, 1, device.identity()).unwrap().by_both(&device).unwrap();
        let asked = || Vouched {
            signed: ADVSignedDeviceIdentity {
                device_signature: None,
                ..ADVSignedDeviceIdentity::decode_from_slice(&answer).unwrap()
            },
            device_identity: device.identity(),
        };
        assert_eq!(asked().countersigned(&answer).unwrap(), answer);
        let forged = asked().by_both(&other).unwrap();
        assert!(matches!(asked().countersigned(&forged), Err(Error::PairingRefused)));
        let changed = Vouched::sign(&phone, 2, device.identity()).unwrap().by_both(&device).unwrap();
        assert!(matches!(asked().countersigned(&changed), Err(Error::PairingRefused)));
        let elsewhere = Vouched::sign(&other, 1, device.identity()).unwrap().by_both(&device).unwrap();
        assert!(matches!(asked().countersigned(&elsewhere), Err(Error::PairingRefused)));
        assert!(asked().countersigned(b"nonsense").is_err());
    }
}
