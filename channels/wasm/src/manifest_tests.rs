use wotp_core::domain::address::AddressKind;
use wotp_core::testing::SeededEntropy;

use super::*;
use crate::descriptor::{Place, SecretUse};

const BYTES: &[u8] = b"\0asm and what follows";

fn key(seed: u64) -> SigningKey {
    SigningKey::draw(&SeededEntropy::new(seed))
}

fn descriptor() -> Descriptor {
    let about = "From the page of your account.".to_owned();
    Descriptor {
        id: "example.sms".to_owned(),
        name: "Example SMS".to_owned(),
        version: "1.4.0".to_owned(),
        reaches: vec![AddressKind::Phone],
        hosts: DeclaredHosts::read(&["api.example.com".to_owned()]).unwrap(),
        secrets: vec![SecretUse { name: "token".to_owned(), about, places: vec![Place::Header], optional: false }],
        idempotent: false,
        config_schema: serde_json::json!({}),
    }
}

fn manifest() -> Manifest {
    Manifest::about(&descriptor(), "0.1.1", BYTES, &key(1))
}

/// The manifest with something else in the place of a text, read anew and held against the component.
#[track_caller]
fn changed(what: &str, by: &str) -> String {
    let text = manifest().to_string();
    assert!(text.contains(what), "{text}");
    let read = Manifest::read(&text.replacen(what, by, 1));
    read.and_then(|manifest| manifest.verify(BYTES, &descriptor())).unwrap_err().to_string()
}

#[test]
fn what_was_signed_is_read_as_it_was_written_and_holds() {
    let manifest = manifest();
    let read = Manifest::read(&manifest.to_string()).unwrap();
    assert_eq!(read, manifest);
    assert_eq!(read.verify(BYTES, &descriptor()), Ok(key(1).publisher()));
}

/// Whoever writes a tool of their own signs this.
#[test]
fn the_text_that_is_signed_never_changes() {
    let text = String::from_utf8(manifest().signed_text()).unwrap();
    let publisher = key(1).publisher();
    let rest = text.strip_prefix("WOTP plugin manifest, version 1\n").unwrap();
    let sha256 = hash_of(BYTES);
    assert_eq!(
        rest,
        format!(r#"["example.sms","1.4.0","0.1.1","{sha256}",["api.example.com"],["token"],"{publisher}"]"#)
    );
}

#[test]
fn a_manifest_that_was_changed_is_refused_whatever_was_changed() {
    let other = key(2).publisher().to_string();
    for (what, by) in [
        ("example.sms", "example.smz"),
        ("1.4.0", "1.4.1"),
        ("\"0.1.1\"", "\"0.1.0\""),
        ("api.example.com", "api.evil.com"),
        ("\"token\"", "\"token\", \"password\""),
        (&key(1).publisher().to_string(), &other),
    ] {
        let said = changed(what, by);
        assert!(said.starts_with("the signature is not that of the publisher"), "{what}: {said}");
    }
}

#[test]
fn a_component_that_was_changed_is_none_of_the_manifest() {
    let said = manifest().verify(b"\0asm and what followz", &descriptor()).unwrap_err().to_string();
    assert!(said.starts_with("the manifest is of another component") && said.contains(&hash_of(BYTES)), "{said}");
}

#[test]
fn what_the_component_says_of_itself_counts() {
    type Change = fn(&mut Descriptor);
    let changes: [(Change, &str); 4] = [
        (|said| said.id = "example.other".to_owned(), "`id` is example.sms"),
        (|said| said.version = "2.0.0".to_owned(), "`version` is 1.4.0, and the component itself says 2.0.0"),
        (|said| said.hosts = DeclaredHosts::Any, "calls `api.example.com`, and the component itself says `*`"),
        (|said| said.secrets.clear(), "needs the secrets `token`, and the component itself says none"),
    ];
    for (change, words) in changes {
        let mut said = descriptor();
        change(&mut said);
        let fault = manifest().verify(BYTES, &said).unwrap_err().to_string();
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn a_manifest_of_a_newer_contract_asks_for_a_newer_program() {
    let newer = Manifest::about(&descriptor(), "0.2.0", BYTES, &key(1));
    let said = newer.verify(BYTES, &descriptor()).unwrap_err().to_string();
    assert!(said.contains("`0.2.0`") && said.contains("needs a newer WOTP"), "{said}");
}

#[test]
fn what_is_no_manifest_is_refused_in_plain_words() {
    for (what, by, words) in [
        ("id =", "id", "line 2"),
        ("id =", "name =", "unknown field `name`"),
        ("version = \"1.4.0\"\n", "", "missing field `version`"),
        ("\"1.4.0\"", "7", "invalid type"),
        ("\"1.4.0\"", "\"1.4\"", "`version` is not of the form 1.4.0"),
        ("\"0.1.1\"", "\"1\"", "`contract` is not of the form"),
        ("example.sms", "Example", "`id` is not"),
        ("sha256 = \"", "sha256 = \"x", "`sha256` is not 64"),
        ("api.example.com", "https://api.example.com", "is no host"),
        ("\"token\"", "\"To ken\"", "`secrets` holds a name"),
        ("signature = \"ed25519:", "signature = \"", "`signature` does not begin with `ed25519:`"),
        ("signature = \"ed25519:", "signature = \"ed25519:!", "`signature` is no base64"),
        ("publisher = \"ed25519:", "publisher = \"ed25519:AAAA", "`publisher` has 35 bytes"),
    ] {
        let said = changed(what, by);
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(Manifest::read(&"#".repeat(SIZE_MAX + 1)), Err(ManifestFault::Size));
}
