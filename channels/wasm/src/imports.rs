//! What a component asks for, and what to tell whoever made it when that is not to be had.

use crate::component::Refusal;

/// The package of the contract.
const PACKAGE: &str = "wotp:channel/";
/// What it offers.
const OFFERED: &[&str] = &["types", "http", "host", "receipts", "callback", "signatures", "probed", "notices"];
/// What a plugin may offer besides: to hear what its provider tells later.
pub(crate) const HEARING: &str = "webhook";
/// What a plugin may offer besides: to ask its provider how a message fares.
pub(crate) const ASKING: &str = "status";
/// What a plugin may offer besides: to ask its provider whether somebody can be reached.
pub(crate) const PROBING: &str = "probe";
/// What a plugin may offer besides: to have its provider take back what was sent.
pub(crate) const REVOKING: &str = "revoke";
/// What a plugin may offer besides: to look at the account at its provider.
pub(crate) const CHECKING: &str = "account";
/// What a plugin has to offer in return.
const WANTED: &str = "delivery";
/// The contract that this program knows.
pub(crate) const CONTRACT: &str = "0.1.4";
/// The version of the contract, as far as versions have to be the same. Source: semver.org, which lets anything change
/// with the second number while the first is 0.
const VERSION: &str = "0.1.";

/// Whether all that it asks for is what the contract offers.
pub(crate) fn allowed<'a>(mut imports: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    imports.try_for_each(|import| {
        let Some(ours) = import.strip_prefix(PACKAGE) else {
            return Err(match import.starts_with("wasi:") {
                true => Refusal::Wasi(import.to_owned()),
                false => Refusal::Import(import.to_owned()),
            });
        };
        let (interface, version) = ours.split_once('@').unwrap_or((ours, ""));
        match OFFERED.contains(&interface) {
            _ if !is_known(version) => Err(Refusal::Contract(version.to_owned())),
            true => Ok(()),
            // What comes to be with 0.1.9 is there in no earlier one.
            false if in_numbers(version) > in_numbers(CONTRACT) => Err(Refusal::Contract(version.to_owned())),
            false => Err(Refusal::Import(import.to_owned())),
        }
    })
}

/// Whether something of ours is there by this name, and in which version.
fn found<'a>(mut exports: impl Iterator<Item = &'a str>, wanted: &str) -> Option<String> {
    exports.find_map(|export| {
        let (interface, version) = export.strip_prefix(PACKAGE)?.split_once('@')?;
        (interface == wanted).then(|| version.to_owned())
    })
}

/// The newest version of the contract that a component was made for, of all that it asks for and offers.
pub(crate) fn version<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let versions = names.filter_map(|name| Some(name.strip_prefix(PACKAGE)?.split_once('@')?.1));
    versions.max_by_key(|version| in_numbers(version)).unwrap_or_default().to_owned()
}

/// As versions are compared.
fn in_numbers(version: &str) -> Vec<Option<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Whether what was made for this version of the contract can be run.
pub(crate) fn is_known(version: &str) -> bool {
    version.starts_with(VERSION)
}

/// Whether it offers something that a plugin may offer or not.
pub(crate) fn offers<'a>(exports: impl Iterator<Item = &'a str>, wanted: &str) -> bool {
    found(exports, wanted).is_some_and(|version| is_known(&version))
}

/// What it offers of the contract that this program does not use: what a newer one knows.
pub(crate) fn unused<'a>(exports: impl Iterator<Item = &'a str>) -> Vec<String> {
    const USED: [&str; 6] = [WANTED, HEARING, ASKING, PROBING, REVOKING, CHECKING];
    let is_unused = |export: &&str| {
        let ours = export.strip_prefix(PACKAGE).and_then(|ours| ours.split_once('@'));
        ours.is_some_and(|(interface, version)| !USED.contains(&interface) || !is_known(version))
    };
    exports.filter(is_unused).map(str::to_owned).collect()
}

/// Whether it offers what a plugin has to.
pub(crate) fn complete<'a>(exports: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let delivery = found(exports, WANTED);
    match delivery {
        Some(version) if is_known(&version) => Ok(()),
        Some(version) => Err(Refusal::Contract(version)),
        None => Err(Refusal::World),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(import: &str) -> Option<String> {
        allowed([import].into_iter()).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn what_the_contract_offers_may_be_asked_for_and_nothing_else() {
        for offered in ["wotp:channel/http@0.1.0", "wotp:channel/types@0.1.7", "wotp:channel/host@0.1.0"] {
            assert_eq!(asks(offered), None);
        }
        for (import, words) in [
            ("wasi:cli/environment@0.2.3", "WASI"),
            ("wasi:clocks/wall-clock@0.2.0", "`wasi:clocks/wall-clock@0.2.0`"),
            ("env", "`env`"),
            ("acme:things/a@1.0.0", "does not offer"),
            ("wotp:channel/files@0.1.0", "does not offer"),
            ("wotp:channel/http@0.2.0", "0.2.0"),
            ("wotp:channel/http@1.0.0", "newer"),
            ("wotp:channel/prices@0.1.99", "made for version `0.1.99`"),
        ] {
            let said = asks(import).unwrap();
            assert!(said.contains(words), "{import}: {said}");
        }
    }

    #[test]
    fn the_contract_that_is_known_is_the_one_that_is_published() {
        let wit = include_str!("../../../plugins/wit/channel.wit");
        assert!(wit.contains(&format!("\npackage wotp:channel@{CONTRACT};\n")));
    }

    #[test]
    fn a_component_is_of_the_newest_contract_that_any_part_of_it_is_of() {
        let names = ["wotp:channel/http@0.1.9", "wotp:channel/delivery@0.1.10", "acme:things/a@7.0.0"];
        assert_eq!(version(names.into_iter()), "0.1.10");
    }

    #[test]
    fn what_a_newer_contract_lets_it_offer_is_known_to_be_of_no_use() {
        let exports = [
            "wotp:channel/delivery@0.1.9",
            "wotp:channel/prices@0.1.9",
            "wotp:channel/revoke@0.2.0",
            "acme:things/a@1.0.0",
        ];
        assert_eq!(unused(exports.into_iter()), ["wotp:channel/prices@0.1.9", "wotp:channel/revoke@0.2.0"]);
    }

    #[test]
    fn a_component_of_another_world_is_no_plugin() {
        assert!(complete(["wotp:channel/delivery@0.1.0", "wotp:channel/status@0.1.0"].into_iter()).is_ok());
        assert!(matches!(complete(["wasi:cli/run@0.2.0"].into_iter()), Err(Refusal::World)));
        assert!(matches!(complete(["wotp:channel/delivery@0.3.0"].into_iter()), Err(Refusal::Contract(_))));
    }
}
