//! What can be wrong with configuration objects, and what to do about it.

use super::ObjectId;
use crate::{config_map::ConfigError, labels::SelectorFault};
use herald_core::{
    PoolName,
    config::InvalidCommunity,
    labels::{Labels, Selector, any_matches},
    net::{InvalidRange, IpRange},
};
use std::{borrow::Cow, fmt, sync::Arc};

/// A problem of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object that has it.
    pub object: ObjectId,
    /// Its uid, for events; empty where unknown.
    pub uid: Arc<str>,
    /// What it is, and where in the object.
    pub fault: Fault,
    /// What is in force meanwhile.
    pub in_force: InForce,
    /// The nodes that it matters to: one of these selectors; empty = all.
    pub nodes: Vec<Selector>,
}

/// What is wrong in an object, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, as `spec.addresses[0]`; empty = the object.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl Fault {
    /// At a field.
    pub fn at(field: impl Into<String>, reason: Reason) -> Self {
        Self { field: field.into(), reason }
    }

    /// Of the object as a whole.
    #[must_use]
    pub const fn whole(reason: Reason) -> Self {
        Self { field: String::new(), reason }
    }
}

/// `field: reason; next step`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}", self.reason)?;
        match self.reason.next_step() {
            Cow::Borrowed("") => Ok(()),
            step => write!(f, "; {step}"),
        }
    }
}

/// What is in force of an object that has a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InForce {
    /// Nothing.
    Nothing,
    /// Its last good version; for a ConfigMap: the parts that have no problem, or all of the last good one.
    LastGood,
}

impl Problem {
    /// Whether it may end by itself when another object comes, as objects may be applied in any order.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.fault.reason.is_transient()
    }

    /// Short label for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        self.fault.reason.label()
    }

    /// Whether it matters to a node with these labels.
    #[must_use]
    pub fn concerns_node(&self, labels: &Labels) -> bool {
        self.nodes.is_empty() || any_matches(&self.nodes, labels)
    }

    /// For events and logs: what is wrong, what to do, and what is in force meanwhile.
    #[must_use]
    pub fn message(&self) -> String {
        match self.in_force {
            InForce::Nothing => format!("{} (nothing of it is in force)", self.fault),
            InForce::LastGood => format!("{} (the last good version stays in force)", self.fault),
        }
    }
}

