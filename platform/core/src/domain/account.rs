//! How a tenant's account at a provider stands, as the channel that looked at it says.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Findings that a tenant is told of in one sentence.
const TOLD_MAX: usize = 3;

/// Something that an account needs, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFinding {
    /// What it is, as the provider calls it.
    pub name: String,
    /// How it stands, in the provider's own word where it has one.
    pub state: String,
    /// Whether nothing has to be done about it or waited for.
    pub good: bool,
    /// What that means, and what to do, in words for the tenant; empty where there is nothing to say.
    pub about: String,
}

/// How an account stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStanding {
    /// Whether any message can get out through it, as far as its provider says.
    pub usable: bool,
    /// What was looked at.
    pub findings: Vec<AccountFinding>,
}

impl AccountStanding {
    /// Whether messages can get out.
    ///
    /// # Errors
    /// What keeps them from it, in a sentence.
    pub fn holds(&self) -> Result<(), String> {
        if self.usable {
            return Ok(());
        }
        let wrong: Vec<_> = self.findings.iter().filter(|finding| !finding.good).collect();
        let told =
            wrong.iter().take(TOLD_MAX).map(|AccountFinding { name, state, about, .. }| match about.is_empty() {
                true => format!("{name} is {state}"),
                false => format!("{name} is {state}: {about}"),
            });
        let more = wrong.len().saturating_sub(TOLD_MAX);
        let more = (more > 0).then(|| format!("and {more} more, which `account` of the connection says"));
        let words: Vec<_> = told.chain(more).collect();
        Err(match words.is_empty() {
            true => "the provider lets nothing out through this account".to_owned(),
            false => words.join("; "),
        })
    }
}

/// How an account stood when somebody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChecked {
    /// When that was.
    pub at: Timestamp,
    /// How it stood.
    pub standing: AccountStanding,
    /// Why no more is known than before; none where the provider answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
}

impl AccountChecked {
    /// What is known after a look, or after one that came to nothing: then it is what was known before, and where that is
    /// nothing, messages may get out.
    pub fn next(before: Option<Self>, looked: Result<AccountStanding, String>, at: Timestamp) -> Self {
        match looked {
            Ok(standing) => Self { at, standing, unanswered: None },
            Err(why) => {
                let unknown = || AccountStanding { usable: true, findings: Vec::new() };
                Self { at, standing: before.map_or_else(unknown, |before| before.standing), unanswered: Some(why) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, good: bool, about: &str) -> AccountFinding {
        AccountFinding { name: name.to_owned(), state: "PENDING".to_owned(), good, about: about.to_owned() }
    }

    #[test]
    fn a_look_that_comes_to_nothing_leaves_what_was_known() {
        let at = Timestamp::UNIX_EPOCH;
        let nothing = AccountChecked::next(None, Err("away".to_owned()), at);
        assert_eq!(nothing.standing.holds(), Ok(()));
        let standing = AccountStanding { usable: false, findings: vec![finding("a", false, "wait")] };
        let looked = AccountChecked::next(Some(nothing), Ok(standing.clone()), at);
        assert_eq!((&looked.standing, &looked.unanswered), (&standing, &None));
        let after = AccountChecked::next(Some(looked), Err("away".to_owned()), at);
        assert_eq!((after.standing, after.unanswered.as_deref()), (standing, Some("away")));
    }

    #[test]
    fn what_keeps_messages_from_going_out_is_told_and_nothing_else() {
        let mut standing =
            AccountStanding { usable: true, findings: vec![finding("a", false, "wait"), finding("b", true, "")] };
        assert_eq!(standing.holds(), Ok(()));
        standing.usable = false;
        assert_eq!(standing.holds(), Err("a is PENDING: wait".to_owned()));
        standing.findings.extend((0..4).map(|_| finding("c", false, "")));
        let told = standing.holds().unwrap_err();
        assert_eq!(
            told,
            "a is PENDING: wait; c is PENDING; c is PENDING; and 2 more, which `account` of the connection says"
        );
        assert!(AccountStanding::default().holds().unwrap_err().contains("lets nothing out"));
    }
}
