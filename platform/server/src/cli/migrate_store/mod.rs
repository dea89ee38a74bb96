//! `wotp migrate-store`: an installation with a database file of its own becomes one that nodes share.

mod shown;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::json;
use wotp_core::domain::Timestamp;
use wotp_core::domain::vault::Vault;
use wotp_core::ports::Clock as _;
use wotp_store::moving::{self, Begun, Plan, Report};

use super::failure::Failure;
use super::{Global, output};
use crate::config::{Config, Loaded, StorePlace, has_password};
use crate::data_folder::{DataFolder, moved_file, restoring_file, sync_folder};
use crate::database_lock;
use crate::sealed;
use crate::system::{OsEntropy, SystemClock};
use crate::wiring::embedded::{OpenOptions, SqliteStore};
use crate::wiring::{Purpose, WiringError, connect_options};
use shown::Shown;

/// Move everything in the database file to MongoDB
///
/// Tenants, services, keys, counts, verifications and messages, with all that is under way: codes that
/// went out can be checked there, and quotas go on. The server must be stopped first. The database file
/// stays as it is, and no server uses it again.
///
/// A move that was cut off at any moment goes on when the same command is run again. Until it is done
/// and both stores were found equal, by counts and hashes of all that is in them, no node starts on the
/// target.
///
/// The master key does not move: copy it to the data folder of each node.
#[derive(Args)]
#[command(group(ArgGroup::new("target").required(true)))]
pub(super) struct Arguments {
    /// The database file, as store.url would name it [default: the one of the data folder]
    #[arg(long, value_name = "sqlite:FILE")]
    from: Option<String>,
    /// The URL of the MongoDB, for one without a password, as in mongodb://host1,host2,host3/wotp?replicaSet=rs0
    #[arg(long, value_name = "URL", group = "target")]
    to: Option<String>,
    /// File that holds the URL of the MongoDB and nothing else
    #[arg(long, value_name = "FILE", group = "target")]
    to_file: Option<PathBuf>,
    /// Go on without records that cannot be read or stored, and say which
    #[arg(long)]
    leave_unreadable: bool,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<ExitCode, Failure> {
    let loaded = global.load(None)?;
    let folder = DataFolder::open(global.data())?.with_master_key_file(&loaded.config.store.master_key_file);
    let target = target(&arguments, &folder)?;
    let database = source(&arguments, &loaded, &folder)?;
    if !database.exists() {
        return Err(Failure::new(format!("there is no database at {}", database.display()))
            .help("name its data folder with --data, or itself with --from sqlite:FILE"));
    }
    let _serving = folder.lock().await?;
    let _alone = database_lock::to_replace(&database).await?;
    let restoring = restoring_file(&database);
    if restoring.exists() {
        return Err(WiringError::RestoreUnfinished(restoring).into());
    }
    let keys = folder.master_keys(&database, &OsEntropy)?;
    let vault = Vault::new(&keys).expect("a master key file without keys is refused");
    let store = SqliteStore::open(&database, OpenOptions { create: false, ..OpenOptions::default() })?;
    sealed::agree(&store, &vault).await.map_err(WiringError::from)?;

    let moved = moved_file(&database);
    let was_moved = moved.exists();
    let plan = Plan {
        source: &store,
        target: &target,
        connect: connect_options(&loaded.config, Purpose::Command),
        now: SystemClock.now(),
        was_moved,
        leave_unreadable: arguments.leave_unreadable,
    };
    let place = Place { database: &database, key: &folder.master_key_file() };
    match moving::begin(plan).await? {
        Begun::Finished(report) if was_moved => done(global, &place, &report, true),
        Begun::Finished(report) => Err(Failure::new(format!(
            "this database was moved there by {} already, and was put back to use since",
            report.finished_at
        ))
        .help(
            "if what was done on the target since is not needed, drop it in MongoDB's shell (db.dropDatabase()) and run \
             the same command again",
        )),
        Begun::Unfinished(moving) => {
            let mut shown = Shown::new();
            moving.copy(&mut |progress| shown.say(progress)).await?;
            let compared = moving.compare(&mut |progress| shown.say(progress)).await?;
            drop(shown);
            let now = SystemClock.now();
            // Before any node is let in: from then on there would be two installations.
            note(&moved, moving.target(), now)
                .map_err(|error| Failure::caused(format!("{} cannot be written", moved.display()), error))?;
            let report = moving.finish(compared, now).await?;
            done(global, &place, &report, false)
        }
    }
}

/// The URL of the target.
fn target(arguments: &Arguments, folder: &DataFolder) -> Result<String, Failure> {
    let url = match (&arguments.to, &arguments.to_file) {
        (_, Some(file)) => fs::read_to_string(file)
            .map_err(|error| Failure::caused(format!("{} cannot be read", file.display()), error))?
            .trim()
            .to_owned(),
        (Some(url), None) if has_password(url) => {
            return Err(Failure::new("--to holds a password, which everybody on this machine can see while it runs")
                .help("write the URL to a file that only you can read, and name that with --to-file"));
        }
        (Some(url), None) => url.clone(),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    match StorePlace::of(&url, folder.path()) {
        Ok(StorePlace::Mongodb(url)) => Ok(url),
        Ok(StorePlace::Embedded(_)) | Err(_) => Err(Failure::new("the target is no MongoDB")
            .help("write its URL as in mongodb://host1,host2,host3/wotp?replicaSet=rs0")),
    }
}

/// The database file that is to be moved.
fn source(arguments: &Arguments, loaded: &Loaded, folder: &DataFolder) -> Result<PathBuf, Failure> {
    let place = match &arguments.from {
        Some(url) => StorePlace::of(url, folder.path()),
        None => match loaded.config.store_place(folder.path()) {
            // It names the target already, for the time after.
            Ok(StorePlace::Mongodb(_)) => Config::default().store_place(folder.path()),
            place => place,
        },
    };
    match place {
        Ok(StorePlace::Embedded(database)) => Ok(database),
        Ok(StorePlace::Mongodb(_)) => Err(Failure::new("what is moved is a database file, and --from names a MongoDB")
            .help("move a MongoDB with its own tools, mongodump and mongorestore")),
        Err((problem, right)) => Err(Failure::new(problem).help(right)),
    }
}

/// Says beside the database that it is not to be used any more, so that this outlives a power cut.
fn note(file: &Path, target: &str, now: Timestamp) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(".wotp-moved-").tempfile_in(folder)?;
    writeln!(draft, "to {target}, at {now}")?;
    draft.as_file().sync_all()?;
    draft.persist(file)?;
    sync_folder(folder)
}

struct Place<'p> {
    database: &'p Path,
    key: &'p Path,
}

