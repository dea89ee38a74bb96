//! Verifications that are already there before the load begins.
//!
//! Through the store itself: over HTTP a million would take the better part of the run. Everything
//! else in this crate knows the platform by its HTTP interface and command line only, but for the
//! queue, which has neither.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wotp_core::app::{ApiCaller, App, NewTenant, Refusal, StartVerification};
use wotp_core::domain::address::Address;
use wotp_core::domain::dispatch::{DeliveryStatus, Verdict};
use wotp_core::domain::id::{DeliveryId, VerificationId};
use wotp_core::domain::quota::Resource;
use wotp_core::domain::vault::Purpose;
use wotp_core::domain::verification::{StoredAddress, Verification};
use wotp_core::ports::{AdmitError, NewVerification};
use wotp_server::config::Config;
use wotp_server::data_folder::{DataFolder, FolderError};
use wotp_server::wiring::{Purpose as OpenedFor, WiringError, wire};

use crate::api::Tenant;
use crate::number::e164;

/// Tenants that load runs as, at most.
const CALLERS: usize = 64;
/// Admissions under way at once: enough that commits are shared.
const AT_ONCE: usize = 256;

/// Why a store cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum PreloadError {
    /// The data folder.
    #[error("the data folder cannot be used")]
    Folder(#[from] FolderError),
    /// The installation.
    #[error("the installation cannot be opened")]
    Wiring(#[from] WiringError),
    /// A use case.
    #[error("a tenant or the first verification was refused")]
    Refused(#[from] Refusal),
    /// An admission.
    #[error("a verification was not admitted")]
    Admit(#[from] AdmitError),
    /// The runtime.
    #[error("the store cannot be filled from a thread of its own")]
    Runtime(#[from] std::io::Error),
    /// A bug of ours.
    #[error("the filling thread panicked")]
    Panicked,
}

/// Fills the data folder with finished verifications of `tenants` tenants, spread evenly, and returns up
/// to 64 of these tenants for the load to run as. No server may be running on the folder.
///
/// The tenants are on the plan `unlimited`. Addresses are those of [`crate::number::e164`] below
/// [`crate::number::FIRST_OF_LOAD`], so that no call of the load meets one again.
///
/// # Errors
/// [`PreloadError`].
pub fn preload(data: &Path, tenants: u32, verifications: u64) -> Result<Vec<Tenant>, PreloadError> {
    // A thread of its own: the caller may be inside a runtime, which cannot wait for another.
    let fill = || -> Result<Vec<Tenant>, PreloadError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(fill(data, tenants, verifications))
    };
    std::thread::scope(|scope| scope.spawn(fill).join().map_err(|_| PreloadError::Panicked)?)
}

/// A tenant and a verification of its own to make others after.
struct Model {
    new: NewTenant,
    verification: Verification,
}

async fn fill(data: &Path, tenants: u32, verifications: u64) -> Result<Vec<Tenant>, PreloadError> {
    let folder = DataFolder::create(data)?;
    let config = Config::default();
    let channels = wotp_server::wiring::channels(&config, &folder).await?;
    let app = wire(&config, &folder, OpenedFor::Serve, channels).await?.app;
    let mut models = Vec::new();
    for n in 0..tenants.max(1) {
        models.push(model(&app, &format!("Bench {n}")).await?);
    }
    let returned = models.iter().take(CALLERS).map(|model| Tenant {
        tenant: model.new.tenant.id.to_string(),
        service: model.new.service.id.to_string(),
        live_key: model.new.live_key.reveal().to_owned(),
        test_key: model.new.test_key.reveal().to_owned(),
    });
    let returned: Vec<Tenant> = returned.collect();
    let (models, next) = (Arc::new(models), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (app, models, next) = (Arc::clone(&app), Arc::clone(&models), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= verifications {
                        return Ok::<(), PreloadError>(());
                    }
                    let model = &models[usize::try_from(n).unwrap_or(0) % models.len()];
                    admit_finished(&app, model, &e164(n)).await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|_| PreloadError::Panicked)??;
    }
    Ok(returned)
}

/// A tenant, and a finished verification of it as the product makes them.
async fn model(app: &App, name: &str) -> Result<Model, PreloadError> {
    let new = app.create_tenant(name, "unlimited").await?;
    let key = app.authenticate(Some(new.test_key.reveal()), None, None).await?;
    let caller: ApiCaller = key;
    let request = StartVerification { to: Some("+12025550123".to_owned()), ..StartVerification::default() };
    let mut verification = app.start_verification(&caller, request).await?;
    let now = verification.created_at;
    let next = DeliveryId::new(now, &*app.ports().entropy);
    verification.settle(
        Verdict::Sent { provider_id: None, reached: DeliveryStatus::Delivered, cost: None },
        now,
        || next,
    );
    verification.check(|_| true, now);
    verification.version = 1;
    verification.mode = wotp_core::domain::mode::Mode::Live;
    Ok(Model { new, verification })
}

async fn admit_finished(app: &App, model: &Model, to: &str) -> Result<(), PreloadError> {
    let ports = app.ports();
    let address = Address::parse(to).expect("a number for load is valid");
    let tenant = model.new.tenant.id;
    let now = ports.clock.now();
    let id = VerificationId::new(now, &*ports.entropy);
    let plan =
        ports.plans.find(&model.new.tenant.plan).ok_or_else(|| Refusal::UnknownPlan(model.new.tenant.plan.clone()))?;
    let verification = Verification {
        id,
        address: Some(StoredAddress {
            sealed: ports.vault.seal(Purpose::Address, &id.to_bytes(), address.as_str(), &*ports.entropy),
            index: ports.vault.index(tenant, &address),
            masked: address.masked(),
            kind: address.kind(),
            region: address.region().map(str::to_owned),
        }),
        ..model.verification.clone()
    };
    let quota = plan.quota(Resource::Verifications, now, model.new.tenant.period_anchor);
    let new = NewVerification { verification, quota, address_limits: None, idempotency: None, unkept: None };
    ports.store.tenant(tenant).admit(new).await?;
    Ok(())
}
