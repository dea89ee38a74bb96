//! What the guard decides on one code or message that is about to go out.

use std::collections::HashMap;
use std::net::IpAddr;

use futures_util::future::try_join;

use super::places::Place;
use super::uses::{Taken, Use};
use super::{App, Guard, Refusal, Restriction};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::guard::note::{Effect, GuardNote, Rule, Step};
use crate::domain::guard::{Cap, Destination, GuardMode, ListEffect, Span, State};
use crate::domain::id::{CountId, TenantId};
use crate::domain::message::Message;
use crate::domain::mode::Mode;
use crate::domain::phone::Phone;
use crate::domain::quota::{Resource, Window};
use crate::domain::sandbox;
use crate::domain::vault::AddressIndex;
use crate::domain::verification::{StoredAddress, Verification};

/// Verifications and messages that were stopped and are kept, of one tenant and day. They are not counted by the quota, so
/// without an end somebody who is stopped all day would fill the store that all share.
const BLOCKED_KEPT_PER_DAY: u64 = 1_000;

/// What the guard says.
#[derive(Debug, Default)]
pub(in crate::app) struct Judgement {
    /// What each rule did.
    pub(in crate::app) notes: Vec<GuardNote>,
    /// Whether the watch looks at what becomes of it.
    pub(super) watches: bool,
    /// What was counted against caps, to be given back if nothing goes out after all.
    taken: Taken,
    /// Its place below the tenant's cap, until the quota counts it.
    place: Option<Place>,
}

impl Judgement {
    /// The note that stops it, if one does.
    pub(in crate::app) fn blocked(&self) -> Option<&GuardNote> {
        self.notes.iter().find(|note| note.effect == Effect::Blocked)
    }

    /// The quota has counted it, or never will: the next may look whether there is room below the tenant's cap.
    pub(in crate::app) fn is_admitted(&mut self) {
        self.place = None;
    }
}

/// What is about to go out, as far as the guard looks at it.
pub(in crate::app) struct Judged<'a> {
    owner: [u8; 16],
    to: Option<&'a StoredAddress>,
    mode: Mode,
    what: What,
    /// Whether it was judged when it was started, as one whose number nobody knew.
    was_judged: bool,
}

/// What is sent, and what people write, is counted together against caps. Only codes tell the watch anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Code,
    /// Nothing is sent: the person writes, from a number that may not be known yet.
    Inbound,
    Message,
}

impl<'a> From<&'a Verification> for Judged<'a> {
    fn from(verification: &'a Verification) -> Self {
        let Verification { id, address, mode, .. } = verification;
        let what = if verification.inbound.is_some() { What::Inbound } else { What::Code };
        Self { owner: id.to_bytes(), to: address.as_ref(), mode: *mode, what, was_judged: false }
    }
}

impl<'a> Judged<'a> {
    /// A verification whose number is known by now: what is asked of the number, and nothing that its start was asked.
    pub(in crate::app) fn by_its_number(verification: &'a Verification) -> Self {
        Self { was_judged: true, ..verification.into() }
    }
}

impl<'a> From<&'a Message> for Judged<'a> {
    fn from(message: &'a Message) -> Self {
        let Message { id, address, mode, .. } = message;
        Self { owner: id.to_bytes(), to: address.as_ref(), mode: *mode, what: What::Message, was_judged: false }
    }
}

/// What is judged.
struct Case<'a> {
    guard: &'a Guard,
    what: What,
    was_judged: bool,
    /// The address and what it is found by; none where nobody knows it yet.
    to: Option<(&'a Address, AddressIndex)>,
    ip: Option<IpAddr>,
    /// Whether it is counted: nothing reaches a person in test mode and at sandbox numbers.
    counts: bool,
    step: Step,
    now: Timestamp,
    notes: Vec<GuardNote>,
    place: Option<Place>,
}

