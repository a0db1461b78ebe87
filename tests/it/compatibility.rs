//! Keeps `docs/api.md`: each call, each field of a request and each error of `src/api/grpc/status.rs` has a row, and
//! each test that a row names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, ServiceDescriptor};

/// The files with the services of clients.
const PROTOS: [&str; 4] = ["etcd/rpc.proto", "etcd/v3lock.proto", "etcd/v3election.proto", "grpc/health.proto"];
/// The section of three tables: errors with codes, texts that are of one call, and what is never sent.
const ERRORS: &str = "Errors";
const WIDTH_WITH_CODES: usize = 4;
const WIDTH_OF_NEVER_SENT: usize = 2;

#[test]
fn every_call_and_field_has_a_row() {
    let page = page();
    let pool = pool();
    let mut offences = Vec::new();
    for service in pool.services() {
        let title = format!("{}: `{}`", service.name(), service.full_name());
        let Some(rows) = page.get(&title) else {
            offences.push(format!("there is no section {title}"));
            continue;
        };
        let told = told_fields(rows, &service, &mut offences);
        let there = fields(&service, &pool);
        offences.extend(there.difference(&told).map(|(what, field)| format!("{title}: {what} {field} has no row")));
        offences.extend(told.difference(&there).map(|(what, field)| format!("{title}: there is no {what} {field}")));
    }
    assert!(offences.is_empty(), "docs/api.md:\n{}", offences.join("\n"));
}

#[test]
fn every_error_has_a_row() {
    let rows = &page()[ERRORS];
    let with_codes = rows.iter().filter(|row| row.len() == WIDTH_WITH_CODES);
    let told: BTreeSet<(String, String)> =
        with_codes.filter_map(|row| Some((quoted(&row[0]).pop()?, quoted(&row[1]).pop()?))).collect();
    let table = fs::read_to_string(root().join("src/api/grpc/status.rs")).expect("sources are text");
    let (table, _) = table.split_once("#[cfg(test)]").expect("it has tests");
    let there = rows_of_errors(table);
    assert!(there.len() > 60, "the table is found: {}", there.len());
    let missing: Vec<_> = there.difference(&told).collect();
    assert!(missing.is_empty(), "docs/api.md has no row for {missing:#?}");
    let sent: Vec<_> = told.difference(&there).filter(|(_, text)| !is_of_grpc(text)).collect();
    assert!(sent.is_empty(), "src/api/grpc/status.rs does not have {sent:#?}");
}

#[test]
fn every_test_that_is_named_is_there() {
    let tests = tests();
    assert!(tests.len() > 500, "the walk found the tests: {}", tests.len());
    let (mut missing, mut named) = (Vec::new(), 0);
    for (title, row) in
        page().into_iter().flat_map(|(title, rows)| rows.into_iter().map(move |row| (title.clone(), row)))
    {
        let shown_by = match (title.as_str(), row.len()) {
            // What the tests do that many rows name.
            ("", _) => &row[0],
            (ERRORS, WIDTH_OF_NEVER_SENT) => continue,
            (ERRORS, _) => row.last().expect("a row has cells"),
            _ => &row[2],
        };
        let names = quoted(shown_by);
        if names.is_empty() && title != ERRORS {
            missing.push(format!("a test for {title}: {}", row[0]));
        }
        named += names.len();
        missing.extend(names.into_iter().filter(|name| !tests.contains(name)));
    }
    assert!(missing.is_empty(), "docs/api.md names {missing:#?}");
    assert!(named > 200, "the rows are found: {named}");
}

