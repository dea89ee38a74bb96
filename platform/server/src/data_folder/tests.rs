use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::system::OsEntropy;

fn folder() -> (tempfile::TempDir, DataFolder) {
    let parent = tempfile::tempdir().unwrap();
    let folder = DataFolder::create(&parent.path().join("data")).unwrap();
    (parent, folder)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn write_key(folder: &DataFolder, text: &str) {
    fs::write(folder.master_key_file(), text).unwrap();
    set_mode(&folder.master_key_file(), 0o600);
}

#[test]
fn a_new_folder_and_its_key_are_for_their_owner_alone() {
    let (_parent, folder) = folder();
    let keys = folder.master_keys(&folder.resolve("wotp.db"), &OsEntropy).unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [1]);
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&folder.master_key_file()), 0o600);
    let again = folder.master_keys(&folder.resolve("wotp.db"), &OsEntropy).unwrap();
    assert_eq!(*again[0].bytes, *keys[0].bytes, "the key is made once");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
}

#[test]
fn of_two_that_start_at_once_both_have_the_same_key() {
    let (_parent, folder) = folder();
    let database = folder.resolve("wotp.db");
    let start = std::sync::Barrier::new(8);
    let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let run = || {
            start.wait();
            *folder.master_keys(&database, &OsEntropy).unwrap()[0].bytes
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_to_type() {
    let (_parent, folder) = folder();
    folder.master_keys(&folder.resolve("wotp.db"), &OsEntropy).unwrap();
    set_mode(&folder.master_key_file(), 0o640);
    let error = folder.find_master_keys().map(|_| ()).unwrap_err();
    assert!(matches!(error, FolderError::KeyTooOpen { mode: 0o640, .. }), "{error}");
    assert_eq!(error.help(), format!("chmod 600 {}", folder.master_key_file().display()));
}

#[test]
fn a_folder_that_everybody_may_write_to_is_refused() {
    let (_parent, folder) = folder();
    set_mode(folder.path(), 0o777);
    assert!(matches!(DataFolder::open(folder.path()).unwrap_err(), FolderError::WorldWritable(_)));
}

#[test]
fn a_key_that_cannot_be_read_is_refused_by_line_and_never_shown() {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let short = "AAAAAAAAAAAAAAAAAAAAAA==";
    for (text, line) in [
        (String::new(), 1),
        ("# nothing\n\n".to_owned(), 1),
        (key.to_owned(), 1),
        (format!("1:{key}\n1:{key}"), 2),
        (format!("1:{key}\n256:{key}"), 2),
        (format!("# first\n1:{short}"), 2),
        (format!("1:{}", &key[..40]), 1),
    ] {
        let (_parent, folder) = folder();
        write_key(&folder, &text);
        let error = folder.find_master_keys().map(|_| ()).unwrap_err();
        assert!(matches!(error, FolderError::KeyDamaged { line: at, .. } if at == line), "{text:?}: {error}");
        assert!(!error.to_string().contains("AAAA"), "{error}");
    }
}

#[test]
fn the_last_key_is_the_newest() {
    let (_parent, folder) = folder();
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    write_key(&folder, &format!("# of 2026\n7:{key}\n\n 3 : {key}\n"));
    let keys = folder.find_master_keys().unwrap().unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [7, 3]);
}

#[test]
fn a_database_without_its_key_gets_no_new_one() {
    let (_parent, folder) = folder();
    let database = folder.resolve("wotp.db");
    fs::write(&database, "").unwrap();
    let error = folder.master_keys(&database, &OsEntropy).map(|_| ()).unwrap_err();
    assert!(matches!(error, FolderError::KeyMissing { .. }), "{error}");
    assert!(error.help().contains("backup"), "{}", error.help());
    assert!(!folder.master_key_file().exists());
}

#[test]
fn a_file_is_no_folder_and_nothing_is_no_folder_either() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(DataFolder::create(&file).unwrap_err(), FolderError::NotAFolder(_)));
    assert!(matches!(DataFolder::open(&parent.path().join("no")).unwrap_err(), FolderError::Missing(_)));
}

#[test]
fn what_the_system_refuses_is_explained() {
    for (kind, expected) in [
        (io::ErrorKind::PermissionDenied, "chown"),
        (io::ErrorKind::ReadOnlyFilesystem, "mounted read-only"),
        (io::ErrorKind::StorageFull, "no room"),
    ] {
        let error = FolderError::Io { path: "/data".into(), what: "written to", source: kind.into() };
        assert!(error.help().contains(expected), "{}", error.help());
    }
}

#[tokio::test]
async fn one_server_at_a_time_serves_a_folder() {
    let (_parent, folder) = folder();
    assert_eq!(folder.serving().unwrap(), None);
    let mut lock = folder.lock().await.unwrap();
    lock.listening("http://127.0.0.1:8080").unwrap();
    let serving = Serving { pid: std::process::id(), url: Some("http://127.0.0.1:8080".to_owned()) };
    assert_eq!(folder.serving().unwrap(), Some(serving));
    let error = folder.lock().await.unwrap_err();
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    drop(lock);
    assert_eq!(folder.serving().unwrap(), None);
    folder.lock().await.unwrap();
}