fn done(global: &Global, place: &Place<'_>, report: &Report, before: bool) -> Result<ExitCode, Failure> {
    let kinds: serde_json::Map<_, _> = report
        .totals
        .iter()
        .map(|total| (total.kind.name().to_owned(), json!({ "count": total.count, "sha256": total.sha256 })))
        .collect();
    let left: Vec<_> = report.left.iter().map(|left| json!({ "kind": left.kind.name(), "name": left.name })).collect();
    let machines = json!({
        "database": place.database.display().to_string(),
        "moved_before": before,
        "began_at": report.began_at,
        "finished_at": report.finished_at,
        "kinds": kinds,
        "idempotency_keys": report.idempotency_keys,
        "idempotency_keys_left": report.idempotency_keys_left,
        "left": left,
    });
    global.output().print(&machines, || {
        let rows = report
            .totals
            .iter()
            .map(|total| vec![total.kind.name().to_owned(), total.count.to_string(), total.sha256.clone()]);
        let mut lines = vec![output::table(&["moved", "count", "sha256"], &rows.collect::<Vec<_>>())];
        lines.push(format!("idempotency keys, with what they repeat: {}", report.idempotency_keys));
        if report.idempotency_keys_left > 0 {
            lines.push(format!(
                "idempotency keys left, whose record is gone: {}; a call that repeats one starts anew",
                report.idempotency_keys_left
            ));
        }
        lines.extend(report.left.iter().map(|left| format!("left: {} {}", left.kind.name(), left.name)));
        lines.push(if before {
            format!("this was done before, by {}; nothing was changed", report.finished_at)
        } else {
            format!("both hold the same; no server uses {} any more", place.database.display())
        });
        lines.push(format!(
            "next: copy {} to the data folder of each node, mode 0600, name the MongoDB in store.url or store.url_file \
             and Redis in queue.url, and start the nodes",
            place.key.display()
        ));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
