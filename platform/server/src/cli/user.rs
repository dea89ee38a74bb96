use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use wotp_core::app::Refusal;
use wotp_core::domain::audit::By;

use super::Global;
use super::failure::Failure;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Take the second factor from somebody who lost both their app and their recovery codes
    ///
    /// Make sure by other means that it is they who ask: from then on their password alone lets somebody in. Ends
    /// all their sessions, is in the audit log, and a running server tells them by mail.
    ResetSecondFactor {
        /// The email address they sign in with
        email: String,
    },
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    let Command::ResetSecondFactor { email } = command;
    let (_, wired) = global.open().await?;
    let reset = wired.app.reset_second_factor(&By::command_line(), &email).await;
    let user = reset.map_err(|refusal| match refusal {
        Refusal::NotFound("account") => Failure::new(format!("{email} has no account")),
        Refusal::NotFound("second factor") => Failure::new(format!("{email} has no second factor")),
        refusal => refusal.into(),
    })?;
    let machines = json!({ "user": user.id, "email": user.email_masked });
    global.output().print(&machines, || {
        format!("{} ({}) has no second factor any more, and is signed out everywhere", user.email_masked, user.id)
    })?;
    Ok(ExitCode::SUCCESS)
}
