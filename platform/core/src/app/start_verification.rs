use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::channels::Available;
use super::{ApiCaller, App, FieldError, Refusal, token};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::address_limits::AddressLimits;
use crate::domain::code::{self, Code, CodeKind};
use crate::domain::dispatch::{Dispatch, LeaseToken};
use crate::domain::guard::Step;
use crate::domain::id::{DeliveryId, ServiceId, TenantId, VerificationId};
use crate::domain::inbound::{InboundTerms, InboundToken};
use crate::domain::locale::{self, Locale};
use crate::domain::magic_link::{LinkTerms, MagicLink, Method};
use crate::domain::mode::Mode;
use crate::domain::quota::{Charge, Counted, Quota, Resource};
use crate::domain::sandbox;
use crate::domain::service::{EXPIRY_MAX_SECONDS, EXPIRY_MIN_SECONDS, EXPIRY_STANDARD_SECONDS, Service};
use crate::domain::template::{self, CustomTemplate};
use crate::domain::vault::Purpose;
use crate::domain::verification::{Policy, Status, StoredAddress, StoredCode, Verification};
use crate::ports::{Admission, AdmitError, Drawn, Entropy, Idempotency, Item, Job, NewVerification};

/// How long an idempotency key is remembered: 24 hours. Source: product defaults.
pub(super) const IDEMPOTENCY_TIME: SignedDuration = SignedDuration::from_hours(24);
/// Longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 255;
/// Most metadata pairs.
const METADATA_MAX: usize = 20;
/// Longest name and value of a metadata pair, in characters.
const METADATA_LENGTHS_MAX: (usize, usize) = (40, 500);

/// A caller's word that this is the same request as before.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// What the caller calls it: 1 to 255 bytes.
    pub key: String,
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
}

/// A request to verify an address.
#[derive(Debug, Clone, Default)]
pub struct StartVerification {
    /// A phone number in E.164 or an email address; none where the person writes, and whoever does is verified.
    pub to: Option<String>,
    /// How it is approved.
    pub method: Method,
    /// What is agreed about its link; only where it is approved by one.
    pub link: Option<LinkTerms>,
    /// The service's id; none for the key's or the tenant's default.
    pub service: Option<String>,
    /// Channels in order; empty for the service's.
    pub channels: Vec<String>,
    /// The language; none for that of the number's region, then the service's.
    pub locale: Option<String>,
    /// Characters of the code; none for the service's.
    pub code_length: Option<u8>,
    /// What the code is made of; none for the service's.
    pub code_kind: Option<CodeKind>,
    /// Life of the code; none for the service's.
    pub expires_in_seconds: Option<u32>,
    /// Whether `expires_in_seconds` may be up to 3600 though the service did not opt in: the
    /// WOTP-compatible face promises it. It is marked all the same.
    pub long_expiry_allowed: bool,
    /// The caller's own code, where the service allows it.
    pub code: Option<String>,
    /// A text for this verification, by the same rules as a service's template.
    pub template: Option<String>,
    /// The caller's own notes: at most 20 pairs.
    pub metadata: BTreeMap<String, String>,
    /// The IP address of the end user, for the guard. It is not kept.
    pub ip: Option<String>,
    /// The caller's word that this is the same request as before.
    pub idempotency: Option<IdempotencyKey>,
    /// How often the address is written to, in place of the service's: for the platform itself.
    pub address_limits: Option<AddressLimits>,
    /// What it is to be called, where something that is stored already names it: for the platform itself.
    pub id: Option<VerificationId>,
}

