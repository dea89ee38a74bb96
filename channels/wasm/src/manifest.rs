//! What a publisher signs of a plugin: `plugin.toml`, beside the component.
//!
//! It says by its SHA-256 of which component it is, and what that may be given: an operator can read it, and hold it
//! against whoever is known to publish the plugin, before anything of the component runs. What it says of the component
//! is seen to hold once the component has said it itself.

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::component::Component;
use crate::descriptor::{Descriptor, is_name, is_version};
use crate::hosts::{DeclaredHosts, NoHost};
use crate::imports::{self, CONTRACT};
use crate::publisher::{KeyFault, PublisherKey, Signature, SigningKey};

/// Longest manifest, in bytes: all that it may hold has less.
const SIZE_MAX: usize = 64 * 1024;
/// Most hosts, and most secrets. Source: the descriptor's.
const COUNT_MAX: usize = 16;
/// What the signed text begins with: a signature made for something else is none of a manifest.
///
/// NEVER change it: it revokes every signature there is.
const DOMAIN: &str = "WOTP plugin manifest, version 1\n";
/// What is shown of a stranger's words, in characters.
const SHOWN_MAX: usize = 80;
/// How to come by a manifest that holds.
const ANEW: &str = "`wotp plugin sign` makes it anew";

/// What a publisher says of a component, and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The plugin's name in the world, as in `example.twilio-sms`.
    pub id: String,
    /// The plugin's own version.
    pub version: String,
    /// The version of the contract that it was made for, as in `0.1.1`.
    pub contract: String,
    /// The SHA-256 of the component, in hexadecimal digits.
    pub sha256: String,
    /// The hosts that it calls, if the operator approves.
    pub hosts: DeclaredHosts,
    /// The names of the secrets that it needs.
    pub secrets: Vec<String>,
    /// Who says so.
    pub publisher: PublisherKey,
    signature: Signature,
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    version: String,
    contract: String,
    sha256: String,
    hosts: Vec<String>,
    secrets: Vec<String>,
    publisher: String,
    signature: String,
}

/// Why a manifest is none of this component's, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// Too long.
    #[error("the manifest is longer than {} KiB; {ANEW}", SIZE_MAX / 1024)]
    Size,
    /// No TOML, or not with these keys.
    #[error("the manifest cannot be read: {0}; {ANEW}")]
    Toml(String),
    /// A field is none.
    #[error("the manifest's `{field}` {why}; {ANEW}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A host is none.
    #[error("one of the manifest's `hosts` cannot be called: {0}")]
    Host(#[from] NoHost),
    /// A contract that is not known.
    #[error(
        "the plugin was made for version `{0}` of the contract `wotp:channel`, and this program knows {CONTRACT}; a newer contract needs a newer WOTP"
    )]
    Contract(String),
    /// Another component's.
    #[error(
        "the manifest is of another component: it was signed for the SHA-256 {signed}, and this file has {found}. Fetch \
         both anew from whoever publishes the plugin, who signs each component that they build"
    )]
    Bytes {
        /// What the publisher signed.
        signed: String,
        /// What is there.
        found: String,
    },
    /// Somebody else signed it, or it was changed.
    #[error(
        "the signature is not that of the publisher {0}: the manifest was changed after it was signed, or somebody else \
         signed it. Fetch it anew from whoever publishes the plugin; do not install it before it holds"
    )]
    Signature(PublisherKey),
    /// It and the component say different things.
    #[error("the manifest says {field} {manifest}, and the component itself says {component}; {ANEW}")]
    Differs {
        /// Which of them.
        field: &'static str,
        /// What the manifest says.
        manifest: String,
        /// What the component says.
        component: String,
    },
}

impl Manifest {
    /// Signs what a component says of itself. `bytes` are what it was loaded from.
    pub fn signed(component: &Component, bytes: &[u8], key: &SigningKey) -> Self {
        Self::about(component.descriptor(), component.contract(), bytes, key)
    }

    fn about(descriptor: &Descriptor, contract: &str, bytes: &[u8], key: &SigningKey) -> Self {
        let mut manifest = Self {
            id: descriptor.id.clone(),
            version: descriptor.version.clone(),
            contract: contract.to_owned(),
            sha256: hash_of(bytes),
            hosts: descriptor.hosts.clone(),
            secrets: names(descriptor),
            publisher: key.publisher(),
            signature: key.sign(b""),
        };
        manifest.signature = key.sign(&manifest.signed_text());
        manifest
    }

