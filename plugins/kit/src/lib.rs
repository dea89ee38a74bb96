//! Write a channel for WOTP in Rust.
//!
//! A plugin is a type that implements [`Plugin`], handed to [`plugin!`]. Its settings are a type of its own that
//! [`serde`] reads: what does not fit is told to the operator before the plugin is asked.
//!
//! ```
//! use serde::Deserialize;
//! use wotp_plugin_kit::http::{Call, Method};
//! use wotp_plugin_kit::{AddressKind, DeliveryError, Descriptor, Message, Plugin, Receipt, SecretPlaces, SecretUse};
//!
//! struct Example;
//!
//! #[derive(Deserialize)]
//! struct Config {
//!     sender: String,
//! }
//!
//! impl Plugin for Example {
//!     type Config = Config;
//!
//!     fn describe() -> Descriptor {
//!         let token = SecretUse {
//!             name: "token".into(),
//!             about: "From the page of your account.".into(),
//!             places: SecretPlaces::HEADER,
//!             optional: false,
//!         };
//!         Descriptor {
//!             id: "example.sms".into(),
//!             name: "Example SMS".into(),
//!             version: env!("CARGO_PKG_VERSION").into(),
//!             reaches: vec![AddressKind::Phone],
//!             config_schema: r#"{"type":"object","required":["sender"],"properties":{"sender":{"type":"string"}}}"#.into(),
//!             hosts: vec!["api.example.com".into()],
//!             secrets: vec![token],
//!             idempotent: false,
//!         }
//!     }
//!
//!     fn deliver(message: &Message, config: Config) -> Result<Receipt, DeliveryError> {
//!         let token = wotp_plugin_kit::secret("token").unwrap_or_default();
//!         let sms = serde_json::json!({ "from": config.sender, "to": message.to, "text": message.text });
//!         let answer = Call::new(Method::Post, "https://api.example.com/sms")
//!             .header("authorization", format!("Bearer {token}"))
//!             .json(&sms)
//!             .send()?;
//!         match answer.status {
//!             200..=299 => Ok(wotp_plugin_kit::sent(None)),
//!             status => Err(DeliveryError::Rejected(format!("HTTP {status}"))),
//!         }
//!     }
//! }
//!
//! wotp_plugin_kit::plugin!(Example);
//! ```

pub mod http;

use serde::de::DeserializeOwned;

/// The contract, as it is generated from `plugins/wit`.
#[doc(hidden)]
#[allow(missing_docs, reason = "the text is in the WIT")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "channel-plugin",
        pub_export_macro: true,
        default_bindings_module: "wotp_plugin_kit::bindings",
    });
}

/// What came to the contract with 0.1.1.
#[doc(hidden)]
#[allow(missing_docs, reason = "the text is in the WIT")]
pub mod hearing {
    wit_bindgen::generate!({
        path: "../wit",
        world: "hearing-plugin",
        pub_export_macro: true,
        default_bindings_module: "wotp_plugin_kit::hearing",
        with: {
            "wotp:channel/http@0.1.4": crate::bindings::wotp::channel::http,
            "wotp:channel/host@0.1.4": crate::bindings::wotp::channel::host,
        },
    });
}

/// What came to the contract with 0.1.2, of what providers have to be asked.
#[doc(hidden)]
#[allow(missing_docs, reason = "the text is in the WIT")]
pub mod asking {
    wit_bindgen::generate!({
        path: "../wit",
        world: "asking-plugin",
        pub_export_macro: true,
        default_bindings_module: "wotp_plugin_kit::asking",
        with: {
            "wotp:channel/types@0.1.4": crate::bindings::wotp::channel::types,
            "wotp:channel/http@0.1.4": crate::bindings::wotp::channel::http,
            "wotp:channel/host@0.1.4": crate::bindings::wotp::channel::host,
            "wotp:channel/receipts@0.1.4": crate::hearing::wotp::channel::receipts,
        },
    });
}