impl App {
    /// Starts a verification: admits it against quota and limits, draws the code or the link, rings a worker.
    ///
    /// When it returns, the verification is stored and will be attempted, whatever crashes. One that the guard of
    /// the service blocks is stored as failed, reaches no channel and is not counted; beyond a ceiling for each day
    /// it is [`Refusal::NotKept`].
    ///
    /// # Errors
    /// [`Refusal`]; nothing was counted then.
    pub async fn start_verification(
        &self,
        caller: &ApiCaller,
        request: StartVerification,
    ) -> Result<Verification, Refusal> {
        let (service, guard) = self.service_with_guard(caller, request.service.as_deref()).await?;
        let available = self.available(service.tenant).await?;
        let number = match request.method {
            Method::Inbound => Some(self.own_number(caller).await),
            Method::Code | Method::Link => None,
        };
        let (mut new, ip, token) = self.new_verification(caller, &service, request, &available, number)?;
        let id = new.verification.id;
        let mut judgement = self.judge(&guard, &new.verification, ip, Step::Start).await?;
        let against = judgement.blocked().cloned();
        new.verification.guard = std::mem::take(&mut judgement.notes);
        if let Some(note) = against {
            new.verification.block(new.verification.created_at);
            let kept = self.keeps_blocked(&guard, &note, &mut judgement).await?;
            new.unkept = (!kept).then_some(note);
        }
        let admitted = self.store_of(caller).admit(new).await.map_err(admit_refusal);
        judgement.is_admitted();
        match admitted {
            Ok(Admission::Admitted(verification)) if verification.status == Status::Pending => {
                // Where the person writes nothing goes out, and the watch looks at what does.
                if verification.inbound.is_none() {
                    let item = Item::Verification(id);
                    self.ring(Job { tenant: caller.tenant.id, item, token: Some(token) }).await;
                    self.note_started(&verification, &judgement);
                }
                Ok(verification)
            }
            Ok(Admission::Admitted(blocked)) => Ok(blocked),
            Ok(Admission::Repeated(verification)) => {
                self.judged_in_vain(&judgement);
                Ok(verification)
            }
            Err(refusal) => {
                self.judged_in_vain(&judgement);
                Err(refusal)
            }
        }
    }

    /// What is to be admitted, for whom, and the token of the hold that it is born with. `number` is the one to write to,
    /// where the person is to write.
    fn new_verification(
        &self,
        caller: &ApiCaller,
        service: &Service,
        request: StartVerification,
        available: &Available<'_>,
        number: Option<Result<String, Refusal>>,
    ) -> Result<(NewVerification, Option<IpAddr>, LeaseToken), Refusal> {
        let now = self.now();
        let mode = caller.mode();
        let mut errors = Vec::new();
        let address = match (&request.to, request.method) {
            (Some(to), _) => Address::parse(to).map_err(|error| push(&mut errors, "to", error)).ok(),
            (None, Method::Inbound) => None,
            (None, Method::Code | Method::Link) => {
                push(&mut errors, "to", "is missing");
                None
            }
        };
        let policy = self.policy(service, &request, address.as_ref(), now, &mut errors);
        let code = chosen_code(service, &request, &policy, &mut errors);
        fits_method(&request, address.as_ref(), &mut errors);
        let link = link_terms(&request, &mut errors);
        check_metadata(&request.metadata, &mut errors);
        let ip = end_user_ip(request.ip.as_deref(), &mut errors);
        let idempotency =
            idempotency("start_verification", mode, service.id, request.idempotency.as_ref(), now, &mut errors);
        if !errors.is_empty() {
            return Err(Refusal::Invalid(errors));
        }
        if link.is_some() {
            self.public_url()?;
        }
        let number = number.transpose()?;
        let channels = match &address {
            Some(address) if number.is_none() => self.route(mode, &request.channels, service, address, available)?,
            _ => Vec::new(),
        };

        let entropy = Drawn::from(&*self.ports.entropy);
        let id = request.id.unwrap_or_else(|| VerificationId::new(now, &entropy));
        let token = token(&entropy);
        let own_limits = request.address_limits.clone();
        let (purpose, code) = match request.method {
            Method::Inbound => (Purpose::Inbound, InboundToken::draw(id, &entropy).secret()),
            Method::Link => (Purpose::Link, MagicLink::draw(caller.tenant.id, id, &entropy).secret()),
            Method::Code => {
                let drawn = || Code::draw(policy.code_kind, policy.code_length, &entropy);
                (Purpose::Code, code.unwrap_or_else(drawn))
            }
        };
        // A short code is marked as such, whoever chose it.
        let code_length = u8::try_from(code.as_str().len()).unwrap_or(policy.code_length);
        let quota = self.quota(caller, mode, now)?;
        let owner = id.to_bytes();
        let expires_at = after(now, policy.expires_in_seconds);
        let delivery = DeliveryId::new(now, &entropy);
        let policy = Arc::new(Policy {
            templates: match request.method {
                Method::Inbound | Method::Link => Vec::new(),
                Method::Code => templates(service, &request, &policy, &channels, now),
            },
            code_length,
            retention: policy.retention.at_most(self.plan_of(&caller.tenant)?.limits.retention_days),
            ..policy
        });
        let inbound = number.map(|number| InboundTerms {
            number: self.ports.vault.seal(Purpose::OwnNumber, &owner, &number, &entropy),
            replies: service.settings.inbound_replies,
            speaks_as_sender: request.to.is_none() && request.locale.is_none(),
        });
        let is_sent = inbound.is_none();
        let verification = Verification {
            id,
            tenant: caller.tenant.id,
            service: service.id,
            key: caller.key().map(|key| key.id),
            version: 1,
            mode,
            address: address.as_ref().map(|address| self.store_address(caller.tenant.id, &owner, address, &entropy)),
            status: Status::Pending,
            reason: None,
            code: Some(StoredCode {
                hash: self.ports.vault.hash_code(&owner, &code),
                sealed: self.ports.vault.seal(purpose, &owner, code.as_str(), &entropy),
            }),
            spent_token: None,
            checks_used: 0,
            sends: if is_sent { vec![now] } else { Vec::new() },
            dispatch: match is_sent {
                true => Dispatch::born_leased(channels, delivery, now, self.lease_end(now), token),
                false => Dispatch::none(),
            },
            counted: counted(&quota),
            created_at: now,
            expires_at,
            ended_at: None,
            metadata: request.metadata,
            link,
            inbound,
            other_numbers: 0,
            guard: Vec::new(),
            country: None,
            charges: Vec::new(),
            asking: Vec::new(),
            revoking: Vec::new(),
            rewritten: false,
            news: Vec::new(),
            charged: Vec::new(),
            policy,
        };
        // They bound what the address is sent.
        let is_limited = is_sent && address.as_ref().and_then(sandbox::find).is_none();
        let address_limits = is_limited.then(|| own_limits.unwrap_or_else(|| service.settings.address_limits.clone()));
        Ok((NewVerification { verification, quota, address_limits, idempotency, unkept: None }, ip, token))
    }