/// Texts that have numbers in them.
fn is_of_grpc(text: &str) -> bool {
    text.starts_with("grpc: ")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The tables of the page by the titles that they stand under: rows of cells, without the heads.
fn page() -> BTreeMap<String, Vec<Vec<String>>> {
    let text = fs::read_to_string(root().join("docs/api.md")).expect("the page is there");
    let (mut tables, mut title, mut is_body) = (BTreeMap::<_, Vec<_>>::new(), String::new(), false);
    for line in text.lines() {
        if let Some(new) = line.strip_prefix("## ") {
            title = new.to_owned();
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            is_body = false;
            continue;
        };
        let cells: Vec<String> = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
        if is_body {
            tables.entry(title.clone()).or_default().push(cells);
        } else {
            is_body = cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|letter| letter == '-'));
        }
    }
    tables
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn pool() -> DescriptorPool {
    let files = protox::compile(PROTOS, [root().join("proto")]).expect("the files compile");
    DescriptorPool::decode(&files.encode_to_vec()[..]).expect("a compiled set can be read")
}

/// Calls and the messages within their requests, each with its fields; without fields, with `none`.
fn fields(service: &ServiceDescriptor, pool: &DescriptorPool) -> BTreeSet<(String, String)> {
    // What is a request itself has rows of its own.
    let requests: BTreeSet<String> =
        pool.services().flat_map(|service| inputs(&service)).map(|input| input.full_name().to_owned()).collect();
    let mut found = BTreeSet::new();
    let mut open = Vec::new();
    for method in service.methods() {
        open.push((method.name().to_owned(), method.input()));
    }
    let mut seen = BTreeSet::new();
    while let Some((name, message)) = open.pop() {
        if message.fields().len() == 0 {
            found.insert((name.clone(), "none".to_owned()));
        }
        for field in message.fields() {
            found.insert((name.clone(), field.name().to_owned()));
            if let Kind::Message(within) = field.kind()
                && !requests.contains(within.full_name())
                && seen.insert(within.full_name().to_owned())
            {
                open.push((within.name().to_owned(), within));
            }
        }
    }
    found
}

fn inputs(service: &ServiceDescriptor) -> Vec<MessageDescriptor> {
    service.methods().map(|method| method.input()).collect()
}

/// The same as the rows tell it. `as X` stands for the fields of the call `X`, whose request is the same message.
fn told_fields(
    rows: &[Vec<String>],
    service: &ServiceDescriptor,
    offences: &mut Vec<String>,
) -> BTreeSet<(String, String)> {
    let mut told = BTreeSet::new();
    for row in rows {
        let [what] = &quoted(&row[0])[..] else { continue };
        let cell = &row[1];
        let names = match cell.strip_prefix("as ").map(quoted).as_deref() {
            Some([other]) => {
                let input =
                    |name: &str| service.methods().find(|method| method.name() == name).map(|method| method.input());
                if input(what).is_none() || input(what) != input(other) {
                    offences.push(format!("{what} does not take what {other} takes"));
                }
                let fields = input(what).into_iter().flat_map(|input| input.fields().collect::<Vec<_>>());
                fields.map(|field| field.name().to_owned()).collect()
            }
            _ if cell == "none" => vec!["none".to_owned()],
            _ => quoted(cell),
        };
        told.extend(names.into_iter().map(|name| (what.clone(), name)));
    }
    told
}

/// Code and text of each `row(Code::..., "...")` of the table of errors.
fn rows_of_errors(source: &str) -> BTreeSet<(String, String)> {
    let rows = source.split("row(").skip(1).filter_map(|rest| {
        let (code, rest) = rest.trim_start().strip_prefix("Code::")?.split_once(',')?;
        let (text, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        Some((code.to_owned(), text.to_owned()))
    });
    rows.collect()
}

/// The names of all tests, and of all steps of the scripts, as `script.sh: step`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in ["src", "tests"].into_iter().flat_map(|folder| files(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => found.extend(functions_of(&text)),
            Some("sh") => {
                let name = path.file_name().and_then(|name| name.to_str()).expect("names are plain");
                let steps = text.lines().filter_map(|line| line.strip_suffix("() {"));
                found.extend(steps.map(|step| format!("{name}: {step}")));
            }
            _ => {}
        }
    }
    found
}

/// The functions of a source that are tests.
fn functions_of(source: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test && !line.starts_with("//")) {
            found.extend(rest.split('(').next().map(str::to_owned));
            is_test = false;
        }
    }
    found
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folders can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}
