//! What can be made to go wrong.

use serde::{Deserialize, Serialize};

/// Something that goes wrong when its occasion comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A message is delivered, and its acknowledgement is lost.
    AckLost,
    /// A message is delivered, and its acknowledgement comes this much later.
    AckLate {
        /// How much later.
        milliseconds: u64,
    },
    /// A message is refused: 463 (time-locked), 475 (too many new chats), 429 (too many messages).
    AckError {
        /// The code in the acknowledgement.
        code: u16,
    },
    /// The connection breaks when a message has come in, before it is acknowledged.
    DropMidSend {
        /// Whether the message is delivered all the same.
        delivered: bool,
    },
    /// A question of the client's is refused: 429 is `rate-overlimit`.
    IqError {
        /// The code of the refusal.
        code: u16,
        /// What is said about it.
        text: String,
        /// Which questions, by their namespace (`usync`, `encrypt`, `w:mex`, …); without it, any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
    },
    /// A login is refused: 401 (logged out), 402 (banned for a time), 403 (banned), 503 (later).
    LoginFailure {
        /// The reason in the refusal.
        reason: u16,
        /// Why, of a ban for a time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        /// How long such a ban lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_in_seconds: Option<u64>,
    },
    /// The recipient's devices cannot decrypt a message, and ask for it again.
    Undecryptable,
    /// What a person writes arrives damaged, so that the client asks for it again.
    Damaged,
    /// What a person writes to an account of addresses that tell no number comes without their number beside it.
    Nameless,
}

/// A fault that waits for its occasion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// For whom: the number that a client is linked to. Without it, for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// How often. Without it, until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

impl Rule {
    /// Goes wrong once, for the clients of this number.
    #[must_use]
    pub fn once(fault: Fault, number: &str) -> Self {
        Self { fault, number: Some(number.to_owned()), times: Some(1) }
    }

    /// Goes wrong until it is taken back, for the clients of this number.
    #[must_use]
    pub fn always(fault: Fault, number: &str) -> Self {
        Self { fault, number: Some(number.to_owned()), times: None }
    }
}

/// Something that goes wrong at once, for the clients that are linked to a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strike", rename_all = "snake_case")]
pub enum Strike {
    /// The connection breaks.
    Drop,
    /// The person removes the device on the phone.
    DeviceRemoved,
    /// Another client logs in as the same device.
    Conflict,
    /// The server ends the stream with this code: 429, 503, 515, …
    StreamError {
        /// The code.
        code: u16,
    },
}

/// The rules that wait.
#[derive(Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn waiting(&self) -> Vec<Rule> {
        self.0.clone()
    }

    /// The first fault that has its occasion now, the older first, and counts it.
    pub(crate) fn take<T>(&mut self, number: &str, occasion: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let (place, found) = self.0.iter().enumerate().find_map(|(place, rule)| {
            let concerned = rule.number.as_deref().is_none_or(|concerned| concerned == number);
            occasion(&rule.fault).filter(|_| concerned).map(|found| (place, found))
        })?;
        if let Some(times) = &mut self.0[place].times {
            *times -= 1;
            if *times == 0 {
                self.0.remove(place);
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(fault: &Fault) -> Option<u16> {
        if let Fault::AckError { code } = fault { Some(*code) } else { None }
    }

    #[test]
    fn a_rule_strikes_as_often_as_it_says_and_only_whom_it_names() {
        let mut rules = Rules::default();
        rules.add(Rule { fault: Fault::AckError { code: 463 }, number: Some("1".into()), times: Some(2) });
        rules.add(Rule { fault: Fault::AckError { code: 475 }, number: None, times: None });
        assert_eq!(rules.take("2", code), Some(475));
        assert_eq!(rules.take("1", code), Some(463));
        assert_eq!(rules.take("1", |fault| (*fault == Fault::AckLost).then_some(())), None);
        assert_eq!(rules.take("1", code), Some(463));
        assert_eq!(rules.take("1", code), Some(475));
        assert_eq!(rules.waiting().len(), 1);
        rules.clear();
        assert_eq!(rules.take("1", code), None);
    }

    #[test]
    fn a_rule_reads_as_it_is_documented() {
        let rule: Rule =
            serde_json::from_str(r#"{"fault":"ack_error","code":463,"number":"15550100","times":1}"#).unwrap();
        assert_eq!(rule, Rule::once(Fault::AckError { code: 463 }, "15550100"));
        let rule: Rule = serde_json::from_str(r#"{"fault":"ack_lost"}"#).unwrap();
        assert_eq!(rule, Rule { fault: Fault::AckLost, number: None, times: None });
        let forms = [
            (r#"{"fault":"ack_late","milliseconds":9000}"#, Fault::AckLate { milliseconds: 9_000 }),
            (r#"{"fault":"drop_mid_send","delivered":true}"#, Fault::DropMidSend { delivered: true }),
            (
                r#"{"fault":"iq_error","code":429,"text":"rate-overlimit","namespace":"usync"}"#,
                Fault::IqError { code: 429, text: "rate-overlimit".into(), namespace: Some("usync".into()) },
            ),
            (
                r#"{"fault":"login_failure","reason":402,"code":101,"expires_in_seconds":60}"#,
                Fault::LoginFailure { reason: 402, code: Some(101), expires_in_seconds: Some(60) },
            ),
            (r#"{"fault":"undecryptable"}"#, Fault::Undecryptable),
            (r#"{"fault":"damaged"}"#, Fault::Damaged),
            (r#"{"fault":"nameless"}"#, Fault::Nameless),
        ];
        for (form, fault) in forms {
            assert_eq!(
                serde_json::from_str::<Rule>(form).unwrap(),
                Rule { fault, number: None, times: None },
                "{form}"
            );
        }
        assert!(serde_json::from_str::<Rule>(r#"{"fault":"earthquake"}"#).is_err());
        let strike: Strike = serde_json::from_str(r#"{"strike":"stream_error","code":429}"#).unwrap();
        assert_eq!(strike, Strike::StreamError { code: 429 });
        for (form, strike) in
            [("drop", Strike::Drop), ("device_removed", Strike::DeviceRemoved), ("conflict", Strike::Conflict)]
        {
            assert_eq!(serde_json::from_value::<Strike>(serde_json::json!({ "strike": form })).unwrap(), strike);
        }
    }
}
