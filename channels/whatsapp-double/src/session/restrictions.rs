//! What WhatsApp restricts an account to that writes to too many strangers. Only first messages are concerned: who has
//! written with somebody before goes on.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wacore_binary::builder::NodeBuilder;

use crate::clock::now_seconds;
use crate::error::Result;
use crate::node::SERVER;
use crate::people::{Address, World};

/// How many new chats an account may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewChatCap {
    /// How many in all, in a period.
    pub total: u32,
    /// How many of them it has begun.
    #[serde(default)]
    pub used: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restrictions {
    /// When the time-lock ends, in seconds since 1970.
    pub(crate) time_lock_ends: Option<u64>,
    pub(crate) new_chats: Option<NewChatCap>,
}

/// Refused because of the time-lock.
const TIME_LOCKED: u16 = 463;
/// Refused because too many new chats were begun.
const CAPPED: u16 = 475;

impl Restrictions {
    pub(crate) fn time_locked(&self) -> bool {
        self.time_lock_ends.is_some_and(|ends| ends > now_seconds())
    }

    /// Counts a first message to somebody, or says which code it is refused with.
    pub(crate) fn begin_chat(&mut self) -> Result<(), u16> {
        if self.time_locked() {
            return Err(TIME_LOCKED);
        }
        match &mut self.new_chats {
            Some(cap) if cap.used >= cap.total => return Err(CAPPED),
            Some(cap) => cap.used += 1,
            None => {}
        }
        Ok(())
    }

    fn time_lock_state(&self) -> Value {
        if self.time_locked() {
            json!({
                "is_active": true,
                "enforcement_type": "DEFAULT",
                "time_enforcement_ends": self.time_lock_ends.unwrap_or(0).to_string(),
            })
        } else {
            json!({ "is_active": false })
        }
    }

    fn new_chat_state(&self) -> Value {
        match self.new_chats {
            None => json!({ "capping_status": "NONE" }),
            Some(cap) => json!({
                "capping_status": if cap.used >= cap.total { "CAPPED" } else { "NONE" },
                "total_quota": cap.total.to_string(),
                "used_quota": cap.used.to_string(),
                "server_sent_timestamp": now_seconds(),
            }),
        }
    }

    /// As the question for the time-lock is answered.
    pub(crate) fn time_lock(&self) -> Value {
        json!({ "data": { "xwa2_fetch_account_reachout_timelock": self.time_lock_state() } })
    }

    /// As the question for the cap on new chats is answered.
    pub(crate) fn new_chat_cap(&self) -> Value {
        json!({ "data": { "xwa2_message_capping_info": self.new_chat_state() } })
    }

    /// What is told unasked, each by its name.
    fn notifications(&self) -> [(&'static str, Value); 2] {
        let time_lock = json!({ "data": { "xwa2_notify_account_reachout_timelock": self.time_lock_state() } });
        let cap = json!({ "data": { "xwa2_notify_new_chat_messages_capping_info_update": self.new_chat_state() } });
        [("NotificationUserReachoutTimelockUpdate", time_lock), ("MessageCappingInfoNotification", cap)]
    }
}

impl World {
    /// Tells the clients of a number, unasked, what it is restricted to.
    pub(crate) fn tell_restrictions(&mut self, number: &str) -> Result<()> {
        let told = self.person(number)?.restrictions.notifications();
        let devices: Vec<Address> = self.linked_to(number).cloned().collect();
        for (device, (name, state)) in devices.iter().flat_map(|device| told.iter().map(move |told| (device, told))) {
            let id = self.next().to_string();
            let update =
                NodeBuilder::new("update").attr("op_name", *name).bytes(state.to_string().into_bytes()).build();
            let notification = NodeBuilder::new("notification")
                .attr("from", SERVER)
                .attr("type", "mex")
                .attr("id", id)
                .attr("t", now_seconds().to_string())
                .children([update])
                .build();
            if let Some(linked) = self.linked.get_mut(device) {
                linked.queue.push(notification, linked.line.as_ref());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_chats_are_refused_once_the_cap_is_used_up_and_while_the_lock_lasts() {
        let mut restrictions = Restrictions::default();
        assert_eq!(restrictions.begin_chat(), Ok(()));
        restrictions.new_chats = Some(NewChatCap { total: 1, used: 0 });
        assert_eq!(restrictions.begin_chat(), Ok(()));
        assert_eq!(restrictions.begin_chat(), Err(475));
        restrictions.time_lock_ends = Some(now_seconds() + 60);
        assert_eq!(restrictions.begin_chat(), Err(463));
        restrictions = Restrictions { time_lock_ends: Some(now_seconds() - 1), new_chats: None };
        assert_eq!(restrictions.begin_chat(), Ok(()));
    }
}
