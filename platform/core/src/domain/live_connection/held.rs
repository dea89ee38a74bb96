//! What holds a sender back: what its provider imposes on it, what it is told to do, and what ends last.

use super::{SenderHealth, SenderHeld};

impl SenderHeld {
    /// Whether the provider imposes it for hours, as a lock or a ban. The rest is our own measure, which comes and goes by the
    /// hour, or is over in a minute.
    pub(super) fn is_imposed(&self) -> bool {
        matches!(self.reason.as_str(), "time_locked" | "new_chats_used_up" | "banned")
    }

    /// What that is, and what to do, for its tenant.
    pub fn advice(&self) -> &'static str {
        match self.reason.as_str() {
            "time_locked" => {
                "WhatsApp lets this number write to nobody new for now: let people write to you first, as they do with \
                 `method: \"inbound\"` (reverse OTP), or connect another number"
            }
            "new_chats_used_up" => {
                "WhatsApp allows this number no more new chats for now: let people write to you first, as they do with \
                 `method: \"inbound\"` (reverse OTP), or connect another number"
            }
            "too_much" => "WhatsApp says that it was too much at once: it goes on by itself",
            "banned" => {
                "WhatsApp has banned the number for a while: see on the phone what it says, and use another number"
            }
            "hour_is_full" => "the number has sent what one of its age may in an hour: connect another number for more",
            "day_is_full" => "the number has sent what one of its age may in a day: connect another number for more",
            "strangers_of_day" => {
                "the number has written to as many new people as one of its age may in a day: more would have it banned"
            }
            "share_of_strangers" => {
                "too large a part of what the number sends goes to people who never wrote to it, which has numbers banned"
            }
            _ => "see on the phone what WhatsApp says",
        }
    }
}

impl SenderHealth {
    /// What weighs most of what holds it back: what the provider imposes, and of that what ends last.
    pub fn worst(&self) -> Option<&SenderHeld> {
        self.reasons.iter().max_by_key(|held| (held.is_imposed(), held.until))
    }

    /// What the provider imposes.
    pub(super) fn imposed(&self) -> Vec<String> {
        self.reasons.iter().filter(|held| held.is_imposed()).map(|held| held.reason.clone()).collect()
    }
}
