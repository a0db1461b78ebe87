//! Feature gates: what etcd lets operators turn on or off before it decides for all of them.
//!
//! `--feature-gates=One=true,Two=false`; `AllAlpha` and `AllBeta` mean those of a stage that are not named. Some have no
//! meaning here, which is said when they are turned to what Lodemark does not do.
//!
//! Source: etcd, `server/features/etcd_features.go`, `pkg/featuregate`.

use std::collections::BTreeMap;

use super::value;
use crate::metrics::Feature;

/// How far etcd has come with a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
        }
    }
}

/// A gate of etcd.
#[derive(Debug)]
struct Gate {
    name: &'static str,
    stage: Stage,
    is_on: bool,
    /// The flag of etcd 3.5 that it was, without `--experimental-`.
    former_flag: Option<&'static str>,
    /// Why a value other than the default changes nothing; empty if it does what it says.
    without_effect: &'static str,
}

const INITIAL_CORRUPT_CHECK: &str = "InitialCorruptCheck";
const COMPACT_HASH_CHECK: &str = "CompactHashCheck";
const LEASE_CHECKPOINT: &str = "LeaseCheckpoint";
const LEASE_CHECKPOINT_PERSIST: &str = "LeaseCheckpointPersist";

const ALWAYS: &str = "that is always so";
const ITS_OWN_WAY: &str = "it is about etcd's own code";

const ALL: &[Gate] = &[
    alpha(INITIAL_CORRUPT_CHECK, Some("initial-corrupt-check"), ""),
    alpha(COMPACT_HASH_CHECK, Some("compact-hash-check-enabled"), ""),
    alpha("StopGRPCServiceOnDefrag", Some("stop-grpc-service-on-defrag"), "a defragmentation stops nothing"),
    alpha(LEASE_CHECKPOINT, Some("enable-lease-checkpoint"), ALWAYS),
    alpha(LEASE_CHECKPOINT_PERSIST, Some("enable-lease-checkpoint-persist"), ALWAYS),
    alpha(
        "SetMemberLocalAddr",
        Some("set-member-localaddr"),
        "the system chooses the address that a connection to a member comes from",
    ),
    alpha("PriorityRequest", None, ITS_OWN_WAY),
    beta("FastLeaseKeepAlive", None, ALWAYS),
    beta("TxnModeWriteWithSharedBuffer", Some("txn-mode-write-with-shared-buffer"), ITS_OWN_WAY),
];

const fn alpha(name: &'static str, former_flag: Option<&'static str>, without_effect: &'static str) -> Gate {
    Gate { name, stage: Stage::Alpha, is_on: false, former_flag, without_effect }
}

const fn beta(name: &'static str, former_flag: Option<&'static str>, without_effect: &'static str) -> Gate {
    Gate { name, stage: Stage::Beta, is_on: true, former_flag, without_effect }
}

/// The gates that a flag of etcd 3.5 is today.
pub(super) fn of_former_flag(name: &str) -> Option<&'static str> {
    ALL.iter().find(|gate| gate.former_flag == Some(name)).map(|gate| gate.name)
}

/// What was said of gates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gates {
    named: BTreeMap<&'static str, bool>,
    alpha: Option<bool>,
    beta: Option<bool>,
}

