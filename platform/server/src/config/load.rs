//! Files and environment variables, laid over each other with every value's origin kept.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::{Complaint, ConfigError};
use super::{Config, FILE_NAME, check, plugin};

/// What every environment variable of ours begins with.
const PREFIX: &str = "WOTP_";
/// What stands for the dot of a key in the name of a variable.
const SEPARATOR: &str = "__";

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file that was named. None means `wotp.toml` in the data folder, if it is there.
    pub file: Option<PathBuf>,
    /// The data folder.
    pub data: PathBuf,
    /// The environment: names and values.
    pub variables: Vec<(OsString, OsString)>,
    /// `--listen`, which goes before everything else.
    pub listen: Option<SocketAddr>,
}

/// A configuration that holds, and where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    pub(super) figment: Figment,
}

/// Values from one place.
pub(super) struct Layer {
    pub(super) place: String,
    pub(super) values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// Reads the configuration: defaults, then the file, then the environment, then `--listen`.
/// Opens nothing but the file and the plan catalogue.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(inputs: Inputs) -> Result<Loaded, ConfigError> {
    let known = dict(&Config::complete());
    let mut complaints = Vec::new();
    let defaults = Serialized::defaults(Config::default());
    let mut figment = Figment::new().merge(defaults);

    let mut plugins = BTreeMap::new();
    let file = inputs.file.clone().or_else(|| Some(inputs.data.join(FILE_NAME)).filter(|path| path.exists()));
    if let Some(path) = &file {
        let mut values = read(path).map_err(|complaint| ConfigError(vec![complaint]))?;
        let place = path.display().to_string();
        let problems;
        (plugins, problems) = plugin::take(&mut values, &place);
        complaints.extend(problems);
        let mut unknown = Vec::new();
        unknown_keys(&values, &known, "", &mut unknown);
        complaints.extend(unknown.into_iter().map(|key| {
            let right = nearest(&key, &known);
            Complaint { key, source: place.clone(), problem: "there is no such key".to_owned(), right }
        }));
        figment = figment.merge(Layer { place, values });
    }
    for (name, value) in &inputs.variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        match variable(name, value.to_str(), &known) {
            Ok(values) => figment = figment.merge(Layer { place: name.to_owned(), values }),
            Err(complaint) => complaints.push(complaint),
        }
    }
    if let Some(listen) = inputs.listen {
        let values = nested(&["server", "listen"], Value::from(listen.to_string()));
        figment = figment.merge(Layer { place: "--listen".to_owned(), values });
    }
    if !complaints.is_empty() {
        return Err(ConfigError(complaints));
    }
    let mut config: Config = figment.extract().map_err(|error| wrong_kind(&figment, error, &known))?;
    config.channels.plugins = plugins;
    let complaints = check::complaints(&config, &inputs.data, |key| match &file {
        Some(file) if plugin::has(&config.channels.plugins, key) => file.display().to_string(),
        _ => place(&figment, key),
    });
    if complaints.is_empty() { Ok(Loaded { config, file, figment }) } else { Err(ConfigError(complaints)) }
}

/// Where the value of a key came from.
pub(super) fn place(figment: &Figment, key: &str) -> String {
    match figment.find_metadata(key) {
        Some(metadata) if metadata.source.is_none() => metadata.name.clone().into_owned(),
        // `Serialized` gives a place in our source.
        _ => "default".to_owned(),
    }
}

pub(super) fn dict(config: &Config) -> Dict {
    match Value::serialize(config) {
        Ok(Value::Dict(_, dict)) => dict,
        _ => unreachable!("a configuration serialises as a table"),
    }
}

fn read(path: &Path) -> Result<Dict, Complaint> {
    let complaint = |problem: String, right: &str| Complaint {
        key: String::new(),
        source: path.display().to_string(),
        problem,
        right: right.to_owned(),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| complaint(format!("cannot be read: {error}"), "name another with --config"))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        // Not the whole error: it quotes the line, which may hold a URL with a password.
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        complaint(
            format!("is not TOML: line {line}: {}", error.message().trim_end()),
            "`wotp config reference` prints an example",
        )
    })?;
    match Value::serialize(&table) {
        Ok(Value::Dict(_, dict)) => Ok(dict),
        _ => Err(complaint("is not a table".to_owned(), "`wotp config reference` prints an example")),
    }
}

/// Collects the paths of keys that `known` does not have.
pub(super) fn unknown_keys(values: &Dict, known: &Dict, path: &str, unknown: &mut Vec<String>) {
    for (name, value) in values {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (known.get(name), value) {
            (None, _) => unknown.push(key),
            (Some(Value::Dict(_, known)), Value::Dict(_, values)) => unknown_keys(values, known, &key, unknown),
            _ => {}
        }
    }
}