    fn policy(
        &self,
        service: &Service,
        request: &StartVerification,
        address: Option<&Address>,
        now: Timestamp,
        errors: &mut Vec<FieldError>,
    ) -> Policy {
        let settings = &service.settings;
        let called: Option<Locale> =
            request.locale.as_deref().and_then(|text| text.parse().map_err(|error| push(errors, "locale", error)).ok());
        let speaks =
            |locale: &Locale| template::speaks(locale) || service.templates.current().any(|own| own.locale == *locale);
        let region = address.and_then(Address::region);
        let code_length = request.code_length.unwrap_or(settings.code.length);
        if !(code::LENGTH_MIN..=code::LENGTH_MAX).contains(&code_length) {
            push(errors, "code_length", "is 4 to 12");
        }
        let expires_in_seconds = request.expires_in_seconds.unwrap_or(settings.code.expires_in_seconds);
        let long = settings.code.long_expiry_allowed || request.long_expiry_allowed;
        let longest = if long { EXPIRY_MAX_SECONDS } else { EXPIRY_STANDARD_SECONDS };
        if !(EXPIRY_MIN_SECONDS..=longest).contains(&expires_in_seconds) {
            push(errors, "expires_in_seconds", "is 30 to 600; services with `code.long_expiry_allowed` go up to 3600");
        }
        if let Some(text) = &request.template {
            let policy = template::Policy { links_allowed: settings.links_allowed };
            // Validated as it would be published, so that one rule holds for both.
            let mut trial = template::TemplateSet::default();
            if let Err(error) = trial.publish(None, Locale::ENGLISH, None, text, now, policy) {
                push(errors, "template", error);
            }
        }
        Policy {
            brand: settings.brand.clone(),
            locale: locale::resolve_with(called.as_ref(), region, &settings.locale, speaks),
            code_kind: request.code_kind.unwrap_or(settings.code.kind),
            code_length,
            expires_in_seconds,
            checks_allowed: settings.code.checks,
            address_limits: settings.address_limits.clone(),
            ack_timeout_seconds: settings.failover_after_seconds,
            retention: settings.retention.clone(),
            web_origin: settings.web_origin.clone(),
            sms_retriever_hash: settings.sms_retriever_hash.clone(),
            templates: Vec::new(),
        }
    }

