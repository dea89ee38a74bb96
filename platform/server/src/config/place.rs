//! Where the store and the queue are. Their URLs may hold passwords: none of these words shows one.

use std::path::{Path, PathBuf};

use super::Config;

const SQLITE: &str = "sqlite:";
const MEMORY: &str = "memory:";
const MONGODB: [&str; 2] = ["mongodb://", "mongodb+srv://"];
const REDIS: [&str; 6] =
    ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://"];

/// Where an installation is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// In a file of its own.
    Embedded(PathBuf),
    /// In MongoDB, at this URL, for any number of nodes.
    Mongodb(String),
}

impl StorePlace {
    /// The store that a URL names. `data` is the data folder.
    ///
    /// # Errors
    /// In words, what is wrong with it and what would be right.
    pub fn of(url: &str, data: &Path) -> Result<Self, (String, &'static str)> {
        if let Some(file) = url.strip_prefix(SQLITE).filter(|file| !file.is_empty() && !file.starts_with("//")) {
            return Ok(Self::Embedded(data.join(file)));
        }
        if MONGODB.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Ok(Self::Mongodb(url.to_owned()));
        }
        Err((
            format!("{} is no store that this program knows", scheme(url)),
            "write sqlite:wotp.db, sqlite:/some/folder/wotp.db, or as in mongodb://host1,host2,host3/wotp?replicaSet=rs0",
        ))
    }
}

/// How workers are called.
#[derive(Clone, PartialEq, Eq)]
pub enum QueuePlace {
    /// Within the process.
    Memory,
    /// Through Redis, at this URL.
    Redis(String),
}

impl Config {
    /// Where the store is. `data` is the data folder.
    ///
    /// # Errors
    /// In words, what is wrong with it and what would be right.
    pub fn store_place(&self, data: &Path) -> Result<StorePlace, (String, &'static str)> {
        StorePlace::of(&written(&self.store.url, &self.store.url_file, data)?, data)
    }

    /// Where the queue is. `data` is the data folder.
    ///
    /// # Errors
    /// In words, what is wrong with it and what would be right.
    pub fn queue_place(&self, data: &Path) -> Result<QueuePlace, (String, &'static str)> {
        let url = written(&self.queue.url, &self.queue.url_file, data)?;
        if url == MEMORY {
            return Ok(QueuePlace::Memory);
        }
        if REDIS.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Ok(QueuePlace::Redis(url));
        }
        Err((
            format!("{} is no queue that this program knows", scheme(&url)),
            "write memory:, redis://host:6379, rediss:// for TLS, redis+sentinel://host1:26379,host2:26379/NAME, or \
             redis+cluster://host1:6379,host2:6379",
        ))
    }
}

/// The URL in the file, if one is named, else the one of the configuration itself.
fn written(url: &str, file: &str, data: &Path) -> Result<String, (String, &'static str)> {
    if file.is_empty() {
        return Ok(url.trim().to_owned());
    }
    let path = data.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err((
            format!("{} cannot be read: {error}", path.display()),
            "name a file that holds the URL and nothing else, readable by the server",
        )),
    }
}

/// As much of a URL as tells nobody anything.
fn scheme(url: &str) -> String {
    match url.split_once(':') {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
            format!("`{scheme}:`")
        }
        _ => "this".to_owned(),
    }
}

/// Whether a URL holds what nobody else may see.
pub fn has_password(url: &str) -> bool {
    without_passwords(url) != url
}

/// A URL as it may be shown: passwords are left out.
pub(super) fn without_passwords(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A password may hold an `@` that should have been escaped, and a `/` too: then what is taken for
    // the path holds the rest of it.
    let (login, hosts, after) = match (authority.rsplit_once('@'), rest.rsplit_once('@')) {
        (Some((login, hosts)), _) if !after.contains('@') => (login, hosts, after),
        (_, Some((login, rest))) => {
            let (hosts, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (login, hosts, after)
        }
        _ => ("", authority, after),
    };
    let login = match login.split_once(':') {
        Some((user, _)) => format!("{user}:…@"),
        None if login.is_empty() => String::new(),
        None => format!("{login}@"),
    };
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let option = |option: &str| match option.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}=…"),
        _ => option.to_owned(),
    };
    let query = query.split('&').map(option).collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{login}{hosts}{path}{mark}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_lies_in_the_data_folder_unless_it_says_where() {
        let mut config = Config::default();
        let place = |config: &Config| match config.store_place(Path::new("/data")) {
            Ok(StorePlace::Embedded(path)) => path,
            _ => panic!("it is embedded"),
        };
        assert_eq!(place(&config), Path::new("/data/wotp.db"));
        config.store.url = "sqlite:/elsewhere/x.db".to_owned();
        assert_eq!(place(&config), Path::new("/elsewhere/x.db"));
    }

    #[test]
    fn a_url_in_a_file_goes_before_the_one_that_is_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mongodb.url"), "mongodb://u:p@h/wotp\n").unwrap();
        let mut config = Config::default();
        config.store.url_file = "mongodb.url".to_owned();
        assert!(config.store_place(folder.path()) == Ok(StorePlace::Mongodb("mongodb://u:p@h/wotp".to_owned())));
        config.store.url_file = "nowhere".to_owned();
        let (problem, right) = config.store_place(folder.path()).err().unwrap();
        assert!(problem.contains("nowhere cannot be read") && right.contains("holds the URL"), "{problem} {right}");
    }

    #[test]
    fn a_url_is_shown_without_its_passwords() {
        for (url, shown) in [
            ("sqlite:wotp.db", "sqlite:wotp.db"),
            ("memory:", "memory:"),
            ("mongodb://a,b/wotp?replicaSet=rs0", "mongodb://a,b/wotp?replicaSet=rs0"),
            ("mongodb://wotp:secret@a,b/wotp?replicaSet=rs0", "mongodb://wotp:…@a,b/wotp?replicaSet=rs0"),
            ("mongodb://wotp:se@cr/et@a,b/wotp", "mongodb://wotp:…@a,b/wotp"),
            (
                "mongodb+srv://wotp@a/?tlsCertificateKeyFilePassword=secret",
                "mongodb+srv://wotp@a/?tlsCertificateKeyFilePassword=…",
            ),
            ("redis://:secret@h:6379/0", "redis://:…@h:6379/0"),
            (
                "redis+sentinel://:secret@h,i/m?sentinel_password=secret",
                "redis+sentinel://:…@h,i/m?sentinel_password=…",
            ),
        ] {
            assert_eq!(without_passwords(url), shown);
            assert_eq!(has_password(url), url.contains("secret") || url.contains("se@cr"), "{url}");
        }
    }
}
