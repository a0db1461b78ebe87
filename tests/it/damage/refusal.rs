//! What a refusal must tell.

/// How messages name a file of the folder.
const FILES: [&str; 3] = ["state.redb", "snapshot-1.redb", "wal/00000000000000"];
/// How they name a place in it.
const PLACES: [&str; 9] = [
    " at byte ",
    " near byte ",
    " at records/",
    " at leases/",
    " at members/",
    " at removed/",
    " at meta/",
    " in table ",
    "log entry ",
];
/// What they tell an operator to do.
const REMEDIES: [&str; 3] = ["delete its data folder and add it anew", "must be sent again", "start a later version"];

/// Checks that a message names the file, the place in it, and the remedy.
pub fn check(told: &str) -> Result<(), String> {
    for (what, words) in [("file", &FILES[..]), ("place", &PLACES[..]), ("remedy", &REMEDIES[..])] {
        if !words.iter().any(|word| told.contains(word)) {
            return Err(format!("the refusal names no {what}: {told}"));
        }
    }
    Ok(())
}

#[test]
fn a_message_must_name_file_place_and_remedy() {
    let whole = "state.redb is damaged at meta/applied: why; remove the member, delete its data folder and add it anew";
    assert_eq!(check(whole), Ok(()));
    for part in ["state.redb", " at meta/applied", "add it anew"] {
        assert!(check(&whole.replace(part, "")).is_err(), "{part}");
    }
}