/// What came to the contract with 0.1.2, of what providers are asked beforehand.
#[doc(hidden)]
#[allow(missing_docs, reason = "the text is in the WIT")]
pub mod probing {
    wit_bindgen::generate!({
        path: "../wit",
        world: "probing-plugin",
        pub_export_macro: true,
        default_bindings_module: "wotp_plugin_kit::probing",
        with: {
            "wotp:channel/types@0.1.4": crate::bindings::wotp::channel::types,
            "wotp:channel/http@0.1.4": crate::bindings::wotp::channel::http,
            "wotp:channel/host@0.1.4": crate::bindings::wotp::channel::host,
        },
    });
}

/// What came to the contract with 0.1.3, of what is taken back.
#[doc(hidden)]
#[allow(missing_docs, reason = "the text is in the WIT")]
pub mod revoking {
    wit_bindgen::generate!({
        path: "../wit",
        world: "revoking-plugin",
        pub_export_macro: true,
        default_bindings_module: "wotp_plugin_kit::revoking",
        with: {
            "wotp:channel/types@0.1.4": crate::bindings::wotp::channel::types,
            "wotp:channel/http@0.1.4": crate::bindings::wotp::channel::http,
            "wotp:channel/host@0.1.4": crate::bindings::wotp::channel::host,
        },
    });
}

/// What came to the contract with 0.1.4, of the account at the provider.
#[doc(hidden)]
#[allow(missing_docs, reason = "the text is in the WIT")]
pub mod checking {
    wit_bindgen::generate!({
        path: "../wit",
        world: "checking-plugin",
        pub_export_macro: true,
        default_bindings_module: "wotp_plugin_kit::checking",
        with: {
            "wotp:channel/http@0.1.4": crate::bindings::wotp::channel::http,
            "wotp:channel/host@0.1.4": crate::bindings::wotp::channel::host,
        },
    });
}

pub use asking::exports::wotp::channel::status::{Again, Answer as Standing, Query, Trouble};
pub use bindings::exports::wotp::channel::delivery::{DeliveryError, Descriptor, Message, Receipt};
pub use bindings::wotp::channel::host::{Level, log, now_milliseconds, random, secret};
pub use bindings::wotp::channel::types::{AddressKind, Cost, Pause, Progress, SecretPlaces, SecretUse};
pub use checking::exports::wotp::channel::account::{Finding, Report, Trouble as Unchecked};
pub use checking::wotp::channel::notices::account_changed;
pub use hearing::exports::wotp::channel::webhook::{Call as HookCall, Receipt as Told, Refusal};
pub use hearing::wotp::channel::callback::{reference, url as callback_url};
pub use hearing::wotp::channel::receipts::{Failure, Fate};
pub use hearing::wotp::channel::signatures::{Algorithm, Key, verify};
pub use probing::exports::wotp::channel::probe::Answer as Reachable;
pub use probing::wotp::channel::probed::token as probed_token;
pub use revoking::exports::wotp::channel::revoke::{Sent, Trouble as Kept};

/// A way to reach people.
pub trait Plugin {
    /// Its settings. `serde_json::Value` takes whatever the schema allows.
    type Config: DeserializeOwned;

    /// What it is: the same each time.
    fn describe() -> Descriptor;

    /// Whether it can work with these settings, beyond what schema and type say.
    ///
    /// # Errors
    /// What is wrong, in sentences for the operator.
    fn validate(config: &Self::Config) -> Result<(), Vec<String>> {
        _ = config;
        Ok(())
    }

    /// Hands one message to the provider and waits for its acknowledgement.
    ///
    /// # Errors
    /// [`DeliveryError`], which says what to do next.
    fn deliver(message: &Message, config: Self::Config) -> Result<Receipt, DeliveryError>;
}

