//! The configuration objects: what is in force, and what is wrong for this node.

use herald_api::sources::{Kind, Outcome, PasswordSource, Source, Sources, texts};
use herald_core::{PoolName, config::Config, labels::Labels};
use herald_runtime::{configuration, watch::Change};
use std::{collections::BTreeMap, sync::Arc};

/// How a watch stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stream {
    /// The first full list has come.
    pub(super) complete: bool,
    pub(super) connected: bool,
    pub(super) newest: u64,
}

impl Stream {
    pub(super) fn follow<T>(&mut self, change: &Change<T>) {
        match change {
            Change::Reset { newest, .. } => *self = Self { complete: true, connected: true, newest: *newest },
            Change::Set { newest, .. } | Change::Gone { newest, .. } => {
                (self.connected, self.newest) = (true, *newest);
            }
            Change::Disconnected(_) => self.connected = false,
            Change::Connected | Change::Vanished => self.connected = true,
        }
    }
}

/// All configuration objects.
#[derive(Debug)]
pub(super) struct Settings {
    sources: Sources,
    streams: BTreeMap<Kind, Stream>,
    config: Arc<Config>,
    /// Pools that only a mistake keeps from being in force.
    broken: BTreeMap<PoolName, Labels>,
    /// Whether there may be others, of which not even the names are known: the ConfigMap cannot be read, or there never was any
    /// configuration since this speaker started (somebody removed MetalLB with its definitions, for example; the controller then leaves all
    /// Services as they are).
    unread: bool,
    has_peers: bool,
}

impl Settings {
    pub(super) fn new() -> Self {
        let streams = Kind::ALL.map(|kind| (kind, Stream::default())).into();
        Self {
            sources: Sources::default(),
            streams,
            config: Arc::default(),
            broken: BTreeMap::new(),
            unread: true,
            has_peers: false,
        }
    }

    /// Takes a change of one kind; says whether something else is in force now.
    pub(super) fn apply(&mut self, kind: Kind, change: Change<Source>) -> bool {
        self.streams.entry(kind).or_default().follow(&change);
        self.has_peers |= kind == Kind::BgpPeer
            && match &change {
                Change::Reset { objects, .. } => !objects.is_empty(),
                change => matches!(change, Change::Set { .. }),
            };
        configuration::follow(&mut self.sources, kind, change) && self.merge()
    }

    /// Takes a change of the Secrets.
    pub(super) fn apply_secrets(&mut self, change: Change<PasswordSource>) -> bool {
        match change {
            Change::Reset { objects, .. } => {
                self.sources.reset_secrets(objects.into_iter().map(|(key, secret)| (key.name, secret)));
            }
            Change::Set { key, value, .. } => self.sources.set_secret(key.name, Some(value)),
            Change::Gone { key, .. } => self.sources.set_secret(key.name, None),
            Change::Disconnected(_) | Change::Connected | Change::Vanished => return false,
        }
        self.merge()
    }

    fn merge(&mut self) -> bool {
        // Decided on everything or on nothing: what is in force first keeps its place against what conflicts with it.
        if !self.is_complete() {
            return false;
        }
        let Outcome { config, .. } = self.sources.merge();
        let mut changed = *self.config != *config;
        if changed {
            self.config = Arc::new(config.clone());
        }
        let unread = (self.unread && self.sources.is_empty()) || self.sources.outcome().broken().others;
        let broken = self.sources.broken_pools();
        changed |= (unread, &broken) != (self.unread, &self.broken);
        (self.unread, self.broken) = (unread, broken);
        changed
    }

    pub(super) fn is_complete(&self) -> bool {
        self.streams.values().all(|stream| stream.complete)
    }

    pub(super) fn connected(&self) -> bool {
        self.streams.values().all(|stream| stream.connected)
    }

    pub(super) fn newest(&self) -> u64 {
        self.streams.values().map(|stream| stream.newest).max().unwrap_or_default()
    }

    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Pools that only a mistake keeps from being in force.
    pub(super) const fn broken_pools(&self) -> &BTreeMap<PoolName, Labels> {
        &self.broken
    }

    /// Whether there may be pools that are not known at all.
    pub(super) const fn has_unread_pools(&self) -> bool {
        self.unread
    }

    /// Whether there ever was a BGPPeer.
    pub(super) fn has_peers(&self) -> bool {
        self.has_peers
    }

    /// Whether there is no configuration at all.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// What is wrong for a node with these labels, in MetalLB's words; empty when nothing is.
    pub(super) fn error_summary(&self, node: &Labels, namespace: &str) -> String {
        texts::error_summary(&self.sources.outcome().problems, texts::Component::Speaker(node), namespace)
    }

    /// The first problem that matters to a node with these labels, with its next step, and how many there are.
    pub(super) fn first_problem(&self, node: &Labels) -> Option<(String, usize)> {
        let component = texts::Component::Speaker(node);
        let mut problems = self.sources.outcome().problems.iter().filter(|problem| component.minds(problem));
        let first = problems.next()?.to_string();
        Some((first, 1 + problems.count()))
    }
}
