//! The platform's own tenant, through which it writes to people.

use std::sync::{Arc, OnceLock};

use super::super::{ApiCaller, App, Holder, Refusal, SendMessage, StartVerification};
use super::Whence;
use crate::domain::plan::{Limits, OnQuota, Plan};
use crate::domain::quota::Period;
use crate::domain::rate::Rate;
use crate::domain::service::{Service, Settings};
use crate::domain::template::TemplateSet;
use crate::domain::tenant::{HOUSE, HOUSE_SERVICE, Standing, Tenant};
use crate::domain::user::AccountEmail;
use crate::domain::verification::Verification;
use crate::ports::{Bucket, Change, CommitError};

/// Life of a code that goes to an email address. Source: NIST SP 800-63B-4 allows a day to confirm an address,
/// but 10 minutes for what lets somebody in; one time for both.
const CODE_LIFE_SECONDS: u32 = 600;
/// Mails that one address of a client may cause.
const MAILS: Rate = Rate { per_second: 1, burst: 20 };
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

    /// Sends a code to an address, the same whoever has an account there.
    pub(super) async fn send_code(&self, email: &AccountEmail, whence: &Whence) -> Result<Verification, Refusal> {
        self.brake_mails(whence).await?;
        let house = self.house(whence).await?;
        let request = StartVerification {
            to: email.as_str().to_owned(),
            expires_in_seconds: Some(CODE_LIFE_SECONDS),
            ..StartVerification::default()
        };
        self.start_verification(&house, request).await
    }

    /// Whether one client causes too many mails; addresses have their own limits.
    async fn brake_mails(&self, whence: &Whence) -> Result<(), Refusal> {
        let name = self.ports.vault.veil("mails", &[&super::brake::bucket(whence.ip)]);
        let name = format!("mails:{:032x}", u128::from_be_bytes(name));
        let Ok(decisions) = self.ports.limiter.take(&[Bucket { name, rate: MAILS }], self.now()).await else {
            return Ok(());
        };
        match decisions.first() {
            Some(decision) if !decision.allowed => {
                Err(Refusal::Rate { policy: "client", rate: MAILS, decision: *decision })
            }
            _ => Ok(()),
        }
    }

    /// Tells a person that something happened to their account. What cannot be told is in the log.
    pub(super) async fn tell(&self, address: &str, content: &str, whence: &Whence) {
        let told = async {
            let house = self.house(whence).await?;
            let message = SendMessage { to: address.to_owned(), content: content.to_owned(), ..SendMessage::default() };
            self.send_message(&house, message).await
        };
        if let Err(error) = told.await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a person could not be told of a change to their account");
        }
    }
}
