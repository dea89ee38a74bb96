use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use wotp_core::app::Refusal;
use wotp_core::domain::audit::By;
use wotp_core::domain::user::User;
use wotp_core::ports::Entropy;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::{Global, output};

/// Characters of a password that is drawn here: 20 of 32 are 100 bits. None is taken for another.
const DRAWN_LENGTH: usize = 20;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make somebody an operator. Who has no account yet gets one, with a password that is shown this once
    Create {
        /// The email address they sign in with
        email: String,
        /// Take the new account's password from this file, and show none
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List the operators
    List {
        /// Show their whole email addresses
        #[arg(long)]
        addresses: bool,
    },
    /// Take the right to run the platform from somebody; their account stays
    Remove {
        /// The email address they sign in with
        email: String,
    },
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Create { email, password_file } => create(global, &email, password_file).await?,
        Command::List { addresses } => list(global, addresses).await?,
        Command::Remove { email } => {
            let (_, wired) = global.open().await?;
            let user = wired.app.dismiss_operator(&By::command_line(), &email).await?;
            global.output().print(&shown(&user), || format!("{} is no operator any more", user.email_masked))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(global: &Global, email: &str, password_file: Option<PathBuf>) -> Result<(), Failure> {
    let (_, wired) = global.open_or_create().await?;
    let by = By::command_line();
    let given = match &password_file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::caused(format!("{} cannot be read", file.display()), error))?;
            Some(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
        }
        None => None,
    };
    let known = wired.app.appoint_operator(&by, email, given.as_deref().map(String::as_str)).await;
    let (user, drawn) = match known {
        Ok(user) => (user, None),
        // There is no account, and no password was given for one.
        Err(Refusal::Invalid(errors)) if given.is_none() && errors.iter().all(|error| error.field == "password") => {
            let password = draw(&*wired.app.ports().entropy);
            (wired.app.appoint_operator(&by, email, Some(&password)).await?, Some(password))
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let machines = json!({
        "operator": user.id,
        "email": user.email_masked,
        "password": drawn.as_deref().map(String::as_str),
    });
    global.output().print(&machines, || match &drawn {
        Some(password) => format!(
            "operator  {}  {}\npassword  {}\n\nThe password is shown this once; change it after signing in.",
            user.id, user.email_masked, **password
        ),
        None => format!("{} ({}) is an operator", user.email_masked, user.id),
    })
}

fn draw(entropy: &dyn Entropy) -> Zeroizing<String> {
    let mut random = Zeroizing::new([0; DRAWN_LENGTH]);
    entropy.fill(&mut *random);
    Zeroizing::new(random.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect())
}

async fn list(global: &Global, addresses: bool) -> Result<(), Failure> {
    let (_, wired) = global.open().await?;
    let mut operators = wired.app.operators().await?;
    if addresses {
        for user in &mut operators {
            // One that cannot be read stays as it is known: the others are there all the same.
            if let Ok(address) = user.address(&wired.app.ports().vault) {
                user.email_masked = address;
            }
        }
    }
    let machines = json!({ "operators": operators.iter().map(shown).collect::<Vec<_>>() });
    global.output().print(&machines, || {
        if operators.is_empty() {
            return "there are no operators yet; `wotp operator create EMAIL` makes one".to_owned();
        }
        let since = |user: &User| user.operator_since.map(|at| at.to_string()).unwrap_or_default();
        let row = |user: &User| vec![user.id.to_string(), user.email_masked.clone(), since(user)];
        output::table(&["id", "email", "since"], &operators.iter().map(row).collect::<Vec<_>>())
    })
}

fn shown(user: &User) -> serde_json::Value {
    json!({ "operator": user.id, "email": user.email_masked, "since": user.operator_since })
}
