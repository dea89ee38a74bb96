//! What a session has to do by itself, each thing once: a bounded queue, since most of it comes from outside.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

use super::lock;
use crate::sent::Answer;

/// What is to be done. Where it is one client's, only while that is the one that runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// The client has given up.
    Ended { life: u64 },
    /// It needs another client.
    BeginAnew { life: u64 },
    /// What the client has to keep is not kept.
    NotKept { life: u64 },
    /// The phone and the session did not agree.
    PairingFailed { life: u64 },
    /// What WhatsApp restricts may have changed.
    ReadRestrictions { life: u64 },
    /// What somebody wrote was not taken: WhatsApp is to say it again.
    AskAgain { life: u64 },
    /// Something was counted, or sent.
    Note,
    /// Something was heard of a message that this process did not send.
    LookUp { id: String, answer: Answer },
}

/// Receipts for messages that were sent before this process began, that wait to be looked up: what comes beyond is lost.
const LOOK_UPS_MAX: usize = 1_000;

#[derive(Default)]
pub(super) struct Todos {
    queue: Mutex<VecDeque<Todo>>,
    more: Notify,
}

impl Todos {
    /// Adds something, unless it waits already.
    pub(super) fn add(&self, todo: Todo) {
        let mut queue = lock(&self.queue);
        // Of all else there is one each, of a client, and few clients.
        let full = queue.len() >= LOOK_UPS_MAX && matches!(todo, Todo::LookUp { .. });
        if !full && !queue.contains(&todo) {
            queue.push_back(todo);
            self.more.notify_one();
        }
    }

    /// The next, once there is one.
    pub(super) async fn next(&self) -> Todo {
        loop {
            let next = lock(&self.queue).pop_front();
            match next {
                Some(todo) => return todo,
                None => self.more.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::domain::dispatch::DeliveryStatus;

    use super::*;

    #[tokio::test]
    async fn each_thing_is_done_once_in_order_and_look_ups_are_bounded() {
        let todos = Todos::default();
        for _ in 0..3 {
            todos.add(Todo::Note);
            todos.add(Todo::ReadRestrictions { life: 1 });
        }
        for n in 0..2 * LOOK_UPS_MAX {
            todos.add(Todo::LookUp { id: n.to_string(), answer: Answer::Reached(DeliveryStatus::Read) });
        }
        todos.add(Todo::Ended { life: 1 });
        assert_eq!(todos.next().await, Todo::Note);
        assert_eq!(todos.next().await, Todo::ReadRestrictions { life: 1 });
        let mut look_ups = 0;
        while matches!(todos.next().await, Todo::LookUp { .. }) {
            look_ups += 1;
        }
        assert_eq!(look_ups, LOOK_UPS_MAX - 2);
        todos.add(Todo::Note);
        assert_eq!(todos.next().await, Todo::Note);
    }
}