/// The values that one environment variable sets. `value` is none when it is not UTF-8.
fn variable(name: &str, value: Option<&str>, known: &Dict) -> Result<Dict, Complaint> {
    let key = name[PREFIX.len()..].to_lowercase().replace(SEPARATOR, ".");
    let complaint = |problem: &str, right: String| Complaint {
        key: key.clone(),
        source: name.to_owned(),
        problem: problem.to_owned(),
        right,
    };
    let Some(value) = value else {
        return Err(complaint("the value is not UTF-8", String::new()));
    };
    let kind = find(known, &key).filter(|kind| kind.as_dict().is_none());
    let Some(kind) = kind else {
        return Err(complaint("there is no such key", nearest(&key, known)));
    };
    let value = match kind {
        Value::String(..) => Value::from(value),
        Value::Bool(..) => match value {
            "true" => Value::from(true),
            "false" => Value::from(false),
            _ => return Err(complaint(&format!("`{value}` is neither yes nor no"), "write true or false".to_owned())),
        },
        Value::Num(..) => match value.trim().parse::<u64>() {
            Ok(number) => Value::from(number),
            Err(_) => return Err(complaint(&format!("`{value}` is not a whole number"), example(&key, known))),
        },
        _ => Value::from(list(value)),
    };
    Ok(nested(&key.split('.').collect::<Vec<_>>(), value))
}

/// A list as it is written in an environment variable: with commas, or as in TOML.
fn list(text: &str) -> Vec<String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(inner);
    let items = inner.split(',').map(|item| item.trim().trim_matches(['"', '\'']));
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn nested(path: &[&str], value: Value) -> Dict {
    let [outer @ .., last] = path else { return Dict::new() };
    let leaf = Dict::from([((*last).to_owned(), value)]);
    outer.iter().rev().fold(leaf, |inner, name| Dict::from([((*name).to_owned(), Value::from(inner))]))
}

fn find<'a>(known: &'a Dict, key: &str) -> Option<&'a Value> {
    let mut names = key.split('.');
    let first = known.get(names.next()?)?;
    names.try_fold(first, |value, name| value.as_dict()?.get(name))
}

/// Every key that there is, in order.
pub(super) fn keys(known: &Dict) -> Vec<String> {
    let mut all = Vec::new();
    for (name, value) in known {
        match value.as_dict() {
            Some(inner) => all.extend(keys(inner).into_iter().map(|key| format!("{name}.{key}"))),
            None => all.push(name.clone()),
        }
    }
    all
}

/// Names the key that was probably meant, or says where to find it.
pub(super) fn nearest(key: &str, known: &Dict) -> String {
    let keys = keys(known);
    // A key without its section, or under another name that differs by a slip or two.
    let meant = keys.iter().map(|known| (distance(key, known), known)).min();
    let section = keys.iter().find(|known| known.rsplit('.').next() == key.rsplit('.').next());
    match (section, meant) {
        (Some(known), _) => format!("did you mean `{known}`?"),
        (None, Some((slips, known))) if slips <= 3 => format!("did you mean `{known}`?"),
        _ => "`wotp config reference` lists them all".to_owned(),
    }
}

/// Letters to be added, taken away or replaced to get from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A value of the right kind, as an example.
fn example(key: &str, known: &Dict) -> String {
    let Some(value) = find(known, key) else { return String::new() };
    match serde_json::to_string(value) {
        Ok(value) if value == "\"\"" => "write a text in quotes".to_owned(),
        Ok(value) => format!("write it as in `{} = {value}`", key.rsplit('.').next().unwrap_or(key)),
        Err(_) => String::new(),
    }
}

pub(super) fn wrong_kind(figment: &Figment, error: figment::Error, known: &Dict) -> ConfigError {
    let complaints = error.into_iter().map(|error| {
        let key = error.path.join(".");
        // An item of a list is spoken of as the list.
        let key = key.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.').to_owned();
        let source = match &error.metadata {
            Some(metadata) if metadata.source.is_none() => metadata.name.clone().into_owned(),
            _ => place(figment, &key),
        };
        let (key, problem, right) = match error.kind {
            Kind::Message(words) => (key, words, String::new()),
            Kind::InvalidType(found, expected) => {
                let right = example(&key, known);
                (key, format!("found {found}, expected {expected}"), right)
            }
            Kind::MissingField(name) => {
                let key = format!("{key}.{name}");
                let right = example(&key, known);
                (key, "is missing".to_owned(), right)
            }
            Kind::UnknownVariant(found, variants) => {
                let known = variants.iter().map(|variant| format!("\"{variant}\"")).collect::<Vec<_>>().join(" or ");
                (key, format!("`{found}` is not among the values"), format!("write {known}"))
            }
            other => {
                let right = example(&key, known);
                (key, other.to_string(), right)
            }
        };
        Complaint { key, source, problem, right }
    });
    ConfigError(complaints.collect())
}