impl Case<'_> {
    fn note(&mut self, rule: Rule, effect: Effect, retry_at: Option<Timestamp>) {
        self.notes.push(GuardNote { at: self.now, step: self.step, rule, effect, retry_at });
    }

    /// Notes that a rule is against it; says whether that is the end of it.
    fn against(&mut self, rule: Rule, retry_at: Option<Timestamp>) -> bool {
        let ends = self.guard.settings.mode == GuardMode::On;
        self.note(rule, if ends { Effect::Blocked } else { Effect::WouldBlock }, retry_at);
        ends
    }

    fn phone(&self) -> Option<&Phone> {
        match self.to {
            Some((Address::Phone(phone), _)) => Some(phone),
            Some((Address::Email(_), _)) | None => None,
        }
    }

    /// Asks the lists. Says whether that is the end of it: it is on one.
    fn asks_lists(&mut self) -> bool {
        let Some(list) = &self.guard.list else { return false };
        let number = self.phone().map(Phone::e164);
        let of_address = self.to.as_ref().and_then(|(_, index)| list.of_address(index, number));
        let found = [of_address, self.ip.and_then(|ip| list.of_ip(ip))];
        let found = found.into_iter().flatten();
        let mut found: Vec<(Rule, ListEffect)> = found.map(|entry| (entry.what.rule(), entry.effect)).collect();
        // Where the one would let it pass and the other would not, it is blocked.
        found.sort_by_key(|(_, effect)| *effect == ListEffect::Allow);
        match found.first() {
            Some((rule, ListEffect::Block)) => self.against(*rule, None),
            Some((rule, ListEffect::Allow)) => {
                self.note(*rule, Effect::Allowed, None);
                true
            }
            None => false,
        }
    }

    fn asks_countries(&mut self) -> bool {
        let Some(phone) = self.phone() else { return false };
        let countries = &self.guard.settings.countries;
        let region = phone.region();
        let lists = |listed: &[String]| region.is_some_and(|region| listed.iter().any(|country| country == region));
        let rule = if lists(&countries.blocked) {
            Rule::CountryBlocked
        } else if !countries.allowed.is_empty() && !lists(&countries.allowed) {
            Rule::CountryNotAllowed
        } else {
            if lists(&countries.watched) {
                self.note(Rule::CountryWatched, Effect::Noted, None);
            }
            return false;
        };
        self.against(rule, None)
    }

    fn destinations(&self) -> Vec<Destination> {
        let Some(phone) = self.phone() else { return Vec::new() };
        let country = phone.region().map(|region| Destination::Country(region.to_owned()));
        [Destination::Prefix(phone.prefix().to_owned())].into_iter().chain(country).collect()
    }

    /// Asks the watch. What still goes out to a destination that is slowed or probed is counted like a cap. `more` are
    /// restrictions of its destinations that the guard did not hold.
    fn asks_watch(&mut self, app: &App, more: &HashMap<Destination, Restriction>, uses: &mut Vec<Use>) -> bool {
        if !self.guard.settings.watches() {
            return false;
        }
        for destination in self.destinations() {
            let restriction = self.guard.restricted.get(&destination).or_else(|| more.get(&destination));
            let Some(restriction) = restriction else { continue };
            let prefix = matches!(destination, Destination::Prefix(_));
            let either = |of_prefix, of_country| if prefix { of_prefix } else { of_country };
            let rule = match restriction.state {
                State::Normal => continue,
                State::Blocked => {
                    if self.against(either(Rule::PrefixCollapsed, Rule::CountryCollapsed), restriction.until) {
                        return true;
                    }
                    continue;
                }
                State::Slowed => either(Rule::PrefixSlowed, Rule::CountrySlowed),
                State::Probing => either(Rule::PrefixProbed, Rule::CountryProbed),
            };
            let limit = restriction.per_minute;
            // Apart from each other: nothing else must take the place of the codes by which the watch tells
            // whether it is over.
            let apart: &[u8] = match self.what {
                What::Code => b"",
                What::Inbound => b"\0inbound",
                What::Message => b"\0message",
            };
            let mark = self.mark(app, rule, &[destination.value().as_bytes(), apart].concat());
            uses.push(Use { rule, mark, span: Span::minute(self.now), limit, weight: 1 });
        }
        false
    }

    fn mark(&self, app: &App, rule: Rule, what: &[u8]) -> CountId {
        let service = self.guard.settings.service.to_bytes();
        let value = [&service, rule.name().as_bytes(), b"\0", what].concat();
        CountId::from_bytes(app.ports.vault.mark(self.guard.tenant, "guard", &value))
    }

    /// What the caps of the settings count of it.
    fn capped(&self, app: &App, uses: &mut Vec<Use>) {
        let settings = &self.guard.settings;
        let caps = &settings.caps;
        let mut add = |rule, cap: &Cap, what: &[u8]| {
            let spans = [(cap.per_hour, Span::hour(self.now)), (cap.per_day, Span::day(self.now))];
            for (limit, span) in spans.into_iter().filter_map(|(limit, span)| Some((limit?, span))) {
                // The length is part of the mark: an hour may begin when its day does.
                let length = span.ends.duration_since(span.starts).as_secs().to_be_bytes();
                let mark = self.mark(app, rule, &[&length, what].concat());
                uses.push(Use { rule, mark, span, limit, weight: 1 });
            }
        };
        if let Some((address, _)) = self.to {
            add(Rule::CapAddress, &caps.address, address.as_str().as_bytes());
        }
        if let Some(phone) = self.phone() {
            add(Rule::CapPrefix, &caps.prefix, phone.prefix().as_bytes());
        }
        if let Some(ip) = self.ip {
            add(Rule::CapIp, &caps.ip, &network_of(ip));
        }
        if !self.was_judged {
            add(Rule::CapService, &caps.service, b"");
        }
        // What a person writes costs nothing.
        let sent = self.phone().filter(|_| self.what != What::Inbound);
        if let (Some(limit), Some(phone)) = (caps.spend_micros_per_day, sent) {
            let (mark, span) = (self.mark(app, Rule::CapSpend, b""), Span::day(self.now));
            let weight = settings.cost_micros(phone.region());
            uses.push(Use { rule: Rule::CapSpend, mark, span, limit, weight });
        }
    }
}

