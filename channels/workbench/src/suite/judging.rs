//! What a plugin may say of what its provider did, and why it may say nothing else.

use wotp_channel_wasm::{Reachable, Said};
use wotp_core::domain::account::AccountStanding;
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::{DeliveryStatus, Receipt};
use wotp_core::ports::{Standing, Unchecked};

/// What a provider did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    /// Took the message.
    Took,
    /// Refused the request: an HTTP status from 400 to 499.
    Refused(u16),
    /// Asked to wait for so many seconds.
    Busy(i64),
    /// Failed: an HTTP status from 500 on.
    Failed(u16),
    /// Said with a status of success something that is no answer of any provider's.
    Mumbled,
    /// Took the request and gave no whole answer.
    Vanished,
    /// Was not there.
    Away,
}

/// Whether something may be said, and what better were said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Why it may not.
    pub why: Option<&'static str>,
    /// What the author should know, though it may.
    pub advice: Option<&'static str>,
}

const FINE: Judged = Judged { why: None, advice: None };

fn wrong(why: &'static str) -> Judged {
    Judged { why: Some(why), advice: None }
}

/// What is to be held of what was said of the account.
pub(crate) fn looked(looked: &Result<AccountStanding, Unchecked>) -> Judged {
    match looked {
        Err(Unchecked::BrokeDown(_)) => wrong("a plugin has to end by itself and say that it does not know"),
        _ => FINE,
    }
}

/// Two codes are worse than one from another channel.
const TWICE: &str = "the message may have got out, and `temporary` sends it again, so that somebody gets two codes; say \
                     `unknown`, or declare `idempotent` if the provider takes one `message.id` for one message";

/// What is to be held of what was said. `idempotent` is whether the provider takes one message for one.
pub(crate) fn judged(did: Did, said: &Said, idempotent: bool) -> Judged {
    match (said, did) {
        (Said::Stopped(_), _) => wrong("a plugin has to end by itself and say what became of the message"),
        (Said::Acknowledged(_), Did::Took) => FINE,
        (Said::Acknowledged(_), Did::Mumbled) => Judged {
            why: None,
            advice: Some(
                "any answer with that status passes for `sent`; where your provider names the message in its answer, \
                 look for that",
            ),
        },
        (Said::Acknowledged(_), _) => wrong("the provider did not say that it took the message, so it is not sent"),
        (_, Did::Took) => wrong(
            "the provider took the message, so it is `sent`; if yours answers otherwise when it does, write what it \
             answers for `--script`",
        ),
        (Said::InvalidRecipient(_), Did::Refused(400 | 404)) => Judged {
            why: None,
            advice: Some(
                "without a word of the provider's that nobody has the number, `rejected` says less than you do not know",
            ),
        },
        (Said::InvalidRecipient(_), _) => wrong("nothing of that tells that nobody has the address"),
        (Said::Rejected(_) | Said::Misconfigured(_), Did::Refused(_)) => FINE,
        (Said::Temporary { .. }, Did::Refused(_)) => wrong(
            "the same request is refused again; say `misconfigured` or `rejected`, so that another channel is tried",
        ),
        (Said::Unknown(_), Did::Refused(_)) => Judged {
            why: None,
            advice: Some(
                "the provider said no, so the outcome is known: `rejected` or `misconfigured` tell the operator more",
            ),
        },
        (Said::Temporary { after, .. }, Did::Busy(seconds)) if after.as_secs() < seconds => {
            wrong("the provider said in `Retry-After` how long to wait, and this is shorter")
        }
        (Said::Temporary { .. }, Did::Busy(_)) => FINE,
        (_, Did::Busy(_)) => wrong(
            "the provider asks to wait: say `temporary` with the seconds of `Retry-After`, and the message comes again",
        ),
        (Said::Misconfigured(_), Did::Failed(_) | Did::Mumbled | Did::Vanished | Did::Away) => {
            wrong("nothing of that tells that settings or credentials are wrong, and an operator would look for that")
        }
        // Nothing was sent, or a proxy said that nobody is behind it.
        (Said::Temporary { .. } | Said::Unknown(_) | Said::Rejected(_), Did::Away | Did::Failed(503)) => FINE,
        (Said::Temporary { .. }, Did::Failed(_) | Did::Mumbled | Did::Vanished) if !idempotent => wrong(TWICE),
        (
            Said::Temporary { .. } | Said::Unknown(_) | Said::Rejected(_),
            Did::Failed(_) | Did::Mumbled | Did::Vanished,
        ) => FINE,
    }
}