impl std::fmt::Display for Gates {
    /// As etcd logs them: those that were named.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stages = [("AllAlpha", self.alpha), ("AllBeta", self.beta)];
        let stages = stages.into_iter().filter_map(|(name, is_on)| Some((name, is_on?)));
        let named = self.named.iter().map(|(name, is_on)| (*name, *is_on));
        for (place, (name, is_on)) in stages.chain(named).enumerate() {
            write!(f, "{}{name}={is_on}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Gates {
    /// Reads a list, over what was said before.
    ///
    /// # Errors
    /// Go's words for what is wrong.
    pub(super) fn read(&mut self, list: &str) -> Result<(), String> {
        for pair in list.split(',').filter(|pair| !pair.is_empty()) {
            let (name, text) = match pair.split_once('=') {
                Some((name, text)) => (name.trim(), text.trim()),
                None => return Err(format!("missing bool value for {}", pair.trim())),
            };
            let value = value::switch(text).ok_or_else(|| {
                format!("invalid value of {name}={text}, err: strconv.ParseBool: parsing {text:?}: invalid syntax")
            })?;
            self.set(name, value)?;
        }
        Ok(())
    }

    /// Turns a gate on or off.
    ///
    /// # Errors
    /// There is no such gate.
    pub(super) fn set(&mut self, name: &str, value: bool) -> Result<(), String> {
        match name {
            "AllAlpha" => self.alpha = Some(value),
            "AllBeta" => self.beta = Some(value),
            _ => {
                let gate = ALL.iter().find(|gate| gate.name == name);
                self.named.insert(gate.ok_or_else(|| format!("unrecognized feature gate: {name}"))?.name, value);
            }
        }
        Ok(())
    }

    /// Turns a gate on or off that nobody has named yet.
    pub(super) fn set_unless_named(&mut self, gate: &'static str, value: bool) {
        self.named.entry(gate).or_insert(value);
    }

    pub(super) fn checks_initially(&self) -> bool {
        self.is_on(INITIAL_CORRUPT_CHECK)
    }

    pub(super) fn checks_compactions(&self) -> bool {
        self.is_on(COMPACT_HASH_CHECK)
    }

    /// Tells whether checkpoints of leases are to be kept and none are to be made, which etcd refuses.
    pub(super) fn persist_alone(&self) -> bool {
        self.is_on(LEASE_CHECKPOINT_PERSIST) && !self.is_on(LEASE_CHECKPOINT)
    }

    fn is_on(&self, name: &str) -> bool {
        ALL.iter().find(|gate| gate.name == name).is_some_and(|gate| self.of(gate))
    }

    fn of(&self, gate: &Gate) -> bool {
        let of_stage = match gate.stage {
            Stage::Alpha => self.alpha,
            Stage::Beta => self.beta,
        };
        self.named.get(gate.name).copied().or(of_stage).unwrap_or(gate.is_on)
    }

    /// All of them, as they are turned.
    pub(super) fn features(&self) -> Vec<Feature> {
        let of_stages = [("AllAlpha", Stage::Alpha, self.alpha), ("AllBeta", Stage::Beta, self.beta)];
        let of_stages =
            of_stages.map(|(name, stage, is_on)| Feature { name, stage: stage.name(), is_on: is_on.unwrap_or(false) });
        let single = ALL.iter().map(|gate| Feature { name: gate.name, stage: gate.stage.name(), is_on: self.of(gate) });
        of_stages.into_iter().chain(single).collect()
    }

    /// What was asked for by name and changes nothing, for people.
    pub(super) fn advice(&self) -> impl Iterator<Item = String> {
        let named = ALL.iter().filter(|gate| self.named.get(gate.name).is_some_and(|&value| value != gate.is_on));
        named
            .filter(|gate| !gate.without_effect.is_empty())
            .map(|gate| format!("the feature gate {} changes nothing: {}", gate.name, gate.without_effect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(lists: &[&str]) -> Gates {
        let mut gates = Gates::default();
        lists.iter().for_each(|list| gates.read(list).unwrap());
        gates
    }

    fn checks(lists: &[&str]) -> (bool, bool) {
        let gates = gates(lists);
        (gates.checks_initially(), gates.checks_compactions())
    }

    #[test]
    fn gates_are_turned_one_by_one_or_by_their_stage() {
        assert_eq!(checks(&[]), (false, false));
        assert_eq!(checks(&["InitialCorruptCheck=true"]), (true, false));
        assert_eq!(checks(&[" CompactHashCheck = T ,,InitialCorruptCheck=0"]), (false, true));
        assert_eq!(checks(&["AllAlpha=true"]), (true, true));
        assert_eq!(checks(&["InitialCorruptCheck=false,AllAlpha=true"]), (false, true), "by name comes first");
        assert_eq!(checks(&["AllBeta=true"]), (false, false));
        assert_eq!(checks(&["CompactHashCheck=true", "InitialCorruptCheck=true"]), (true, true), "lists add up");
    }

    #[test]
    fn what_is_kept_must_be_made() {
        for (list, alone) in [
            ("LeaseCheckpointPersist=true", true),
            ("LeaseCheckpoint=true,LeaseCheckpointPersist=true", false),
            ("LeaseCheckpoint=true", false),
            ("AllAlpha=true", false),
            ("AllAlpha=true,LeaseCheckpoint=false", true),
            ("AllBeta=false", false),
        ] {
            assert_eq!(gates(&[list]).persist_alone(), alone, "{list}");
        }
    }

    #[test]
    fn what_is_no_gate_is_refused() {
        let refused = |list: &str| Gates::default().read(list).unwrap_err();
        assert_eq!(refused("Nonsense=true"), "unrecognized feature gate: Nonsense");
        assert_eq!(refused("InitialCorruptCheck"), "missing bool value for InitialCorruptCheck");
        assert_eq!(
            refused("CompactHashCheck=yes"),
            "invalid value of CompactHashCheck=yes, err: strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
    }

    #[test]
    fn gates_without_effect_say_so_when_they_are_turned() {
        let advice = |list: &str| gates(&[list]).advice().collect::<Vec<_>>();
        assert_eq!(advice("InitialCorruptCheck=true,FastLeaseKeepAlive=true,AllAlpha=true"), Vec::<String>::new());
        assert_eq!(
            advice("StopGRPCServiceOnDefrag=true"),
            ["the feature gate StopGRPCServiceOnDefrag changes nothing: a defragmentation stops nothing"]
        );
        assert_eq!(advice("TxnModeWriteWithSharedBuffer=false").len(), 1);
    }
}
