//! What the client tells, made into where the session stands. All at once and in order: nobody is waited for in here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use whatsapp_rust::types::events::{
    ConnectFailureReason, Event, EventHandler, EventInterest, EventKind, Receipt, ServerAck, TempBanReason,
};
use whatsapp_rust::types::presence::ReceiptType;
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::DeliveryStatus;

use super::todos::Todo;
use super::{Core, Over, lock};
use crate::line::Dialer;
use crate::sent::Answer;
use crate::status::{Away, Ban, OwnNumber, Shown, ShownCode, Status};

/// Listens to one client.
pub(super) struct Ear {
    core: Weak<Core>,
    life: u64,
}

impl Ear {
    pub(super) fn new(core: &Arc<Core>, life: u64) -> Self {
        Self { core: Arc::downgrade(core), life }
    }
}

impl EventHandler for Ear {
    fn handle_event(&self, event: Arc<Event>) {
        let core = self.core.upgrade().filter(|core| core.life.load(Ordering::SeqCst) == self.life);
        if let Some(core) = core {
            core.heard(&event, self.life);
        }
    }

    fn interest(&self) -> EventInterest {
        EventInterest::of(&[
            EventKind::Connected,
            EventKind::Disconnected,
            EventKind::PairingQrCode,
            EventKind::PairingQrCodesExhausted,
            EventKind::PairingCode,
            EventKind::PairingCodeRefresh,
            EventKind::PairingCodeError,
            EventKind::PairSuccess,
            EventKind::PairError,
            EventKind::LoggedOut,
            EventKind::StreamReplaced,
            EventKind::TemporaryBan,
            EventKind::ConnectFailure,
            EventKind::ClientOutdated,
            EventKind::ServerAck,
            EventKind::Receipt,
            EventKind::MexNotification,
            // While a code is shown.
            EventKind::RawNode,
        ])
    }
}

impl Core {
    fn heard(&self, event: &Event, life: u64) {
        match event {
            Event::Connected(_) => self.connected(life),
            Event::Disconnected(_) => self.lost(Away::Lost),
            Event::PairingQrCode(qr) => {
                if let Some(live) = self.live() {
                    live.dialer.arrived();
                }
                let shown = Shown { text: qr.code.clone(), expires_at: self.after(qr.timeout) };
                self.codes.has_qr();
                self.shown(|qr, _| *qr = Some(shown));
            }
            Event::PairingQrCodesExhausted(exhausted) => {
                if exhausted.disconnected {
                    self.todo(Todo::BeginAnew { life });
                } else {
                    // A code is still to be typed: the connection stays for it.
                    self.codes.has_no_qr(life);
                }
                self.shown(|qr, _| *qr = None);
            }
            Event::PairingCode(code) => {
                let number = self.codes.number().map(OwnNumber);
                let shown = ShownCode { text: code.code.clone(), expires_at: self.after(code.timeout), number };
                self.shown(|_, code| *code = Some(shown));
            }
            Event::PairingCodeRefresh(refresh) => {
                self.codes.is_over(refresh.force_manual);
                self.shown(|_, code| *code = None);
            }
            Event::PairingCodeError(_) => {
                self.codes.failed();
                self.shown(|_, code| *code = None);
            }
            Event::RawNode(stanza) => self.codes.heard(life, stanza),
            Event::PairSuccess(_) => {
                self.codes.linked();
                lock(&self.sender).linked_anew();
                self.set(Status::Connecting);
            }
            Event::PairError(_) => self.todo(Todo::PairingFailed { life }),
            Event::LoggedOut(out) => self.logged_out(out.reason, life),
            Event::StreamReplaced(_) => self.over(Status::Replaced { at: self.now() }, life),
            Event::TemporaryBan(ban) => {
                let lasts = SignedDuration::from_secs(ban.expire.num_seconds());
                let until = self.now().saturating_add(lasts).unwrap_or(Timestamp::MAX);
                lock(&self.sender).banned(until);
                let why = match ban.code {
                    TempBanReason::SentToTooManyPeople => Ban::Strangers,
                    TempBanReason::BlockedByUsers => Ban::Blocked,
                    TempBanReason::SentTooManySameMessage => Ban::SameMessage,
                    _ => Ban::Other,
                };
                self.over(Status::Banned { until: Some(until), why }, life);
            }
            Event::ConnectFailure(failure) => self.refused(failure.reason, life),
            Event::ClientOutdated(_) => {
                self.over(self.gone(Away::Outdated), life);
                self.parts.version.is_refused(*lock(&self.begun_with));
            }
            Event::ServerAck(ack) => self.acknowledged(ack, life),
            Event::Receipt(receipt) => self.receipt(receipt),
            Event::MexNotification(told) => {
                let what = told.op_name.to_ascii_lowercase();
                if what.contains("timelock") || what.contains("capping") {
                    self.todo(Todo::ReadRestrictions { life });
                }
            }
            _ => {}
        }
    }

