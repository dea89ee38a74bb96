use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::tenant::{self, Tenant};

use super::failure::Failure;
use super::{Global, output};
use crate::data_folder::DataFolder;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a tenant with a first service, one live and one test key; the keys are shown this once
    Create {
        /// What it is called; also the brand that people read, until its service says otherwise
        #[arg(value_parser = tenant::name)]
        name: String,
        /// Its plan [default: plans.default of the configuration]
        #[arg(long, value_name = "PLAN")]
        plan: Option<String>,
    },
    /// List all tenants, oldest first
    List,
    /// Move a tenant to another plan, from now on
    SetPlan {
        /// Its id, as in ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M
        tenant: TenantId,
        /// The plan
        plan: String,
    },
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Create { name, plan } => create(global, &name, plan).await?,
        Command::List => list(global).await?,
        Command::SetPlan { tenant, plan } => {
            let (_, wired) = global.open().await?;
            let tenant = wired.app.change_plan(tenant, &plan).await?;
            global.output().print(&shown(&tenant), || {
                format!("{} ({}) is on plan {} from now on", tenant.name, tenant.id, tenant.plan)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(global: &Global, name: &str, plan: Option<String>) -> Result<(), Failure> {
    let (loaded, wired) = global.open_or_create().await?;
    let plan = plan.unwrap_or_else(|| loaded.config.plans.default.clone());
    let new = wired.app.create_tenant(name, &plan).await?;
    let (live, test) = (new.live_key.reveal(), new.test_key.reveal());
    let (tenant, service) = (new.tenant.id, new.service.id);
    let machines = json!({ "tenant": tenant, "service": service, "live_key": live, "test_key": test });
    // Where a server is now, or else where it would be.
    let serving = DataFolder::open(global.data())?.serving()?;
    let url =
        serving.and_then(|serving| serving.url).unwrap_or_else(|| format!("http://{}", loaded.config.server.listen));
    global.output().print(&machines, || {
        format!(
            "tenant    {tenant}  {name}, plan {plan}\n\
             service   {service}\n\
             live key  {live}\n\
             test key  {test}\n\
             \n\
             The keys are shown this once. The test key reaches nobody; its replies carry the code. Try it:\n\
             \n\
             curl -s {url}/v1/verifications -H 'Authorization: Bearer {test}' \\\n  \
             -H 'Content-Type: application/json' -d '{{\"to\":\"+12025550123\"}}'",
            name = new.tenant.name,
        )
    })
}

async fn list(global: &Global) -> Result<(), Failure> {
    let (_, wired) = global.open().await?;
    let tenants = wired.app.tenants().await?;
    let machines = json!({ "tenants": tenants.iter().map(shown).collect::<Vec<_>>() });
    global.output().print(&machines, || {
        if tenants.is_empty() {
            return "there are no tenants yet; `wotp tenant create NAME` makes one".to_owned();
        }
        let row = |tenant: &Tenant| {
            vec![tenant.id.to_string(), tenant.plan.clone(), tenant.created_at.to_string(), tenant.name.clone()]
        };
        output::table(&["id", "plan", "created", "name"], &tenants.iter().map(row).collect::<Vec<_>>())
    })
}

fn shown(tenant: &Tenant) -> serde_json::Value {
    json!({
        "tenant": tenant.id,
        "name": tenant.name,
        "plan": tenant.plan,
        "service": tenant.default_service,
        "created_at": tenant.created_at,
    })
}
