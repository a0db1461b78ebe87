//! The network of a run: a namespace for each member, all on one bridge, and rules that drop packets.
//!
//! ```text
//!   root namespace: clients ── bridge .254 ──┬── namespace of member 0 .1: eth0, nftables
//!                                            ├── namespace of member 1 .2
//!                                            └── ...
//! ```
//!
//! Each member drops what comes from an address in its set `deaf_to`; so "a does not reach b" is one element in one set,
//! and goes with the namespace. Names have the id of this process in them. They are removed when this is dropped; what
//! a run that was killed has left behind, the next run removes.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{has_program, run};

/// What begins the name of everything that is made here.
const MARK: &str = "lmchaos";
/// Of the addresses for benchmarks of networks (RFC 2544), which no network uses.
const SUBNET: &str = "198.18";
/// The last part of the address that clients have.
const CLIENTS: usize = 254;
const RULES: &str = "add table inet chaos
add set inet chaos deaf_to { type ipv4_addr; }
add chain inet chaos input { type filter hook input priority 0; policy accept; }
add rule inet chaos input ip saddr @deaf_to drop";

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// A member, by its number.
    Member(usize),
    /// All clients.
    Clients,
}

/// Namespaces, bridge and rules. They go with this value.
#[derive(Debug)]
pub struct Network {
    /// Which of this process.
    number: u32,
    /// The third part of all addresses.
    subnet: u32,
    size: usize,
}

impl Network {
    /// Connects as many members.
    ///
    /// # Errors
    /// What is missing here, in words.
    pub fn new(size: usize) -> Result<Network, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("root, to make network namespaces".into());
        }
        if let Some(missing) = ["ip", "nft"].into_iter().find(|program| !has_program(program)) {
            return Err(missing.into());
        }
        remove_leftovers();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let subnet = (std::process::id().wrapping_mul(7) + number) % 256;
        let network = Network { number, subnet, size };
        network.build().map_err(|error| format!("network namespaces, a bridge and nftables: {error}"))?;
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", self.address(CLIENTS)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for member in 0..self.size {
            let (namespace, outside) = (self.namespace(member), self.interface(member));
            let ip_inside = |arguments: &[&str]| ip(&[&["-n", &namespace], arguments].concat());
            ip(&["netns", "add", &namespace])?;
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
            ip(&["link", "set", &outside, "master", &bridge, "up"])?;
            ip_inside(&["address", "add", &format!("{}/24", self.host(member)), "dev", "eth0"])?;
            ip_inside(&["link", "set", "eth0", "up"])?;
            ip_inside(&["link", "set", "lo", "up"])?;
            for rule in RULES.lines() {
                self.nft(member, rule)?;
            }
        }
        Ok(())
    }

    /// The address of a member.
    pub fn host(&self, member: usize) -> String {
        self.address(member + 1)
    }

    /// The command that runs a program within the namespace of a member, in the same process.
    pub fn inside(&self, member: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(member)].map(str::to_owned).into()
    }

    /// From now on `to` receives nothing that `from` sends.
    pub fn cut(&self, from: From, to: usize) {
        self.change("add", from, to);
    }

    /// Undoes [`Network::cut`].
    pub fn mend(&self, from: From, to: usize) {
        self.change("delete", from, to);
    }

    fn change(&self, how: &str, from: From, to: usize) {
        let address = match from {
            From::Member(member) => self.host(member),
            From::Clients => self.address(CLIENTS),
        };
        let rule = format!("{how} element inet chaos deaf_to {{ {address} }}");
        self.nft(to, &rule).expect("what worked when the network was made works now");
    }

    fn nft(&self, member: usize, rule: &str) -> Result<(), String> {
        ip(&["netns", "exec", &self.namespace(member), "nft", rule])
    }

    fn address(&self, last: usize) -> String {
        format!("{SUBNET}.{}.{last}", self.subnet)
    }

    fn namespace(&self, member: usize) -> String {
        format!("{MARK}-{}-{}-{member}", std::process::id(), self.number)
    }

    // Interfaces have names of at most 15 characters.

    fn bridge(&self) -> String {
        format!("lm{}b{}", std::process::id(), self.number)
    }

    fn interface(&self, member: usize) -> String {
        format!("lm{}v{}{member}", std::process::id(), self.number)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for member in 0..self.size {
            // Some may not have been made. The one inside goes with the one outside.
            let _ = ip(&["link", "delete", &self.interface(member)]);
            let _ = ip(&["netns", "delete", &self.namespace(member)]);
        }
        let _ = ip(&["link", "delete", &self.bridge()]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(arguments))
}

/// Removes what was made by processes that are gone.
fn remove_leftovers() {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some(name) = line.split(' ').next().filter(|name| name.starts_with(MARK)) else { continue };
        let mut parts = name.split('-').skip(1);
        let (Some(process), Some(number)) = (parts.next(), parts.next()) else { continue };
        if !Path::new("/proc").join(process).exists() {
            eprintln!("removes {name}, which an earlier run has left behind");
            let _ = ip(&["netns", "delete", name]);
            let _ = ip(&["link", "delete", &format!("lm{process}b{number}")]);
        }
    }
}