    /// The channels for an address, without those through which nothing gets out. With a test key nothing reaches a
    /// channel, so one that is not there is no obstacle.
    pub(super) fn route(
        &self,
        mode: Mode,
        called: &[String],
        service: &Service,
        address: &Address,
        available: &Available<'_>,
    ) -> Result<Vec<String>, Refusal> {
        let simulated = mode == Mode::Test || sandbox::find(address).is_some();
        let silent = if simulated { &[][..] } else { &available.silent };
        let is_silent = |name: &String| silent.iter().any(|channel| channel.name == *name);
        let wanted = if called.is_empty() { &service.settings.channels } else { called };
        let mut missing = silent.iter().filter(|channel| wanted.is_empty() || wanted.contains(&channel.name));
        let (mut called, mut there) = (Cow::Borrowed(called), Cow::Borrowed(&*available.channels));
        if !silent.is_empty() {
            if !called.is_empty() && called.iter().all(is_silent) {
                return Err(Refusal::NoSender);
            }
            called.to_mut().retain(|name| !is_silent(name));
            there.to_mut().retain(|channel| !is_silent(&channel.name));
        }
        match crate::domain::routing::route(&called, &service.settings.channels, &there, address.kind()) {
            // A number that fails over needs somewhere to fail over to.
            Ok(mut channels)
                if simulated
                    && channels.len() == 1
                    && sandbox::find(address) == Some(sandbox::Behaviour::FailsOver) =>
            {
                channels.push(SANDBOX_CHANNEL.to_owned());
                Ok(channels)
            }
            Ok(channels) => Ok(channels),
            Err(crate::domain::routing::RoutingError::NoChannel { .. }) if simulated && called.is_empty() => {
                Ok(vec![SANDBOX_CHANNEL.to_owned(), format!("{SANDBOX_CHANNEL}_2")])
            }
            Err(crate::domain::routing::RoutingError::NoChannel { kind, .. })
                if missing.any(|channel| channel.reaches.contains(&kind)) =>
            {
                Err(Refusal::NoSender)
            }
            Err(error) => Err(Refusal::Routing(error)),
        }
    }

    pub(super) fn store_address(
        &self,
        tenant: TenantId,
        owner: &[u8; 16],
        address: &Address,
        entropy: &dyn Entropy,
    ) -> StoredAddress {
        StoredAddress {
            sealed: self.ports.vault.seal(Purpose::Address, owner, address.as_str(), entropy),
            index: self.ports.vault.index(tenant, address),
            masked: address.masked(),
            kind: address.kind(),
            region: address.region().map(str::to_owned),
        }
    }

    fn quota(&self, caller: &ApiCaller, mode: Mode, now: Timestamp) -> Result<Quota, Refusal> {
        let resource = match mode {
            Mode::Live => Resource::Verifications,
            Mode::Test => Resource::TestVerifications,
        };
        Ok(self.plan_of(&caller.tenant)?.quota(resource, now, caller.tenant.period_anchor))
    }

    /// The code, for a test key, while it is of use.
    ///
    /// # Errors
    /// [`Refusal::Vault`].
    pub fn test_code(&self, verification: &Verification) -> Result<Option<Code>, Refusal> {
        match &verification.code {
            Some(code) if verification.mode == Mode::Test && verification.method().is_code() => {
                let text = self.ports.vault.open(Purpose::Code, &verification.id.to_bytes(), &code.sealed)?;
                Ok(Some(Code::unsealed(text)))
            }
            _ => Ok(None),
        }
    }
}

/// The texts that these channels may need: the call's own, or the service's.
fn templates(
    service: &Service,
    request: &StartVerification,
    policy: &Policy,
    channels: &[String],
    now: Timestamp,
) -> Vec<CustomTemplate> {
    if let Some(text) = &request.template {
        return vec![CustomTemplate {
            channel: None,
            locale: policy.locale,
            version: 0,
            subject: None,
            text: text.clone(),
            created_at: now,
        }];
    }
    let mut chosen: Vec<CustomTemplate> = Vec::new();
    for template in channels.iter().filter_map(|channel| service.templates.choose(channel, &policy.locale)) {
        if !chosen.contains(template) {
            chosen.push(template.clone());
        }
    }
    chosen
}

/// What a simulated delivery says it went through, where no channel is set up.
const SANDBOX_CHANNEL: &str = "sandbox";

pub(super) fn push(errors: &mut Vec<FieldError>, field: &str, message: impl ToString) {
    errors.push(FieldError { field: field.to_owned(), message: message.to_string() });
}

/// The IP address of the end user, if the call names one.
pub(super) fn end_user_ip(given: Option<&str>, errors: &mut Vec<FieldError>) -> Option<IpAddr> {
    let ip = given?.trim().parse().ok();
    if ip.is_none() {
        push(errors, "ip", "is the IP address of the end user, as in `192.0.2.7` or `2001:db8::7`");
    }
    ip
}

pub(super) fn after(now: Timestamp, seconds: u32) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
}

pub(super) fn counted(quota: &Quota) -> Counted {
    let [day, month] = quota.allowances.map(|allowance| allowance.window.starts);
    Counted { resource: quota.resource, charge: Charge::Included, day, month, refunded: false }
}

