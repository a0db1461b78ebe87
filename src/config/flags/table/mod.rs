//! Every flag that there is, a file a theme; and how values are read that several of them have.

mod cluster;
mod data;
mod discovery;
mod general;
mod member;
mod observation;
mod raft;
mod security;

use std::path::PathBuf;

use super::Flag;
use crate::config::url::Url;
use crate::config::value;
use crate::config::value::SignedDuration;

/// By theme; the help text has groups of its own.
const THEMES: [&[Flag]; 8] = [
    member::FLAGS,
    cluster::FLAGS,
    discovery::FLAGS,
    data::FLAGS,
    security::FLAGS,
    raft::FLAGS,
    observation::FLAGS,
    general::FLAGS,
];

/// Every flag.
pub(in crate::config) fn all() -> impl Iterator<Item = &'static Flag> {
    THEMES.into_iter().flatten()
}

fn urls(value: &str, into: &mut Vec<Url>) -> Result<(), String> {
    *into = Url::parse_list(value)?;
    Ok(())
}

/// Source: etcd, `flags.UniqueURLs`: one star is not taken for a URL.
fn origins(value: &str) -> Result<Vec<String>, String> {
    if value == "*" {
        return Ok(vec![value.to_owned()]);
    }
    let parse = |url| Url::parse(url).map(|url| url.to_string()).map_err(|error| error.to_string());
    value.split(',').map(parse).collect()
}

fn path(value: &str, into: &mut Option<PathBuf>) -> Result<(), String> {
    *into = (!value.is_empty()).then(|| value.into());
    Ok(())
}

fn text(value: &str, into: &mut String) -> Result<(), String> {
    value.clone_into(into);
    Ok(())
}

fn list(value: &str, into: &mut Vec<String>) -> Result<(), String> {
    *into = value.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    Ok(())
}

fn duration(value: &str, into: &mut SignedDuration) -> Result<(), String> {
    *into = value::duration(value)?;
    Ok(())
}

fn number(value: &str, into: &mut u64) -> Result<(), String> {
    *into = value::number(value, u64::MAX)?;
    Ok(())
}