/// A way to reach people whose provider tells later how a message fares.
///
/// While it delivers, [`callback_url`] is what to tell the provider to call, and [`reference`] what to have it hand back
/// where it calls one URL for all.
pub trait Hearing: Plugin {
    /// Sees that a call is the provider's, with [`verify`] where it signs, and says what it tells.
    ///
    /// # Errors
    /// [`Refusal`]: anybody can call.
    fn receive(call: &HookCall, config: Self::Config) -> Result<Vec<Told>, Refusal>;
}

/// A way to reach people whose provider has to be asked how a message fares.
pub trait Asking: Plugin {
    /// Asks the provider how a message fares that was sent.
    ///
    /// # Errors
    /// [`Trouble`], which says whether to ask again.
    fn poll(query: &Query, config: Self::Config) -> Result<Standing, Trouble>;
}

/// A way to reach people whose provider says beforehand whether somebody can be reached.
pub trait Probing: Plugin {
    /// Whether whom this message goes to can be reached now. What the provider gives along comes to
    /// [`Plugin::deliver`] as [`probed_token`].
    fn reachable(message: &Message, config: Self::Config) -> Reachable;
}

/// A way to reach people whose provider takes back what it sent.
pub trait Revoking: Plugin {
    /// Asks the provider to take a message back, since its verification was canceled.
    ///
    /// # Errors
    /// [`Kept`], which says whether to ask again.
    fn take_back(sent: &Sent, config: Self::Config) -> Result<(), Kept>;
}

/// A way to reach people whose provider says how the account stands.
///
/// Where a provider tells by [`Hearing::receive`] that the account is not as it was, [`account_changed`] has it looked at.
pub trait Checking: Plugin {
    /// Looks at the account, and makes there what it lacks where the settings ask for that. What is there already is left as
    /// it is.
    ///
    /// # Errors
    /// [`Unchecked`], where the account cannot be looked at.
    fn check(config: Self::Config) -> Result<Report, Unchecked>;
}

/// Makes a type that implements [`Plugin`] the plugin that this crate is; behind it stands what else it implements:
/// `hearing`, `asking`, `probing`, `revoking` or `checking`, for [`Hearing`], [`Asking`], [`Probing`], [`Revoking`] and
/// [`Checking`]. The crate's type is `cdylib`.
#[macro_export]
macro_rules! plugin {
    (@also $plugin:ty, asking) => {
        impl $crate::asking::exports::wotp::channel::status::Guest for WotpPlugin {
            fn poll(query: $crate::Query) -> ::std::result::Result<$crate::Standing, $crate::Trouble> {
                $crate::poll::<$plugin>(&query)
            }
        }

        $crate::asking::export!(WotpPlugin with_types_in $crate::asking);
    };
    (@also $plugin:ty, probing) => {
        impl $crate::probing::exports::wotp::channel::probe::Guest for WotpPlugin {
            fn reachable(message: $crate::Message) -> $crate::Reachable {
                $crate::reachable::<$plugin>(&message)
            }
        }

        $crate::probing::export!(WotpPlugin with_types_in $crate::probing);
    };
    (@also $plugin:ty, revoking) => {
        impl $crate::revoking::exports::wotp::channel::revoke::Guest for WotpPlugin {
            fn take_back(sent: $crate::Sent) -> ::std::result::Result<(), $crate::Kept> {
                $crate::take_back::<$plugin>(&sent)
            }
        }

        $crate::revoking::export!(WotpPlugin with_types_in $crate::revoking);
    };
    (@also $plugin:ty, checking) => {
        impl $crate::checking::exports::wotp::channel::account::Guest for WotpPlugin {
            fn check(config: ::std::string::String) -> ::std::result::Result<$crate::Report, $crate::Unchecked> {
                $crate::check::<$plugin>(&config)
            }
        }

        $crate::checking::export!(WotpPlugin with_types_in $crate::checking);
    };
    (@also $plugin:ty, hearing) => {
        impl $crate::hearing::exports::wotp::channel::webhook::Guest for WotpPlugin {
            fn receive(call: $crate::HookCall) -> ::std::result::Result<::std::vec::Vec<$crate::Told>, $crate::Refusal> {
                $crate::receive::<$plugin>(&call)
            }
        }

        $crate::hearing::export!(WotpPlugin with_types_in $crate::hearing);
    };
    ($plugin:ty $(, $also:ident)*) => {
        struct WotpPlugin;

        impl $crate::bindings::exports::wotp::channel::delivery::Guest for WotpPlugin {
            fn describe() -> $crate::Descriptor {
                <$plugin as $crate::Plugin>::describe()
            }

            fn validate(config: ::std::string::String) -> ::std::result::Result<(), ::std::vec::Vec<::std::string::String>> {
                $crate::validate::<$plugin>(&config)
            }

            fn deliver(message: $crate::Message) -> ::std::result::Result<$crate::Receipt, $crate::DeliveryError> {
                $crate::deliver::<$plugin>(&message)
            }
        }

        $crate::bindings::export!(WotpPlugin with_types_in $crate::bindings);

        $($crate::plugin!(@also $plugin, $also);)*
    };
}

