use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// An issuer of OpenID Connect that people may sign in with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Its name in the API.
    pub name: String,
    /// Its name for people; empty means the name.
    #[serde(default)]
    pub display_name: String,
    /// Its issuer identifier.
    pub issuer: String,
    /// What it knows us by.
    pub client_id: String,
    /// File that holds the client's secret and nothing else; a relative one lies in the data folder.
    pub client_secret_file: String,
    /// The pages that people may come back to; the first is the usual one.
    pub redirect_uris: Vec<String>,
}

impl Oidc {
    /// As it stands in the reference.
    pub(super) fn example() -> Self {
        Self {
            name: "google".to_owned(),
            display_name: "Google".to_owned(),
            issuer: "https://accounts.google.com".to_owned(),
            client_id: "1234567890-abc.apps.googleusercontent.com".to_owned(),
            client_secret_file: "google.secret".to_owned(),
            redirect_uris: vec!["https://app.example.com/signed-in".to_owned()],
        }
    }
}

/// What does not hold of them, and what would be right.
pub(super) fn complaints(providers: &[Oidc]) -> Vec<(String, &'static str)> {
    let mut complaints = Vec::new();
    let mut names = BTreeSet::new();
    for Oidc { name, client_id, client_secret_file, redirect_uris, .. } in providers {
        let plain = (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        // It is a part of a path beside this name.
        if !plain || name == "complete" {
            let right = "write 1 to 32 small letters, digits and dashes, as in google, and not `complete`";
            complaints.push((format!("`{name}` is no name of a provider"), right));
        }
        if !names.insert(name) {
            complaints.push((format!("there are two providers `{name}`"), "give each a name of its own"));
        }
        if client_id.is_empty() || client_secret_file.is_empty() {
            let problem = format!("`{name}` lacks client_id or client_secret_file");
            complaints.push((problem, "register an application with the provider, which gives both"));
        }
        if redirect_uris.is_empty() || !redirect_uris.iter().all(|page| is_page(page)) {
            let right = "write pages as in https://app.example.com/signed-in; plain http only for localhost";
            complaints.push((format!("the redirect_uris of `{name}` are no pages to come back to"), right));
        }
    }
    complaints
}

/// Whether a provider may send people there: over TLS, or on their own machine. Source: RFC 8252, section 8.3.
fn is_page(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let host = uri.authority().filter(|authority| !authority.as_str().contains('@')).map(|authority| authority.host());
    match (uri.scheme_str(), host) {
        (Some("https"), Some(_)) => !text.contains('#'),
        (Some("http"), Some(host)) => matches!(host, "localhost" | "127.0.0.1" | "[::1]") && !text.contains('#'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_complaint(change: impl FnOnce(&mut Oidc), words: &str) {
        let mut provider = Oidc::example();
        change(&mut provider);
        let complaints = complaints(&[provider]);
        assert!(matches!(&complaints[..], [(problem, _)] if problem.contains(words)), "{complaints:?}");
    }

    #[test]
    fn what_does_not_hold_is_said() {
        assert!(complaints(&[Oidc::example()]).is_empty());
        for name in ["", "Google", "a/b", "complete"] {
            assert_complaint(|provider| provider.name = name.to_owned(), "no name of a provider");
        }
        assert_complaint(|provider| provider.client_id.clear(), "lacks client_id");
        assert_complaint(|provider| provider.redirect_uris.clear(), "no pages");
        for page in [
            "http://app.example.com/a",
            "app.example.com",
            "https://a@b.example/",
            "https://a.example/#b",
            "javascript:a",
        ] {
            assert_complaint(|provider| provider.redirect_uris = vec![page.to_owned()], "no pages");
        }
        assert_eq!(complaints(&[Oidc::example(), Oidc::example()]).len(), 1, "one name for two");
    }
}
