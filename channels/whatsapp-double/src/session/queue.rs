//! What waits for a client: stanzas stay until the client has acknowledged them, and come again with the next login.

use std::collections::VecDeque;

use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use crate::node::{Read as _, SERVER};
use crate::people::Line;

/// How many stanzas come without being asked for, of those that waited.
const FIRST: usize = 5;

/// The kinds of stanzas that wait, which acknowledgements name as their class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Message,
    Receipt,
    Notification,
}

impl Class {
    pub(crate) fn of(tag: &str) -> Option<Self> {
        match tag {
            "message" => Some(Self::Message),
            "receipt" => Some(Self::Receipt),
            "notification" => Some(Self::Notification),
            _ => None,
        }
    }
}

struct Waiting {
    class: Class,
    stanza: Node,
    /// Whether it went out over the connection that there is now.
    sent: bool,
}

#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether what waited has gone out, and the rest goes at once.
    live: bool,
    /// How many stanzas of those that waited have gone out.
    caught_up: usize,
}

impl Queue {
    /// Adds a stanza, and sends it if the client takes them already.
    pub(crate) fn push(&mut self, stanza: Node, line: Option<&Line>) {
        let Some(class) = Class::of(&stanza.tag) else { unreachable!("only what is acknowledged is queued") };
        let line = line.filter(|_| self.live);
        if let Some(line) = line {
            line.send(stanza.clone());
        }
        self.waiting.push_back(Waiting { class, stanza, sent: line.is_some() });
    }

    /// A new connection begins: nothing has gone out over it.
    pub(crate) fn begin(&mut self) {
        self.live = false;
        for waiting in &mut self.waiting {
            waiting.sent = false;
        }
    }

    /// The client takes stanzas from now on: says what waits, and sends the first of it.
    pub(crate) fn resume(&mut self, line: &Line) {
        if self.live {
            return;
        }
        self.caught_up = 0;
        if !self.waiting.is_empty() {
            let count = |class| self.waiting.iter().filter(|waiting| waiting.class == class).count().to_string();
            let preview = NodeBuilder::new("offline_preview")
                .attr("count", self.waiting.len().to_string())
                .attr("message", count(Class::Message))
                .attr("receipt", count(Class::Receipt))
                .attr("notification", count(Class::Notification))
                .attr("appdata", "0")
                .build();
            line.send(broadcast(preview));
        }
        self.more(line, FIRST);
    }

    /// Sends more of what waited, and says when that was all.
    pub(crate) fn more(&mut self, line: &Line, count: usize) {
        if self.live {
            return;
        }
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.sent).take(count) {
            waiting.sent = true;
            self.caught_up += 1;
            let mut stanza = waiting.stanza.clone();
            stanza.attrs.push("offline", "0");
            line.send(stanza);
        }
        if self.waiting.iter().all(|waiting| waiting.sent) {
            self.live = true;
            let end = NodeBuilder::new("offline").attr("count", self.caught_up.to_string()).build();
            line.send(broadcast(end));
        }
    }

    /// The client has a stanza. A receipt is named by its type as well: the same message has several.
    pub(crate) fn acknowledged(&mut self, class: Class, id: &str, kind: Option<&str>) {
        let place = self.waiting.iter().position(|waiting| {
            waiting.sent
                && waiting.class == class
                && waiting.stanza.text("id") == id
                && (class != Class::Receipt || waiting.stanza.maybe("type").as_deref() == kind)
        });
        if let Some(place) = place {
            self.waiting.remove(place);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

fn broadcast(child: Node) -> Node {
    NodeBuilder::new("ib").attr("from", SERVER).children([child]).build()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::*;
    use crate::people::Outgoing;

    fn stanza(tag: &'static str, id: &str, kind: Option<&str>) -> Node {
        let stanza = NodeBuilder::new(tag).attr("id", id);
        kind.into_iter().fold(stanza, |stanza, kind| stanza.attr("type", kind)).build()
    }

    /// What has gone out: the ids of stanzas, with a `*` where they waited, and what the server says about that.
    fn went(outgoing: &mut UnboundedReceiver<Outgoing>) -> Vec<String> {
        let mut went = Vec::new();
        while let Ok(Outgoing::Stanza(stanza)) = outgoing.try_recv() {
            went.push(match stanza.children() {
                Some([child]) => format!("{} {}", child.tag, child.text("count")),
                _ => stanza.text("id") + if stanza.maybe("offline").is_some() { "*" } else { "" },
            });
        }
        went
    }

    #[test]
    fn what_waits_comes_in_batches_and_again_until_it_is_acknowledged() {
        let (line, mut outgoing) = Line::new();
        let mut queue = Queue::default();
        for nth in 0..7 {
            queue.push(stanza("message", &nth.to_string(), None), Some(&line));
        }
        assert!(went(&mut outgoing).is_empty(), "the client does not take them yet");
        queue.resume(&line);
        assert_eq!(went(&mut outgoing), ["offline_preview 7", "0*", "1*", "2*", "3*", "4*"]);
        queue.push(stanza("message", "late", None), Some(&line));
        queue.more(&line, 1);
        assert_eq!(went(&mut outgoing), ["5*"]);
        queue.more(&line, 100);
        assert_eq!(went(&mut outgoing), ["6*", "late*", "offline 8"]);
        queue.push(stanza("message", "live", None), Some(&line));
        assert_eq!(went(&mut outgoing), ["live"]);

        for id in ["0", "1", "2", "3", "4", "6", "late"] {
            queue.acknowledged(Class::Message, id, None);
        }
        queue.acknowledged(Class::Receipt, "5", None);
        queue.begin();
        queue.resume(&line);
        assert_eq!(went(&mut outgoing), ["offline_preview 2", "5*", "live*", "offline 2"]);
    }

    #[test]
    fn a_receipt_is_acknowledged_by_its_type() {
        let (line, mut outgoing) = Line::new();
        let mut queue = Queue::default();
        queue.resume(&line);
        assert_eq!(went(&mut outgoing), ["offline 0"]);
        queue.push(stanza("receipt", "one", None), Some(&line));
        queue.push(stanza("receipt", "one", Some("read")), Some(&line));
        queue.acknowledged(Class::Receipt, "one", Some("read"));
        assert_eq!(queue.len(), 1);
        queue.acknowledged(Class::Receipt, "one", Some("read"));
        assert_eq!(queue.len(), 1);
        queue.acknowledged(Class::Receipt, "one", None);
        assert_eq!(queue.len(), 0);
    }
}
