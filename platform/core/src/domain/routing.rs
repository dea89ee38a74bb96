//! Which channels are tried, and in which order.

use super::address::AddressKind;

/// A channel that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its name, as in `email`.
    pub name: String,
    /// The kinds of address that it reaches.
    pub reaches: Vec<AddressKind>,
    /// How many sends it takes at once by itself; 0, when the workers' seats bound it.
    pub own_room: usize,
}

/// Why there is no way to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// A channel was asked for by a name that does not exist here.
    #[error("there is no channel `{name}` here; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// None of them reaches this kind of address.
    #[error("no channel here reaches {article} {kind} address; {advice}")]
    NoChannel {
        /// The kind of address.
        kind: AddressKind,
        /// `a` or `an`.
        article: &'static str,
        /// What to do about it.
        advice: String,
    },
}

/// The channels for one address: those the call names, else those of the service, else all that
/// are there; of them the ones that reach this kind of address, each once, in order.
///
/// # Errors
/// [`RoutingError`] when the call names an unknown channel, or none is left.
pub fn route(
    call: &[String],
    service: &[String],
    available: &[ChannelInfo],
    kind: AddressKind,
) -> Result<Vec<String>, RoutingError> {
    let find = |name: &str| available.iter().find(|channel| channel.name == name);
    let known = || available.iter().map(|channel| channel.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = call.iter().find(|name| find(name).is_none()) {
        return Err(RoutingError::Unknown { name: name.clone(), known: known() });
    }
    let wanted: Vec<&str> = if !call.is_empty() {
        call.iter().map(String::as_str).collect()
    } else if !service.is_empty() {
        service.iter().map(String::as_str).collect()
    } else {
        available.iter().map(|channel| channel.name.as_str()).collect()
    };
    let mut route: Vec<String> = Vec::with_capacity(wanted.len());
    for name in wanted {
        let reaches = find(name).is_some_and(|channel| channel.reaches.contains(&kind));
        if reaches && !route.iter().any(|other| other == name) {
            route.push(name.to_owned());
        }
    }
    if !route.is_empty() {
        return Ok(route);
    }
    let advice = if available.is_empty() {
        "the operator has not set up any channel".to_owned()
    } else if call.is_empty() {
        format!("set `channels` of the service, or set up a channel that does; there are: {}", known())
    } else {
        format!("leave out `channels`, or name one that does; there are: {}", known())
    };
    let article = if kind == AddressKind::Email { "an" } else { "a" };
    Err(RoutingError::NoChannel { kind, article, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available() -> Vec<ChannelInfo> {
        let channel = |name: &str, reaches: &[AddressKind]| ChannelInfo {
            name: name.to_owned(),
            reaches: reaches.to_vec(),
            own_room: 0,
        };
        vec![channel("console", &[AddressKind::Phone, AddressKind::Email]), channel("email", &[AddressKind::Email])]
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_call_goes_before_the_service_and_the_service_before_all() {
        let route = |call: &[&str], service: &[&str]| {
            route(&names(call), &names(service), &available(), AddressKind::Email).unwrap()
        };
        assert_eq!(route(&["email"], &["console"]), ["email"]);
        assert_eq!(route(&[], &["email", "console", "email"]), ["email", "console"]);
        assert_eq!(route(&[], &[]), ["console", "email"]);
    }

    #[test]
    fn a_service_may_list_channels_that_are_not_there_yet() {
        assert_eq!(
            route(&[], &names(&["whatsapp", "console"]), &available(), AddressKind::Phone).unwrap(),
            ["console"]
        );
    }

    #[test]
    fn a_dead_end_says_what_would_help() {
        let error = route(&names(&["sms"]), &[], &available(), AddressKind::Phone).unwrap_err();
        assert_eq!(error.to_string(), "there is no channel `sms` here; there are: console, email");
        let error = route(&names(&["email"]), &[], &available(), AddressKind::Phone).unwrap_err();
        assert!(
            error.to_string().starts_with("no channel here reaches a phone address; leave out `channels`"),
            "{error}"
        );
    }
}