/// What one client has of addresses: one of IPv4, a /64 of IPv6.
fn network_of(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }
}

impl App {
    /// What the guard says of a verification that is about to be started or sent again, or of a message.
    ///
    /// In shadow mode every rule that would have stopped it is noted, and it goes on.
    pub(in crate::app) async fn judge(
        &self,
        guard: &Guard,
        judged: impl Into<Judged<'_>>,
        ip: Option<IpAddr>,
        step: Step,
    ) -> Result<Judgement, Refusal> {
        if guard.settings.mode == GuardMode::Off {
            return Ok(Judgement::default());
        }
        let watches = guard.settings.watches();
        let Judged { owner, to, mode, what, was_judged } = judged.into();
        let address = self.open_address(&owner, to)?;
        let to = address.as_ref().zip(to.map(|stored| stored.index));
        // Of one that is sent, it was erased.
        if to.is_none() && what != What::Inbound {
            return Ok(Judgement::default());
        }
        let mut case = Case {
            guard,
            what,
            was_judged,
            to,
            ip: ip.map(|ip| ip.to_canonical()),
            counts: mode == Mode::Live && to.is_none_or(|(address, _)| sandbox::find(address).is_none()),
            step,
            now: self.now(),
            notes: Vec::new(),
            place: None,
        };
        if case.asks_lists() || case.asks_countries() || !case.counts {
            return Ok(Judgement { notes: case.notes, watches, ..Judgement::default() });
        }
        let mut uses = Vec::new();
        let more = self.restricted_besides(guard, case.destinations()).await?;
        if case.asks_watch(self, &more, &mut uses) || self.asks_tenant_cap(&mut case).await? {
            return Ok(Judgement { notes: case.notes, watches, ..Judgement::default() });
        }
        case.capped(self, &mut uses);
        let taken = self.asks_caps(&mut case, uses).await?;
        Ok(Judgement { notes: case.notes, watches, taken, place: case.place })
    }