const ENDS: &str = "a plugin has to end by itself, whatever its provider answers";
const SHORTER: &str = "the provider said in `Retry-After` how long to wait, and this is shorter";

/// What is to be held of what was said of whether somebody can be reached.
pub(crate) fn reachable(did: Did, said: &Reachable) -> Judged {
    match (said, did) {
        (Reachable::Stopped(_), _) => wrong(ENDS),
        (Reachable::Unknown(_), _) | (Reachable::Yes(_), Did::Took) => FINE,
        (Reachable::No(_), Did::Took) => {
            wrong("if yours answers otherwise to somebody who can be reached, write what it answers for `--script`")
        }
        (Reachable::No(_), Did::Refused(400 | 404)) => Judged {
            why: None,
            advice: Some(
                "without a word of the provider's that nobody is there, `unknown` has the message sent at least",
            ),
        },
        (Reachable::No(_), _) => {
            wrong("nothing of that tells that nobody is there: say `unknown`, and the message is sent all the same")
        }
        (Reachable::Yes(_), _) => {
            wrong("the provider did not say so: say `unknown`, and the message is sent all the same")
        }
    }
}

/// What is to be held of what was said of how a message fares.
pub(crate) fn standing(did: Did, Standing { receipt, again }: Standing) -> Judged {
    let is_news = matches!(receipt, Some(Receipt::Delivered | Receipt::Read | Receipt::Failed(_)));
    match (did, again) {
        (_, Again::BrokeDown) => wrong(ENDS),
        (Did::Took, _) => FINE,
        _ if is_news => wrong("the provider did not say what became of the message"),
        (Did::Refused(_), _) => FINE,
        (Did::Busy(seconds), Again::After(pause)) if pause.as_secs() < seconds => wrong(SHORTER),
        (Did::Busy(_), Again::AsPlanned) => Judged {
            why: None,
            advice: Some("the provider asks to wait: `temporary` with the seconds of `Retry-After` does"),
        },
        (_, Again::Never) => {
            wrong("nothing of that tells that there will be no news, and nobody asks again: say `temporary` or `later`")
        }
        _ => FINE,
    }
}

/// What is to be held of what came of taking a message back.
pub(crate) fn revoked(did: Did, again: Again) -> Judged {
    match (did, again) {
        (_, Again::BrokeDown) => wrong(ENDS),
        (Did::Took | Did::Refused(_), _) => FINE,
        (Did::Busy(seconds), Again::After(pause)) if pause.as_secs() < seconds => wrong(SHORTER),
        (Did::Mumbled, Again::Never) => Judged {
            why: None,
            advice: Some("any answer with that status passes for a message that is taken back, or cannot be"),
        },
        (_, Again::Never) => wrong(
            "the provider said neither that it takes the message back nor that it cannot: say `temporary`, and it is \
             asked again",
        ),
        _ => FINE,
    }
}

