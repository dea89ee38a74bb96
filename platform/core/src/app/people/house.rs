//! The platform's own tenant, through which it writes to people.

use std::sync::{Arc, OnceLock};

use super::super::{ApiCaller, App, Holder, Refusal, StartVerification};
use super::Whence;
use super::brake::{Device, bucket};
use crate::domain::address_limits::AddressLimits;
use crate::domain::code::CodeKind;
use crate::domain::code_sends::CodeSends;
use crate::domain::id::VerificationId;
use crate::domain::plan::{Limits, OnQuota, Plan};
use crate::domain::quota::Period;
use crate::domain::rate::Rate;
use crate::domain::service::{Service, Settings};
use crate::domain::template::TemplateSet;
use crate::domain::tenant::{HOUSE, HOUSE_SERVICE, Standing, Tenant};
use crate::domain::user::AccountEmail;
use crate::domain::verification::Verification;
use crate::ports::{Change, CommitError, Owner};

/// Life of a code that goes to an email address. Source: NIST SP 800-63B-4 allows a day to confirm an address,
/// but 10 minutes for what lets somebody in; one time for both.
pub(super) const CODE_LIFE_SECONDS: u32 = 600;
/// Characters of such a code, of an alphabet of 25: for an account as a whole six digits are too few, since whoever asks
/// for codes all day has some hundred thousand guesses, each at another account.
const CODE_LENGTH: u8 = 8;
/// Mails that one address of a client may cause.
const MAILS: Rate = Rate { per_second: 1, burst: 20 };
/// Codes that go to one address within a day, whoever asks for them; one client gets ten of them.
const SENDS_PER_DAY: u32 = 50;
/// How often a count is tried that others change at the same moment.
const TRIES: usize = 16;
/// What the platform calls itself in what it writes.
const NAME: &str = "WOTP";

/// What the platform's own tenant may use: all of it. Each address has its limits all the same.
pub(in super::super) struct HousePlan {
    plan: Plan,
    tenant: OnceLock<Arc<Tenant>>,
}

impl Default for HousePlan {
    fn default() -> Self {
        let plan = Plan {
            name: NAME.to_owned(),
            limits: Limits::default(),
            period: Period::default(),
            on_quota: OnQuota::default(),
            overage: None,
        };
        Self { plan, tenant: OnceLock::new() }
    }
}

impl HousePlan {
    pub(in super::super) fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl App {
    /// The platform as a caller of its own tenant, which is made when it is first needed.
    pub(in super::super) async fn house(&self, whence: &Whence) -> Result<ApiCaller, Refusal> {
        let tenant = match self.house.tenant.get() {
            Some(tenant) => Arc::clone(tenant),
            None => {
                let tenant = Arc::new(self.make_house().await?);
                Arc::clone(self.house.tenant.get_or_init(|| tenant))
            }
        };
        Ok(ApiCaller { tenant, holder: Holder::Platform, ip: whence.ip, request: whence.request.clone() })
    }

    async fn make_house(&self) -> Result<Tenant, Refusal> {
        if let Some(tenant) = self.ports.store.tenant(HOUSE).find_tenant().await? {
            return Ok(tenant);
        }
        let now = self.now();
        let tenant = Tenant {
            id: HOUSE,
            name: NAME.to_owned(),
            plan: "house".to_owned(),
            period_anchor: now,
            default_service: HOUSE_SERVICE,
            created_at: now,
            version: 1,
            standing: Standing::Active,
            limits: Limits::default(),
        };
        let service = Service {
            id: HOUSE_SERVICE,
            tenant: HOUSE,
            version: 1,
            name: NAME.to_owned(),
            settings: Settings { brand: NAME.to_owned(), ..Settings::default() },
            templates: TemplateSet::default(),
            created_at: now,
            updated_at: now,
        };
        let changes = vec![Change::InsertTenant(Box::new(tenant.clone())), Change::InsertService(Box::new(service))];
        match self.ports.store.commit(changes).await {
            // Another node made it at the same moment.
            Ok(()) | Err(CommitError::Taken { .. }) => Ok(tenant),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts a code for an address before it is sent, the same whoever has an account there: for each client, and
    /// for whoever has signed in to the account from a device for that alone.
    ///
    /// # Errors
    /// [`Refusal::Address`], [`Refusal::Busy`], [`Refusal::Store`].
    pub(super) async fn count_code(
        &self,
        email: &AccountEmail,
        device: Option<&Device>,
        whence: &Whence,
    ) -> Result<(), Refusal> {
        let vault = &self.ports.vault;
        let (label, client) = match device {
            Some(device) => ("code device", device.to_vec()),
            None => ("code ip", bucket(whence.ip)),
        };
        self.count_send(vault.veil(label, &[email.key(vault).as_bytes(), &client])).await
    }

    /// Sends a code to an address, under this id. An address as a whole is full only when many ask for it at once,
    /// and never for whoever has signed in to the account from where they ask.
    ///
    /// # Errors
    /// [`Refusal::Address`], [`Refusal::Routing`], [`Refusal::Store`].
    pub(super) async fn send_code(
        &self,
        id: VerificationId,
        email: &AccountEmail,
        device: Option<&Device>,
        whence: &Whence,
    ) -> Result<Verification, Refusal> {
        let per_day = if device.is_some() { u32::MAX } else { SENDS_PER_DAY };
        let house = self.house(whence).await?;
        let request = StartVerification {
            id: Some(id),
            to: Some(email.as_str().to_owned()),
            code_kind: Some(CodeKind::Alphanumeric),
            code_length: Some(CODE_LENGTH),
            expires_in_seconds: Some(CODE_LIFE_SECONDS),
            address_limits: Some(AddressLimits {
                sends_per_10_minutes: per_day,
                sends_per_day: per_day,
                cool_down_seconds: Vec::new(),
                wrong_codes_wait: false,
            }),
            ..StartVerification::default()
        };
        self.start_verification(&house, request).await
    }

    /// Counts one more code for one client at one address.
    async fn count_send(&self, id: [u8; 16]) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let now = self.now();
            let change = match self.find::<CodeSends>(Owner::Platform, id).await? {
                Some(mut sends) => {
                    sends.take(now).map_err(Refusal::Address)?;
                    Change::replace(&sends)
                }
                None => {
                    let mut sends = CodeSends::new(id);
                    sends.take(now).map_err(Refusal::Address)?;
                    Change::insert(&sends)
                }
            };
            match self.ports.store.commit(vec![change]).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Changed | CommitError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::Busy)
    }

    /// Whether one client causes too many mails; addresses have their own limits. Before anything else is done for
    /// it.
    ///
    /// # Errors
    /// [`Refusal::Rate`].
    pub(super) async fn brake_mails(&self, whence: &Whence) -> Result<(), Refusal> {
        self.brake_client("mails", MAILS, whence).await
    }
}
