//! One call: what is asked, by whom, and by which way in; and what came of it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::super::client::Failure;
use super::schema::Rpc;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Nobody,
    /// `root`, by the token that is good when the call is made, if auth is on.
    Root,
    /// The name of a token (`names`), or what is none.
    Bearer(String, Proof),
}

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Metadata `token`.
    Token,
    /// Metadata `authorization`.
    Authorization,
    /// The same, behind the word `Bearer`.
    BearerWord,
}

impl Caller {
    /// The metadata that says who asks.
    pub fn metadata(&self) -> Option<(&'static str, String)> {
        match self {
            Caller::Nobody | Caller::Root => None,
            Caller::Bearer(token, Proof::Token) => Some(("token", token.clone())),
            Caller::Bearer(token, Proof::Authorization) => Some(("authorization", token.clone())),
            Caller::Bearer(token, Proof::BearerWord) => Some(("authorization", format!("Bearer {token}"))),
        }
    }
}

/// The two ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Grpc,
    Gateway,
}

/// How much of the answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All of it.
    End,
    /// One message; the stream would stay open.
    First,
    /// The event of this revision.
    Revision(i64),
}

/// A call. Ids, tokens and URLs that each server chose are written by their names (`names`).
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub rpc: &'static Rpc,
    /// More than one only where the call takes a stream.
    pub requests: Vec<Value>,
    pub caller: Caller,
    pub front: Front,
    /// Metadata besides that of the caller.
    pub metadata: &'static [(&'static str, &'static [u8])],
    pub until: Until,
}

impl PartialEq for Rpc {
    fn eq(&self, other: &Rpc) -> bool {
        self.path == other.path
    }
}

impl Call {
    /// A call by nobody, by gRPC.
    pub fn plain(rpc: &'static Rpc, request: Value) -> Call {
        let (caller, front, until) = (Caller::Nobody, Front::Grpc, Until::End);
        Call { rpc, requests: vec![request], caller, front, metadata: &[], until }
    }

    pub fn is(&self, rpc: &Rpc) -> bool {
        self.rpc == rpc
    }

    /// The first request.
    pub fn request(&self) -> &Value {
        &self.requests[0]
    }

    /// What differences are counted under.
    pub fn kind(&self) -> String {
        match self.front {
            Front::Grpc => self.rpc.name().to_owned(),
            Front::Gateway => format!("{} in JSON", self.rpc.name()),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {:?}, {:?}, with {:?}:", self.kind(), self.caller, self.until, self.metadata)?;
        self.requests.iter().try_for_each(|request| write!(f, " {request}"))
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// By way of the gateway: the status, and the headers but for those about connection and time.
    pub head: Option<(u16, BTreeMap<String, String>)>,
    pub answers: Vec<Value>,
    pub failure: Option<Failure>,
}

impl Outcome {
    pub fn of_failure(failure: Failure) -> Outcome {
        Outcome { head: None, answers: Vec::new(), failure: Some(failure) }
    }

    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    /// The first answer, if the call went well.
    pub fn answer(&self) -> Option<&Value> {
        self.answers.first().filter(|_| self.is_ok())
    }

    pub fn message(&self) -> &str {
        self.failure.as_ref().map_or("", |failure| &failure.message)
    }

    /// The revision in the header of the first answer.
    pub fn revision(&self) -> Option<i64> {
        number(&self.answer()?["header"]["revision"])
    }
}

/// A number of 64 bits, as JSON has it.
pub fn number(value: &Value) -> Option<i64> {
    value.as_str()?.parse().ok()
}

/// Whether an answer is enough for `until`.
pub fn is_enough(until: Until, answer: &Value) -> bool {
    match until {
        Until::End => false,
        Until::First => true,
        Until::Revision(revision) => {
            let events = answer["events"].as_array();
            let last = events.and_then(|events| events.last());
            let is_there = last.and_then(|event| number(&event["kv"]["mod_revision"])).is_some_and(|at| at >= revision);
            is_there || answer["canceled"] == true
        }
    }
}
