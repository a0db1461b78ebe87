//! Who founds the cluster, when no list says so. Two ways lead to a list as `--initial-cluster` has it:
//!
//! ```text
//! dns        service records of a domain name the members
//! registry   each member registers in a service, and waits until as many have as it is to be:
//!              service        how it is reached
//!              registrations  who has registered, and what that makes of them
//! ```

mod dns;
mod error;
mod registrations;
mod registry;
mod service;

pub use self::dns::DnsError;
pub(super) use self::dns::{initial_cluster, name_of_certificates};
pub use self::error::RegistryError;
pub(super) use self::registry::join;