pub(super) fn admit_refusal(error: AdmitError) -> Refusal {
    match error {
        AdmitError::Quota(exceeded) => Refusal::Quota(exceeded),
        AdmitError::Address(limited) => Refusal::Address(limited),
        AdmitError::KeyReused => Refusal::KeyReused,
        AdmitError::NotKept(note) => Refusal::NotKept(note),
        AdmitError::Store(error) => Refusal::Store(error),
    }
}

/// What is stored of an idempotency key. Unique in the tenant, the operation, the mode and the service.
pub(super) fn idempotency(
    operation: &str,
    mode: Mode,
    service: ServiceId,
    given: Option<&IdempotencyKey>,
    now: Timestamp,
    errors: &mut Vec<FieldError>,
) -> Option<Idempotency> {
    let given = given?;
    if given.key.is_empty() || given.key.len() > IDEMPOTENCY_KEY_LENGTH_MAX {
        push(errors, "Idempotency-Key", "has 1 to 255 characters");
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(operation.as_bytes());
    hash.update([0, u8::from(mode == Mode::Live)]);
    hash.update(service.to_bytes());
    hash.update(given.key.as_bytes());
    let expires_at = now.saturating_add(IDEMPOTENCY_TIME).unwrap_or(Timestamp::MAX);
    Some(Idempotency { key: hash.finalize().into(), fingerprint: given.fingerprint, expires_at })
}

fn chosen_code(
    service: &Service,
    request: &StartVerification,
    policy: &Policy,
    errors: &mut Vec<FieldError>,
) -> Option<Code> {
    let text = request.code.as_deref()?;
    if !service.settings.code.custom_allowed {
        push(errors, "code", "is not allowed: the service has not set `code.custom_allowed`");
        return None;
    }
    let code = Code::chosen(text).map_err(|error| push(errors, "code", error)).ok()?;
    // The length that the caller's code has is the one that is marked if it is too short.
    if request.code_length.is_some() && code.as_str().len() != usize::from(policy.code_length) {
        push(errors, "code", "does not have `code_length` characters; leave that out");
    }
    Some(code)
}

/// Says what is of no use with the method. What a code is made of and what is said around it is none of a link's or a
/// message's, nor by what a message that the person writes is sent, so a call that names both has mistaken something.
fn fits_method(request: &StartVerification, address: Option<&Address>, errors: &mut Vec<FieldError>) {
    let name = match request.method {
        Method::Code => return,
        Method::Link => "link",
        Method::Inbound => "inbound",
    };
    let of_codes = [
        ("code", request.code.is_some()),
        ("code_length", request.code_length.is_some()),
        ("code_kind", request.code_kind.is_some()),
        ("template", request.template.is_some()),
    ];
    for (field, _) in of_codes.into_iter().filter(|(_, is_given)| *is_given) {
        push(errors, field, format!("is for codes; with `method: \"{name}\"` leave it out"));
    }
    if request.method != Method::Inbound {
        return;
    }
    if !request.channels.is_empty() {
        push(
            errors,
            "channels",
            "are for what is sent; with `method: \"inbound\"` the person writes, so leave them out",
        );
    }
    if matches!(address, Some(Address::Email(_))) {
        push(errors, "to", "is a phone number with `method: \"inbound\"`: a message comes from one");
    }
}

/// What is agreed about a link, if there is to be one.
fn link_terms(request: &StartVerification, errors: &mut Vec<FieldError>) -> Option<LinkTerms> {
    if request.method != Method::Link {
        if request.link.is_some() {
            push(errors, "link", "is for `method: \"link\"`; leave it out, or name that method");
        }
        return None;
    }
    let terms = request.link.clone().unwrap_or_default();
    let urls = [("link.redirect_url", &terms.redirect_url), ("link.same_browser.return_url", &terms.return_url)];
    for (field, url) in urls {
        if let Some(Err(error)) = url.as_deref().map(LinkTerms::check_url) {
            push(errors, field, error);
        }
    }
    Some(terms)
}

fn check_metadata(metadata: &BTreeMap<String, String>, errors: &mut Vec<FieldError>) {
    let (name_max, value_max) = METADATA_LENGTHS_MAX;
    if metadata.len() > METADATA_MAX {
        push(errors, "metadata", "holds at most 20 pairs");
    }
    let fits = |(name, value): (&String, &String)| {
        !name.is_empty() && name.chars().count() <= name_max && value.chars().count() <= value_max
    };
    if !metadata.iter().all(fits) {
        push(errors, "metadata", "has names of 1 to 40 and values of up to 500 characters");
    }
    // A document of MongoDB has no such names, and one would fail all that is stored together with it.
    if metadata.keys().any(|name| name.contains('\0')) {
        push(errors, "metadata", "has no names with the character NUL");
    }
}