/// The message was taken, under this name of the provider's own.
pub fn sent(provider_id: Option<String>) -> Receipt {
    Receipt { provider_id, progress: Progress::Sent, cost: None }
}

/// What [`plugin!`] makes of [`Plugin::validate`].
#[doc(hidden)]
pub fn validate<P: Plugin>(config: &str) -> Result<(), Vec<String>> {
    match serde_json::from_str(config) {
        Ok(config) => P::validate(&config),
        Err(error) => Err(vec![error.to_string()]),
    }
}

/// What [`plugin!`] makes of [`Plugin::deliver`].
#[doc(hidden)]
pub fn deliver<P: Plugin>(message: &Message) -> Result<Receipt, DeliveryError> {
    match serde_json::from_str(&message.config) {
        Ok(config) => P::deliver(message, config),
        Err(error) => Err(DeliveryError::Misconfigured(error.to_string())),
    }
}

/// What [`plugin!`] makes of [`Hearing::receive`].
#[doc(hidden)]
pub fn receive<P: Hearing>(call: &HookCall) -> Result<Vec<Told>, Refusal> {
    match serde_json::from_str(&call.config) {
        Ok(config) => P::receive(call, config),
        Err(error) => Err(Refusal::Unreadable(error.to_string())),
    }
}

/// What [`plugin!`] makes of [`Asking::poll`].
#[doc(hidden)]
pub fn poll<P: Asking>(query: &Query) -> Result<Standing, Trouble> {
    match serde_json::from_str(&query.config) {
        Ok(config) => P::poll(query, config),
        Err(error) => Err(Trouble::Misconfigured(error.to_string())),
    }
}

/// What [`plugin!`] makes of [`Probing::reachable`].
#[doc(hidden)]
pub fn reachable<P: Probing>(message: &Message) -> Reachable {
    match serde_json::from_str(&message.config) {
        Ok(config) => P::reachable(message, config),
        Err(error) => Reachable::Unknown(error.to_string()),
    }
}

/// What [`plugin!`] makes of [`Revoking::take_back`].
#[doc(hidden)]
pub fn take_back<P: Revoking>(sent: &Sent) -> Result<(), Kept> {
    match serde_json::from_str(&sent.config) {
        Ok(config) => P::take_back(sent, config),
        Err(error) => Err(Kept::Misconfigured(error.to_string())),
    }
}

/// What [`plugin!`] makes of [`Checking::check`].
#[doc(hidden)]
pub fn check<P: Checking>(config: &str) -> Result<Report, Unchecked> {
    match serde_json::from_str(config) {
        Ok(config) => P::check(config),
        Err(error) => Err(Unchecked::Misconfigured(error.to_string())),
    }
}
