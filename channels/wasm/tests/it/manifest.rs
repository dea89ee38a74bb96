use wotp_channel_wasm::{Manifest, SigningKey};
use wotp_core::testing::SeededEntropy;

use crate::plugins::{bytes, load};

#[tokio::test]
async fn what_a_component_says_of_itself_is_signed_and_holds_for_it_alone() {
    let (twilio, telegram) = (bytes("twilio_sms"), bytes("telegram_gateway"));
    let component = load("twilio_sms").await.unwrap();
    let key = SigningKey::draw(&SeededEntropy::new(3));
    let manifest = Manifest::read(&Manifest::signed(&component, &twilio, &key).to_string()).unwrap();
    assert_eq!(manifest.contract, component.contract());
    assert_eq!(manifest.verify(&twilio, component.descriptor()), Ok(key.publisher()));
    assert!(manifest.verify(&telegram, component.descriptor()).is_err());
}
