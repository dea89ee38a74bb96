//! What Meta's words for how a template stands mean, and what to do. Source: developers.facebook.com/documentation/
//! business-messaging/whatsapp/templates, its pages on template review, quality and pausing.

use wotp_plugin_kit::Finding;

use crate::templates::Template;

/// Where templates are edited and appealed.
const MANAGER: &str = "WhatsApp Manager";

/// How a template stands, and whether messages go out with it.
pub(crate) fn of(name: String, template: &Template) -> (Finding, bool) {
    let found = |good, about: String| Finding { name, state: template.status.clone(), good, about };
    if !template.category.is_empty() && template.category != "AUTHENTICATION" {
        let about = format!(
            "it is of the category {}, and codes go out with one of AUTHENTICATION only: write the name of another in `template`",
            template.category
        );
        return (found(false, about), false);
    }
    let finding = match template.status.as_str() {
        "APPROVED" => {
            let score = template.quality_score.as_ref().map(|quality| quality.score.as_str());
            return (
                match score {
                    Some("RED") => found(
                        false,
                        "codes go out with it, but people block or report it: its quality is low, and Meta may pause it"
                            .to_owned(),
                    ),
                    Some("YELLOW") => found(true, "its quality is medium: people began to block or report it".to_owned()),
                    _ => found(true, String::new()),
                },
                true,
            );
        }
        "PENDING" | "IN_APPEAL" => found(
            false,
            "Meta looks at it, which takes minutes as a rule and a day at most. Until then codes in this language go to the \
             next channel"
                .to_owned(),
        ),
        "REJECTED" => {
            let reason = template.rejected_reason.as_deref().filter(|reason| !matches!(*reason, "" | "NONE"));
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            found(
                false,
                format!("Meta rejected it{reason}: edit or appeal it in {MANAGER}, or write another name in `template`"),
            )
        }
        "PAUSED" => found(
            false,
            "Meta paused it, since people blocked or reported it. It goes on by itself after some hours; the third time Meta \
             switches it off"
                .to_owned(),
        ),
        "DISABLED" => found(
            false,
            format!("Meta switched it off for its quality or for a rule: appeal in {MANAGER}, or write another name in `template`"),
        ),
        "PENDING_DELETION" | "DELETED" => found(
            false,
            "it is being deleted, and there can be no new one of this name for 30 days: write another name in `template`"
                .to_owned(),
        ),
        "ARCHIVED" => found(false, format!("it is archived: take it out of the archive in {MANAGER}")),
        "LIMIT_EXCEEDED" => found(
            false,
            format!("the account has as many templates as it may: delete others in {MANAGER}"),
        ),
        other => found(false, format!("Meta says that it is {other}: look at it in {MANAGER}")),
    };
    (finding, false)
}

/// There is none, and none is made.
pub(crate) fn missing(name: String) -> Finding {
    not_made(
        name,
        "MISSING",
        "there is none in this language: write `create` in the settings and WOTP makes it, make it in WhatsApp Manager, or \
         take the language out of `languages`",
    )
}

/// There is none that anything is known of.
pub(crate) fn not_made(name: String, state: &str, about: &str) -> Finding {
    Finding { name, state: state.to_owned(), good: false, about: about.to_owned() }
}

/// Nobody can look.
pub(crate) fn not_looked_at(template: &str) -> Finding {
    let about = "write `business_account_id` in the settings, the id of the WhatsApp Business Account, and it is said here \
                 whether Meta has approved the template; with `create` it is made as well";
    Finding { name: template.to_owned(), state: "NOT_LOOKED_AT".to_owned(), good: true, about: about.to_owned() }
}

/// Nobody may look.
pub(crate) fn may_not_be_looked_at(template: &str, why: &str) -> Finding {
    let about = format!("codes go out if the template is approved, which nobody can see here: {why}");
    not_made(template.to_owned(), "NOT_LOOKED_AT", &about)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(more: Value) -> (Finding, bool) {
        let mut template =
            json!({ "name": "code", "language": "en_US", "status": "APPROVED", "category": "AUTHENTICATION" });
        template.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of("code, en_US".to_owned(), &serde_json::from_value(template).unwrap())
    }

    #[test]
    fn what_meta_says_of_a_template_is_told_with_what_to_do() {
        for (more, good, usable, words) in [
            (json!({}), true, true, ""),
            (json!({ "quality_score": { "score": "GREEN", "date": 1 } }), true, true, ""),
            (json!({ "quality_score": { "score": "YELLOW" } }), true, true, "medium"),
            (json!({ "quality_score": { "score": "RED" } }), false, true, "quality is low"),
            (json!({ "status": "PENDING" }), false, false, "a day at most"),
            (
                json!({ "status": "REJECTED", "rejected_reason": "INVALID_FORMAT" }),
                false,
                false,
                "(INVALID_FORMAT): edit",
            ),
            (json!({ "status": "REJECTED", "rejected_reason": "NONE" }), false, false, "rejected it: edit"),
            (json!({ "status": "PAUSED" }), false, false, "goes on by itself"),
            (json!({ "status": "DISABLED" }), false, false, "appeal"),
            (json!({ "status": "PENDING_DELETION" }), false, false, "another name"),
            (json!({ "status": "SOMETHING_NEW" }), false, false, "SOMETHING_NEW"),
            (json!({ "category": "UTILITY" }), false, false, "of the category UTILITY"),
        ] {
            let (finding, is_usable) = said(more.clone());
            assert_eq!((finding.good, is_usable), (good, usable), "{more}");
            assert!(
                finding.about.contains(words) && finding.about.is_empty() == words.is_empty(),
                "{more}: {}",
                finding.about
            );
            assert!(finding.about.len() <= 400, "{more}");
        }
    }
}
