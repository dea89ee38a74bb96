//! Looking for tenants.

use rusqlite::{Connection, params};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::tenant::Tenant;
use wotp_core::ports::TenantSearch;

use super::fault::Fault;

/// Tenants that `search` finds, oldest first.
///
/// Looked at here and not by SQLite, whose `lower` knows the letters of English only, and which ends a statement at
/// the first document that is no JSON.
pub(super) fn tenants(connection: &Connection, search: &TenantSearch) -> Result<Vec<Tenant>, Fault> {
    // No id is all zeros.
    let after = search.after.map_or([0; 16], TenantId::to_bytes);
    let mut statement = connection.prepare_cached("SELECT id, doc FROM tenant WHERE id > ? ORDER BY id")?;
    let mut rows = statement.query(params![after])?;
    let name = search.name.as_deref().map(folded);
    let mut found = Vec::new();
    while found.len() < search.limit
        && let Some(row) = rows.next()?
    {
        let tenant: Option<Tenant> = row.get_ref(1)?.as_str().ok().and_then(|doc| serde_json::from_str(doc).ok());
        let Some(tenant) = tenant else {
            let id = row.get::<_, [u8; 16]>(0).map(|id| TenantId::from_bytes(id).to_string()).unwrap_or_default();
            tracing::error!(id, "a tenant cannot be read; it is passed over");
            continue;
        };
        let found_by = name.as_ref().is_none_or(|name| folded(&tenant.name).contains(name))
            && search.plan.as_ref().is_none_or(|plan| tenant.plan == *plan)
            && search.state.is_none_or(|state| tenant.standing.name() == state);
        if found_by {
            found.push(tenant);
        }
    }
    Ok(found)
}

/// A text without its cases, letter by letter, as MongoDB compares them: of a letter whose other case is several it
/// knows none.
fn folded(text: &str) -> String {
    let fold = |letter: char| {
        let upper = only(letter.to_uppercase()).unwrap_or(letter);
        only(upper.to_lowercase()).unwrap_or(upper)
    };
    text.chars().map(fold).collect()
}

fn only(mut letters: impl ExactSizeIterator<Item = char>) -> Option<char> {
    if letters.len() == 1 { letters.next() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_script_have_no_case() {
        for (one, other) in [("ÜNÏ", "ünï"), ("ΟΔΟΣ", "οδος"), ("ЖУК", "жук"), ("straße", "STRAẞE")]
        {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("Straße"), folded("STRASSE"));
    }
}