/// `Kind/name: field: reason; next step`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.fault)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Does not fit the schema.
    #[error("the object does not fit its schema: {0}")]
    Malformed(String),
    /// A field that does not exist.
    #[error("no such field")]
    UnknownField,
    /// The object was defined before, in another manifest or in the same.
    #[error("it is defined twice, first in {first}")]
    DefinedTwice {
        /// Where it was first.
        first: String,
    },
    /// Not in Herald's namespace.
    #[error("the object is in namespace {is:?}, where nobody reads it")]
    Namespace {
        /// Where it is.
        is: String,
        /// Where it should be.
        should: String,
    },
    /// A mistake in the ConfigMap's text.
    #[error("{0}")]
    ConfigMap(Box<ConfigError>),
    /// The ConfigMap was deleted.
    #[error("the ConfigMap was deleted; its pools stay in force until Herald restarts or other pools replace them")]
    Deleted,
    /// The kind's definition was deleted, and the object with it.
    #[error(
        "its custom resource definition was deleted, and the object with it; what it said stays in force until Herald restarts"
    )]
    Undefined,
    /// Nothing where something must be.
    #[error("it is missing")]
    Missing {
        /// How it could look.
        example: &'static str,
    },
    /// Not a range of addresses.
    #[error("{0}")]
    Range(#[from] InvalidRange),
    /// The range has addresses in common with another one.
    #[error("{} overlaps with {} of {}", .0.range, .0.other, .0.owner)]
    Overlap(Box<Overlap>),
    /// Another object defines the same name.
    #[error("{other} defines the name {name:?} too")]
    NameTaken {
        /// The name.
        name: String,
        /// The object that was first.
        other: ObjectId,
    },
    /// The same entry twice in a list.
    #[error("{0} stands twice")]
    Twice(String),
    /// A number out of range.
    #[error("{value} is out of range")]
    OutOfRange {
        /// As it stands.
        value: i64,
        /// What is possible.
        allowed: &'static str,
    },
    /// A selector that is none.
    #[error("{0}")]
    Selector(#[from] SelectorFault),
    /// An advertisement would cover more than a pool has.
    #[error(
        "aggregation length {length} is shorter than the prefix length {prefix} of addresses {addresses} of pool {pool}"
    )]
    Aggregation {
        /// The aggregation length.
        length: u8,
        /// Length of the widest prefix of the addresses.
        prefix: u8,
        /// The addresses, as they stand.
        addresses: String,
        /// Their pool.
        pool: PoolName,
    },
    /// Service selectors together with aggregation.
    #[error("serviceSelectors and {field} are mutually exclusive")]
    AggregationAndServices {
        /// The field.
        field: &'static str,
        /// The advertisement.
        name: String,
    },
    /// Two advertisements announce the same with different local preferences.
    #[error("local preference {is}, where {other} announces pool {pool} with {theirs}")]
    LocalPref {
        /// This one's.
        is: u32,
        /// The other one's.
        theirs: u32,
        /// The other one.
        other: ObjectId,
        /// A pool that both announce.
        pool: PoolName,
    },
    /// Two sessions of one node with one router.
    #[error("{other} is a session with {address} on the same nodes")]
    SamePeer {
        /// Address or interface.
        address: String,
        /// The object that was first.
        other: ObjectId,
    },
    /// Not the value of a community.
    #[error("{0}")]
    Community(#[from] InvalidCommunity),
    /// Not a community; perhaps the name of one that comes later.
    #[error("no Community object defines the name {0:?}")]
    UnknownCommunity(String),
    /// The name of a community is defined twice.
    #[error("the community {alias:?} is defined twice{}", other.as_ref().map(|other| format!(", in {other} too")).unwrap_or_default())]
    DuplicateCommunity {
        /// The name.
        alias: String,
        /// The object that was first; `None` = this one.
        other: Option<ObjectId>,
    },
    /// Not an address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// Not a duration.
    #[error("{0:?} is not a duration")]
    Duration(String),
    /// A hold time that BGP does not know (RFC 4271, section 4.2).
    #[error("the hold time {0:?} is neither 0 nor 3s to 65535s")]
    HoldTime(String),
    /// Keepalives rarer than the hold time, or none at all.
    #[error("the keepalive time {0:?} is negative or above the hold time")]
    Keepalive(String),
    /// A time between attempts that is not possible.
    #[error("the connect time {0:?} is not 1s to 65535s in whole seconds")]
    ConnectTime(String),
    /// Multi-hop makes sense between two AS only.
    #[error("ebgpMultiHop with equal AS numbers")]
    MultihopInternal,
    /// Neither of two fields of which one is needed.
    #[error("neither {0} nor {1} is set")]
    Neither(&'static str, &'static str),
    /// Both of two fields that exclude each other.
    #[error("both {0} and {1} are set")]
    Both(&'static str, &'static str),
    /// Not one of the words.
    #[error("{is:?} is none of {allowed}")]
    Word {
        /// As it stands.
        is: String,
        /// The words.
        allowed: &'static str,
    },
    /// Line breaks where none belong.
    #[error("it contains a line break")]
    LineBreak,
    /// The BFD profile does not exist, or is not valid.
    #[error("no valid BFDProfile object has the name {0:?}")]
    UnknownBfdProfile(String),
    /// The Secret with the password does not exist.
    #[error("the Secret {0:?} does not exist")]
    NoSecret(String),
    /// The Secret is of another type.
    #[error("the Secret {0:?} is not of type kubernetes.io/basic-auth")]
    SecretType(String),
    /// The Secret has no password.
    #[error("the Secret {0:?} has no key \"password\" with text")]
    NoPassword(String),
    /// BFD's echo function works with IPv4 only.
    #[error(
        "its BFD profile {profile:?} uses the echo mode, and {advertisement} announces IPv6 addresses of pool {pool} to it"
    )]
    EchoForIpv6 {
        /// The profile.
        profile: String,
        /// The advertisement.
        advertisement: String,
        /// The pool.
        pool: PoolName,
    },
}

/// Two ranges with addresses in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The range that came second.
    pub range: IpRange,
    /// As it stands.
    pub text: String,
    /// Its pool.
    pub pool: PoolName,
    /// The range that was first.
    pub other: IpRange,
    /// As it stands.
    pub other_text: String,
    /// Where it stands.
    pub owner: Owner,
}