/// What was said, by the contract's names, with the reason.
pub fn shown(said: &Said) -> String {
    match said {
        Said::Acknowledged(acknowledged) => {
            let reached = if acknowledged.reached == DeliveryStatus::Delivered { "delivered" } else { "sent" };
            match &acknowledged.provider_id {
                Some(id) => format!("{reached}, under the name {id}"),
                None => reached.to_owned(),
            }
        }
        Said::InvalidRecipient(detail) => format!("invalid-recipient: {detail}"),
        Said::Rejected(detail) => format!("rejected: {detail}"),
        Said::Misconfigured(detail) => format!("misconfigured: {detail}"),
        Said::Temporary { after, detail } => format!("temporary, {} s: {detail}", after.as_secs()),
        Said::Unknown(detail) => format!("unknown: {detail}"),
        Said::Stopped(detail) => format!("nothing: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use wotp_core::ports::Acknowledged;

    use super::*;

    fn sent() -> Said {
        Said::Acknowledged(Acknowledged { provider_id: None, reached: DeliveryStatus::Sent, cost: None })
    }

    fn temporary(seconds: i64) -> Said {
        Said::Temporary { after: SignedDuration::from_secs(seconds), detail: String::new() }
    }

    const ALL: [Did; 11] = [
        Did::Took,
        Did::Refused(400),
        Did::Refused(401),
        Did::Refused(403),
        Did::Refused(404),
        Did::Busy(7),
        Did::Failed(500),
        Did::Failed(503),
        Did::Mumbled,
        Did::Vanished,
        Did::Away,
    ];

    fn allowed(said: &Said, idempotent: bool) -> Vec<Did> {
        ALL.into_iter().filter(|did| judged(*did, said, idempotent).why.is_none()).collect()
    }

    #[test]
    fn sent_is_said_only_of_what_the_provider_took() {
        assert_eq!(allowed(&sent(), false), [Did::Took, Did::Mumbled]);
        assert!(judged(Did::Mumbled, &sent(), false).advice.is_some());
    }

    #[test]
    fn what_may_have_got_out_comes_again_only_where_that_does_no_harm() {
        assert_eq!(allowed(&temporary(7), false), [Did::Busy(7), Did::Failed(503), Did::Away]);
        assert_eq!(
            allowed(&temporary(7), true),
            [Did::Busy(7), Did::Failed(500), Did::Failed(503), Did::Mumbled, Did::Vanished, Did::Away]
        );
        assert!(judged(Did::Busy(7), &temporary(6), true).why.unwrap().contains("shorter"));
    }

    #[test]
    fn a_reason_is_one_that_the_answer_gives() {
        let text = String::new;
        let refused = [Did::Refused(400), Did::Refused(401), Did::Refused(403), Did::Refused(404)];
        assert_eq!(allowed(&Said::Misconfigured(text()), false), refused);
        assert_eq!(allowed(&Said::InvalidRecipient(text()), false), [Did::Refused(400), Did::Refused(404)]);
        assert_eq!(allowed(&Said::Stopped(text()), true), []);
        let in_doubt = [Did::Failed(500), Did::Failed(503), Did::Mumbled, Did::Vanished, Did::Away];
        assert_eq!(allowed(&Said::Unknown(text()), false), [refused.as_slice(), &in_doubt].concat());
        assert!(refused.iter().all(|did| judged(*did, &Said::Unknown(text()), false).advice.is_some()));
    }

    fn of(judged: impl Fn(Did) -> Judged) -> Vec<Did> {
        ALL.into_iter().filter(|did| judged(*did).why.is_none()).collect()
    }

    #[test]
    fn who_cannot_be_reached_is_said_by_the_provider() {
        let yes = of(|did| reachable(did, &Reachable::Yes(None)));
        assert_eq!(yes, [Did::Took]);
        let no = of(|did| reachable(did, &Reachable::No(String::new())));
        assert_eq!(no, [Did::Refused(400), Did::Refused(404)]);
        assert_eq!(of(|did| reachable(did, &Reachable::Unknown(String::new()))), ALL);
        assert_eq!(of(|did| reachable(did, &Reachable::Stopped(String::new()))), []);
    }

    #[test]
    fn news_are_the_providers_and_silence_is_asked_about_again() {
        let says = |receipt, again| of(|did| standing(did, Standing { receipt, again }));
        assert_eq!(says(Some(Receipt::Read), Again::Never), [Did::Took]);
        let refused = [Did::Refused(400), Did::Refused(401), Did::Refused(403), Did::Refused(404)];
        assert_eq!(says(None, Again::Never), [&[Did::Took], refused.as_slice()].concat());
        assert_eq!(says(None, Again::AsPlanned), ALL);
        assert_eq!(says(None, Again::BrokeDown), []);
        let soon = Again::After(SignedDuration::from_secs(6));
        assert!(!says(None, soon).contains(&Did::Busy(7)) && says(None, soon).contains(&Did::Away));
    }

    #[test]
    fn what_nobody_said_was_taken_back_is_tried_again() {
        let refused = [Did::Refused(400), Did::Refused(401), Did::Refused(403), Did::Refused(404)];
        let over = of(|did| revoked(did, Again::Never));
        assert_eq!(over, [&[Did::Took], refused.as_slice(), &[Did::Mumbled]].concat());
        assert_eq!(of(|did| revoked(did, Again::AsPlanned)), ALL);
        assert_eq!(of(|did| revoked(did, Again::BrokeDown)), []);
    }
}