    /// Asks the cap of the tenant, by what the quota has counted and by what is on its way there from this node. Says
    /// whether that is the end of it.
    async fn asks_tenant_cap(&self, case: &mut Case<'_>) -> Result<bool, Refusal> {
        let cap = case.guard.settings.caps.tenant_per_day.filter(|_| !case.was_judged);
        let Some(cap) = cap else { return Ok(false) };
        let day = Window::day(case.now);
        if case.step == Step::Resend {
            // It is not counted by the quota, so it needs no room in it.
            let full = self.used_in(case.guard.tenant, day).await? > cap;
            return Ok(full && case.against(Rule::CapTenant, Some(day.ends)));
        }
        // Before the count is read: what is not ahead is counted by then.
        let (place, mut ahead) = self.guard.places.take(case.guard.tenant);
        loop {
            let used = self.used_in(case.guard.tenant, day).await?;
            if used >= cap {
                return Ok(case.against(Rule::CapTenant, Some(day.ends)));
            }
            if used.saturating_add(ahead) < cap {
                case.place = Some(place);
                return Ok(false);
            }
            // Some that are ahead may be counted already, or be refused: only near the cap is it worth the wait.
            place.first().await;
            ahead = 0;
        }
    }

    /// What the quota has counted of a tenant's codes and messages.
    async fn used_in(&self, tenant: TenantId, window: Window) -> Result<u64, Refusal> {
        let (store, windows) = (self.ports.store.tenant(tenant), [window]);
        let (codes, messages) =
            try_join(store.usage(Resource::Verifications, &windows), store.usage(Resource::Messages, &windows)).await?;
        Ok(codes.iter().chain(&messages).fold(0_u64, |used, usage| used.saturating_add(usage.used)))
    }

    async fn asks_caps(&self, case: &mut Case<'_>, uses: Vec<Use>) -> Result<Taken, Refusal> {
        if uses.is_empty() {
            return Ok(Taken::default());
        }
        let anyway = case.guard.settings.mode == GuardMode::Shadow;
        // What still goes out to a restricted destination is told, whether or not it is this one.
        let trickles: Vec<Rule> = uses.iter().map(|one| one.rule).filter(|rule| is_of_watch(*rule)).collect();
        let at = (case.guard.tenant, case.guard.settings.service);
        let (taken, mut beyond) = self.take_uses(at, uses, anyway).await?;
        for rule in trickles {
            if !beyond.iter().any(|one| one.rule == rule) {
                case.note(rule, Effect::Noted, None);
            }
        }
        // Of an hour and a day that are both used up, the day says when to come back.
        beyond.sort_by_key(|one| (one.rule.name(), std::cmp::Reverse(one.span.ends)));
        beyond.dedup_by_key(|one| one.rule);
        for one in beyond {
            case.against(one.rule, Some(one.span.ends));
        }
        Ok(taken)
    }

    /// Whether one more verification or message that was stopped is kept today: so many of a tenant are, whatever comes.
    pub(in crate::app) async fn keeps_blocked(
        &self,
        guard: &Guard,
        note: &GuardNote,
        judgement: &mut Judgement,
    ) -> Result<bool, Refusal> {
        let mark = CountId::from_bytes(self.ports.vault.mark(guard.tenant, "guard", b"blocked"));
        let span = Span::day(self.now());
        let one = Use { rule: note.rule, mark, span, limit: BLOCKED_KEPT_PER_DAY, weight: 1 };
        let (taken, beyond) = self.take_uses((guard.tenant, guard.settings.service), vec![one], false).await?;
        judgement.taken.and(taken);
        Ok(beyond.is_empty())
    }

    /// Takes back what was counted against caps for something that did not go out after all.
    pub(in crate::app) fn judged_in_vain(&self, judgement: &Judgement) {
        self.give_uses_back(&judgement.taken);
    }
}

fn is_of_watch(rule: Rule) -> bool {
    matches!(rule, Rule::PrefixSlowed | Rule::CountrySlowed | Rule::PrefixProbed | Rule::CountryProbed)
}