    /// Reads a manifest, without knowing yet whether it holds: that is for [`verify`](Self::verify) to say.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub fn read(text: &str) -> Result<Self, ManifestFault> {
        if text.len() > SIZE_MAX {
            return Err(ManifestFault::Size);
        }
        let said: Written = toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            ManifestFault::Toml(format!("{place}{}", shown(error.message())))
        })?;
        let field = |field, holds: bool, why: &str| match holds {
            true => Ok(()),
            false => Err(ManifestFault::Field { field, why: why.to_owned() }),
        };
        field("id", is_name(&said.id, 64, "-."), "is not 1 to 64 small letters, digits, dashes and dots")?;
        field("version", is_version(&said.version), "is not of the form 1.4.0")?;
        field("contract", is_version(&said.contract), "is not of the form 0.1.1")?;
        field("sha256", is_hash(&said.sha256), "is not 64 hexadecimal digits in small letters")?;
        field("hosts", said.hosts.len() <= COUNT_MAX, "names more than 16")?;
        field("secrets", said.secrets.len() <= COUNT_MAX, "names more than 16")?;
        let names = said.secrets.iter().all(|name| is_name(name, 32, "_"));
        field("secrets", names, "holds a name that is not 1 to 32 small letters, digits and `_`")?;
        let key = |field| move |fault: KeyFault| ManifestFault::Field { field, why: fault.to_string() };
        Ok(Self {
            hosts: DeclaredHosts::read(&said.hosts)?,
            publisher: said.publisher.parse().map_err(key("publisher"))?,
            signature: said.signature.parse().map_err(key("signature"))?,
            id: said.id,
            version: said.version,
            contract: said.contract,
            sha256: said.sha256,
            secrets: said.secrets,
        })
    }

    /// Whether the publisher that it names signed it, and for these bytes: all that can be seen before the component
    /// runs.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub fn verify_bytes(&self, bytes: &[u8]) -> Result<PublisherKey, ManifestFault> {
        // First, since nothing that it says counts without.
        if !self.publisher.signed(&self.signed_text(), &self.signature) {
            return Err(ManifestFault::Signature(self.publisher));
        }
        if !imports::is_known(&self.contract) {
            return Err(ManifestFault::Contract(self.contract.clone()));
        }
        let found = hash_of(bytes);
        if self.sha256 != found {
            return Err(ManifestFault::Bytes { signed: self.sha256.clone(), found });
        }
        Ok(self.publisher)
    }

    /// Who signed it, if it holds for these bytes and for what their component says of itself.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub fn verify(&self, bytes: &[u8], component: &Descriptor) -> Result<PublisherKey, ManifestFault> {
        let publisher = self.verify_bytes(bytes)?;
        let hosts = |hosts: &DeclaredHosts| list(&hosts.names());
        for (field, manifest, component) in [
            ("that its `id` is", self.id.clone(), component.id.clone()),
            ("that its `version` is", self.version.clone(), component.version.clone()),
            ("that it calls", hosts(&self.hosts), hosts(&component.hosts)),
            ("that it needs the secrets", list(&self.secrets), list(&names(component))),
        ] {
            if manifest != component {
                return Err(ManifestFault::Differs { field, manifest, component });
            }
        }
        Ok(publisher)
    }

    /// What is signed: all but the signature. JSON, so that no value can pass for the end of another.
    fn signed_text(&self) -> Vec<u8> {
        let publisher = self.publisher.to_string();
        let all =
            (&self.id, &self.version, &self.contract, &self.sha256, self.hosts.names(), &self.secrets, &publisher);
        let json = serde_json::to_string(&all).expect("texts can be written as JSON");
        format!("{DOMAIN}{json}").into_bytes()
    }
}

/// As `plugin.toml`.
impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = Written {
            id: self.id.clone(),
            version: self.version.clone(),
            contract: self.contract.clone(),
            sha256: self.sha256.clone(),
            hosts: self.hosts.names(),
            secrets: self.secrets.clone(),
            publisher: self.publisher.to_string(),
            signature: self.signature.to_string(),
        };
        f.write_str("# Made by `wotp plugin sign`. Whoever changes anything here has to sign it again.\n")?;
        f.write_str(&toml::to_string(&written).map_err(|_| fmt::Error)?)
    }
}

fn names(descriptor: &Descriptor) -> Vec<String> {
    descriptor.secrets.iter().map(|secret| secret.name.clone()).collect()
}

fn list(items: &[String]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The SHA-256 in hexadecimal digits.
fn hash_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
        text
    })
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The beginning of a stranger's words, on one line.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect()
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
