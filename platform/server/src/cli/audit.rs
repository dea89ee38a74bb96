use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use wotp_core::app::{AuditFilter, AuditFrom, AuditReport};
use wotp_core::domain::id::TenantId;
use wotp_core::ports::Owner;

use super::failure::Failure;
use super::{Global, output};
use crate::http::audit::line;

/// Entries that an export reads at once.
const EXPORTED_AT_ONCE: usize = 500;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Walk every log from its first entry, and say where one is not what was written; exits with 1 then
    ///
    /// Finds an entry that was changed, removed, moved or put in, and an end that was cut off. Keep the digests
    /// that it prints somewhere else: only by them can it be seen that a whole database was put back.
    Verify {
        /// Only this tenant's [default: the platform's own and every tenant's]
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Print a log, oldest first, one JSON object a line
    Export {
        /// This tenant's [default: the platform's own]
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Verify { tenant } => verify(global, tenant).await,
        Command::Export { tenant } => export(global, tenant).await,
    }
}

async fn verify(global: &Global, tenant: Option<TenantId>) -> Result<ExitCode, Failure> {
    let (_, wired) = global.open().await?;
    let app = wired.app;
    let owners = match tenant {
        Some(tenant) => {
            let found = app.ports().store.tenant(tenant).find_tenant().await;
            found.map_err(wotp_core::app::Refusal::from)?.ok_or(wotp_core::app::Refusal::NotFound("tenant"))?;
            vec![Owner::Tenant(tenant)]
        }
        None => app.audit_owners().await?,
    };
    let mut reports = Vec::with_capacity(owners.len());
    for owner in owners {
        reports.push(app.verify_audit(owner).await?);
    }
    let sound = reports.iter().all(|report| report.fault.is_none());
    let machines = json!({ "sound": sound, "chains": reports.iter().map(shown).collect::<Vec<_>>() });
    global.output().print(&machines, || {
        let row = |report: &AuditReport| {
            let found = report.fault.as_ref().map_or_else(|| "sound".to_owned(), |fault| format!("NOT SOUND: {fault}"));
            vec![name(report.owner), report.sound.to_string(), report.digest.clone(), found]
        };
        let rows: Vec<_> = reports.iter().map(row).collect();
        output::table(&["log of", "sound entries", "digest of the last", "found"], &rows)
    })?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn name(owner: Owner) -> String {
    match owner {
        Owner::Platform => "the platform".to_owned(),
        Owner::Tenant(tenant) => tenant.to_string(),
    }
}

fn shown(report: &AuditReport) -> Value {
    let tenant = match report.owner {
        Owner::Platform => None,
        Owner::Tenant(tenant) => Some(tenant),
    };
    json!({
        "tenant": tenant,
        "sound_entries": report.sound,
        "digest": report.digest,
        "fault": report.fault.as_ref().map(ToString::to_string),
    })
}

async fn export(global: &Global, tenant: Option<TenantId>) -> Result<ExitCode, Failure> {
    let (_, wired) = global.open().await?;
    let owner = tenant.map_or(Owner::Platform, Owner::Tenant);
    let filter = AuditFilter::default();
    let mut from = AuditFrom::Oldest(None);
    loop {
        let page = wired.app.audit_page(owner, &filter, from, EXPORTED_AT_ONCE).await?;
        let mut lines = Vec::new();
        for entry in page.entries {
            lines.extend(line(entry));
            lines.push(b'\n');
        }
        match std::io::stdout().lock().write_all(&lines) {
            // `wotp audit export | head` has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(Failure::caused("standard output cannot be written to", error)),
            Ok(()) => {}
        }
        match page.next {
            Some(end) => from = AuditFrom::Oldest(Some(end)),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}