    /// What time it is after so long.
    fn after(&self, lasts: Duration) -> Timestamp {
        let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
        self.now().saturating_add(lasts).unwrap_or(Timestamp::MAX)
    }

    fn gone(&self, why: Away) -> Status {
        Status::Disconnected { why, since: self.now() }
    }

    fn connected(&self, life: u64) {
        let Some(live) = self.live() else { return };
        live.dialer.arrived();
        let number = live.client.pn().map(|jid| jid.user.to_string()).unwrap_or_default();
        let now = self.now();
        lock(&self.sender).is(&number, now);
        // Before it is said: whoever hears it may send at once.
        self.online.send_modify(|online| {
            online.up = true;
            online.login += 1;
        });
        self.set(Status::Connected { number: OwnNumber(number), since: now });
        self.todo(Todo::ReadRestrictions { life });
    }

    /// A client dials, and so has no connection, whatever it says.
    pub(super) fn has_no_line(&self, dialer: &Dialer) {
        let is_ours = self.live().is_some_and(|live| std::ptr::eq(&*live.dialer, dialer));
        let connected = self.status.borrow().is_connected();
        if is_ours && connected {
            self.lost(Away::Lost);
        }
    }

    /// The connection is gone, and comes back.
    fn lost(&self, why: Away) {
        self.go_offline();
        self.codes.line_is_lost();
        // While it links a phone the next connection brings the next QR.
        self.shown(|qr, code| (*qr, *code) = (None, None));
        let gone = self.gone(why);
        self.status.send_if_modified(|status| {
            // Since when stays as it was, while it is tried again.
            let changes = matches!(status, Status::Connected { .. } | Status::Connecting);
            if changes {
                *status = gone;
            }
            changes
        });
    }

    /// The client has given up.
    fn over(&self, status: Status, life: u64) {
        self.end_with(status, Over { life, erase: false });
    }

    fn end_with(&self, status: Status, over: Over) {
        self.go_offline();
        *lock(&self.over) = Some(over);
        self.set(status);
        self.todo(Todo::Ended { life: over.life });
    }

    fn logged_out(&self, reason: ConnectFailureReason, life: u64) {
        match reason {
            ConnectFailureReason::LoggedOut => {
                self.end_with(Status::LoggedOut { at: self.now() }, Over { life, erase: true });
            }
            ConnectFailureReason::AccountLocked => self.over(Status::Banned { until: None, why: Ban::Other }, life),
            other => self.over(self.gone(Away::Refused(other.code())), life),
        }
    }

    fn refused(&self, reason: ConnectFailureReason, life: u64) {
        match reason {
            reason if reason.should_reconnect() => self.lost(Away::Unavailable),
            // A ban without an end.
            ConnectFailureReason::TempBanned => self.over(Status::Banned { until: None, why: Ban::Other }, life),
            other => self.over(self.gone(Away::Refused(other.code())), life),
        }
    }

    fn acknowledged(&self, ack: &ServerAck, life: u64) {
        if ack.class.as_deref().is_some_and(|class| class != "message") {
            return;
        }
        let answer = match ack.error.as_deref() {
            None => Answer::Reached(DeliveryStatus::Sent),
            // A code that is no number is a refusal all the same.
            Some(code) => Answer::Refused(code.parse().unwrap_or(0)),
        };
        if self.sent.heard(&ack.id, answer)
            && let Answer::Refused(code) = answer
        {
            lock(&self.sender).refused(code, self.now());
            self.fares_otherwise();
            if matches!(code, 463 | 475) {
                self.todo(Todo::ReadRestrictions { life });
            }
        }
    }

    fn receipt(&self, receipt: &Receipt) {
        let reached = match receipt.r#type {
            ReceiptType::Delivered => DeliveryStatus::Delivered,
            ReceiptType::Read | ReceiptType::Played => DeliveryStatus::Read,
            _ => return,
        };
        if receipt.source.is_from_me {
            return;
        }
        for id in &receipt.message_ids {
            let answer = Answer::Reached(reached);
            if self.sent.knows(id) {
                self.sent.heard(id, answer);
            } else {
                self.todo(Todo::LookUp { id: id.to_string(), answer });
            }
        }
    }
}