/// Where a range stands that another one overlaps with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The object.
    pub object: ObjectId,
    /// Its pool; differs from the object's name in a ConfigMap.
    pub pool: PoolName,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self.object.name == *self.pool.as_str() {
            write!(f, "{}", self.object)
        } else {
            write!(f, "pool {} in {}", self.pool, self.object)
        }
    }
}

impl Reason {
    /// Whether it may end by itself when another object comes.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::UnknownCommunity(_) | Self::UnknownBfdProfile(_) | Self::NoSecret(_))
    }

    /// What to do about it; empty where the reason says so itself.
    #[must_use]
    pub fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::ConfigMap(_) | Self::Range(_) => "",
            Self::Malformed(_) => "compare it with the CRD (kubectl explain)",
            Self::UnknownField => "correct or remove it",
            Self::DefinedTwice { .. } => "remove one of the two",
            Self::Namespace { should, .. } => return format!("create it in namespace {should}").into(),
            Self::Deleted => "create it again, or an empty one to give its pools up",
            Self::Undefined => {
                "put the definition and the object back before anything of Herald restarts; to give it up, create and delete it"
            }
            Self::Missing { example } => return format!("add {example}").into(),
            Self::Overlap(_) => "an address belongs to one pool, once: change one of the two",
            Self::NameTaken { .. } => "rename or remove one of the two",
            Self::Twice(_) => "keep one",
            Self::OutOfRange { allowed, .. } => return format!("use {allowed}").into(),
            Self::Selector(fault) => fault.next_step(),
            Self::Aggregation { prefix, .. } => return format!("use {prefix} or more").into(),
            Self::AggregationAndServices { .. } => "remove one of the two",
            Self::LocalPref { .. } => "use the same value, other peers, or another aggregation length",
            Self::SamePeer { .. } => "remove one of the two, or choose other nodes",
            Self::Community(_) => "correct it",
            Self::UnknownCommunity(_) => "create it, or write 64512:1 or large:64512:1:2",
            Self::DuplicateCommunity { .. } => "rename or remove one of the two",
            Self::Address(_) => "write one, as 192.0.2.1 or 2001:db8::1",
            Self::Duration(_) => "write for example 90s or 1m30s",
            Self::HoldTime(_) => "write 0s or 3s to 65535s",
            Self::Keepalive(_) => "write at most the hold time, a third of it is usual",
            Self::ConnectTime(_) => "write for example 10s",
            Self::MultihopInternal => "remove ebgpMultiHop: internal sessions are multi-hop anyway",
            Self::Neither(..) => "set one of the two",
            Self::Both(..) => "remove one of the two",
            Self::Word { .. } => "correct it",
            Self::LineBreak => "remove it",
            Self::UnknownBfdProfile(_) => "create it, correct it, or correct the name",
            Self::NoSecret(_) => "create it (type kubernetes.io/basic-auth, key password)",
            Self::SecretType(_) => "create it again with that type: a Secret's type cannot be changed",
            Self::NoPassword(_) => "add it",
            Self::EchoForIpv6 { .. } => "use another profile for this peer, or list the advertisement's peers",
        })
    }

    /// Short label for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::UnknownField => "malformed",
            Self::Namespace { .. } => "namespace",
            Self::ConfigMap(_) => "config_map",
            Self::Deleted | Self::Undefined => "deleted",
            Self::Missing { .. } | Self::Neither(..) => "missing",
            Self::Range(_) | Self::Address(_) => "address",
            Self::Overlap(_) => "overlap",
            Self::NameTaken { .. }
            | Self::DuplicateCommunity { .. }
            | Self::Twice(_)
            | Self::SamePeer { .. }
            | Self::DefinedTwice { .. } => "duplicate",
            Self::OutOfRange { .. } | Self::Word { .. } | Self::LineBreak => "value",
            Self::Selector(_) => "selector",
            Self::Aggregation { .. } | Self::AggregationAndServices { .. } => "aggregation",
            Self::LocalPref { .. } => "local_pref",
            Self::Community(_) => "community",
            Self::UnknownCommunity(_) => "unknown_community",
            Self::Duration(_) | Self::HoldTime(_) | Self::Keepalive(_) | Self::ConnectTime(_) => "time",
            Self::MultihopInternal | Self::Both(..) => "exclusive",
            Self::UnknownBfdProfile(_) => "unknown_bfd_profile",
            Self::NoSecret(_) => "no_secret",
            Self::SecretType(_) | Self::NoPassword(_) => "secret",
            Self::EchoForIpv6 { .. } => "echo",
        }
    }
}
