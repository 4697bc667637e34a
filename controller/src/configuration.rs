//! The configuration: all its objects, what is in force, and what is wrong.

use herald_api::{
    sources::{
        InForce, Kind, ObjectId, Problem, Source, Sources,
        texts::{self, Component},
    },
    state::{ConfigurationState, CountState, PoolState, ProblemState},
};
use herald_core::{
    PoolName,
    allocate::{Broken, Count, Usage},
    config::Config,
};
use herald_runtime::{configuration, watch::Change};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What is known of the configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    sources: Sources,
    /// Kinds whose first list has not come yet: nothing is in force before all are known.
    awaited: BTreeSet<Kind>,
    /// Whether something changed since the last merge.
    dirty: bool,
    /// Whether there was a merge.
    decided: bool,
    /// Whether there ever was a configuration. Before that Services wait and keep what they have: a cluster whose configuration comes later
    /// (after a change of engines, for example) loses nothing.
    established: bool,
    broken: Broken,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            sources: Sources::default(),
            awaited: Kind::ALL.into(),
            dirty: false,
            decided: false,
            established: false,
            broken: Broken::default(),
        }
    }
}

impl Configuration {
    /// Takes in a change of the objects of a kind.
    pub(crate) fn observe(&mut self, kind: Kind, change: Change<Source>) {
        if matches!(change, Change::Reset { .. }) {
            self.awaited.remove(&kind);
        }
        self.dirty |= configuration::follow(&mut self.sources, kind, change);
    }

    /// Decides anew what is in force, if anything changed; whether that is something else now.
    pub(crate) fn merge(&mut self) -> bool {
        if !self.dirty || !self.awaited.is_empty() {
            return false;
        }
        self.dirty = false;
        self.decided = true;
        let before = (self.in_force().cloned(), self.broken.clone(), self.problems().to_vec());
        self.sources.merge();
        self.established |= !self.sources.is_empty();
        self.broken = self.sources.outcome().broken();
        self.tell(before.0.as_ref(), &before.2);
        (before.0.as_ref(), &before.1) != (self.in_force(), &self.broken)
    }

    fn tell(&self, before: Option<&Config>, known: &[Problem]) {
        for problem in self.problems().iter().filter(|problem| !known.contains(problem)) {
            tracing::warn!(object = %problem.object, "configuration: {}", problem.message());
        }
        match self.in_force() {
            Some(config) if before != Some(config) => {
                tracing::info!(pools = config.pools.len(), "configuration in force");
            }
            None => tracing::warn!("no configuration: Services wait"),
            Some(_) => {}
        }
    }

    /// The configuration in force; `None` before everything is known, and while there never was one.
    pub(crate) fn in_force(&self) -> Option<&Config> {
        let config = &self.sources.outcome().config;
        // Nothing but mistakes: as if nothing were there yet.
        let only_mistakes = config.pools.is_empty() && self.broken != Broken::default();
        (self.established && !only_mistakes).then_some(config)
    }

    /// Everything that is known of the configuration; `None` before that is all of it.
    pub(crate) fn known(&self) -> Option<&Sources> {
        self.awaited.is_empty().then_some(&self.sources)
    }

    /// Whether it is known that nothing is in force. A pool that comes then is perhaps the first of several.
    pub(crate) fn is_nothing(&self) -> bool {
        self.decided && self.in_force().is_none()
    }

    /// Whether there is a pool that is an object: then more of them may be on their way.
    pub(crate) fn has_pool_objects(&self) -> bool {
        self.sources.has_pool_objects()
    }

    /// Pools that are not in force because of a mistake.
    pub(crate) const fn broken(&self) -> &Broken {
        &self.broken
    }

    /// What is wrong with which object.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.sources.outcome().problems
    }

    /// What the controller's ConfigurationState says; `None` before everything is known.
    pub(crate) fn summary(&self, namespace: &str) -> Option<String> {
        self.awaited.is_empty().then(|| texts::error_summary(self.problems(), Component::Controller, namespace))
    }

    /// Whether something of the newest configuration is not in force.
    pub(crate) fn is_stale(&self) -> bool {
        self.problems().iter().any(|problem| !problem.is_transient())
    }

    /// For `/readyz`: whether all is well, and the detail.
    pub(crate) fn detail(&self) -> (bool, String) {
        if !self.awaited.is_empty() {
            return (false, "not read yet".to_owned());
        }
        let pools = self.in_force().map(|config| config.pools.len());
        match (pools, self.problems()) {
            (None, []) => (false, "there is none: create an IPAddressPool, or the ConfigMap".to_owned()),
            (Some(pools), []) => (true, format!("{pools} pools")),
            (pools, [first, rest @ ..]) => {
                let others = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
                let kept = match first.in_force {
                    InForce::LastGood => "the last good version stays in force",
                    InForce::Nothing => "nothing of it is in force",
                };
                let pools = pools.map_or_else(|| "Services wait".to_owned(), |pools| format!("{pools} pools"));
                (false, format!("{pools}; {first}; {kept}{others}"))
            }
        }
    }

    /// For `/debug/state`.
    pub(crate) fn describe(&self, usage: &BTreeMap<PoolName, Usage>) -> ConfigurationState {
        let problem = |problem: &Problem| ProblemState {
            object: problem.object.to_string(),
            name: problem.object.name.to_string(),
            message: problem.message(),
            transient: problem.is_transient(),
        };
        let config = self.in_force();
        let pools = config.into_iter().flat_map(|config| {
            config.pools.iter().map(|(name, pool)| {
                let Usage { v4, v6 } = usage.get(name).copied().unwrap_or_default();
                let for_it = config.l2_advertisements.iter().filter(|(_, l2)| l2.pools.includes(name, pool));
                let state = PoolState {
                    ranges: pool.ranges.iter().map(ToString::to_string).collect(),
                    auto_assign: pool.auto_assign,
                    ipv4: count(v4),
                    ipv6: count(v6),
                    l2_advertisements: for_it.map(|(name, _)| name.to_string()).collect(),
                };
                (name.to_string(), state)
            })
        });
        ConfigurationState {
            awaited: self.awaited.iter().map(ToString::to_string).collect(),
            in_force: config.is_some(),
            problems: self.problems().iter().map(problem).collect(),
            pools: pools.collect(),
        }
    }
}

const fn count(Count { total, assigned }: Count) -> CountState {
    CountState { total, assigned }
}

/// Which problems were told as events: each once for each object.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<(ObjectId, Arc<str>), BTreeSet<String>>);

impl Told {
    /// The problems that are new, with their messages; what is over is forgotten, so that it is told when it comes again.
    pub(crate) fn news<'p>(&mut self, problems: &'p [Problem]) -> Vec<(&'p Problem, String)> {
        let mut now: BTreeMap<(ObjectId, Arc<str>), BTreeSet<String>> = BTreeMap::new();
        let mut news = Vec::new();
        for problem in problems {
            let (key, message) = ((problem.object.clone(), problem.uid.clone()), problem.message());
            let known = self.0.get(&key).is_some_and(|known| known.contains(&message));
            if now.entry(key).or_default().insert(message.clone()) && !known {
                news.push((problem, message));
            }
        }
        self.0 = now;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_runtime::watch::ObjectKey;
    use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    fn config_map(text: &str) -> Source {
        let metadata = ObjectMeta { name: Some("config".to_owned()), uid: Some("u".to_owned()), ..Default::default() };
        Source::from(&ConfigMap {
            metadata,
            data: Some([("config".to_owned(), text.to_owned())].into()),
            ..ConfigMap::default()
        })
    }

    fn key() -> ObjectKey {
        ObjectKey { namespace: "ns".into(), name: "config".into() }
    }

    fn none() -> Change<Source> {
        Change::Reset { objects: [].into(), newest: 0 }
    }

    /// All other kinds are known and empty.
    fn others() -> Configuration {
        let mut configuration = Configuration::default();
        for kind in Kind::ALL.into_iter().skip(1) {
            configuration.observe(kind, none());
        }
        configuration
    }

    fn set(configuration: &mut Configuration, text: &str) -> bool {
        configuration.observe(Kind::ConfigMap, Change::Set { key: key(), value: config_map(text), newest: 1 });
        configuration.merge()
    }

    const GOOD: &str = "address-pools: [{name: p, protocol: layer2, addresses: [192.0.2.0/24]}]";

    #[test]
    fn nothing_is_in_force_before_every_kind_is_known() {
        let mut configuration = others();
        assert!(!set(&mut configuration, GOOD) && configuration.in_force().is_none());
        assert_eq!((configuration.summary("ns"), configuration.detail().1.as_str()), (None, "not read yet"));
        let objects = [(key(), config_map(GOOD))].into();
        configuration.observe(Kind::ConfigMap, Change::Reset { objects, newest: 1 });
        assert!(configuration.merge() && configuration.in_force().is_some());
        assert_eq!(configuration.summary("ns").as_deref(), Some(""));
        assert!(!configuration.merge(), "nothing changed");
    }

    #[test]
    fn no_object_at_all_is_no_configuration_and_not_stale() {
        let mut configuration = others();
        configuration.observe(Kind::ConfigMap, none());
        assert!(!configuration.merge());
        assert!(!configuration.is_stale() && configuration.in_force().is_none());
        assert!(!configuration.detail().0);
    }

    #[test]
    fn the_last_good_one_survives_a_bad_one_and_a_deletion() {
        let mut configuration = others();
        configuration.observe(Kind::ConfigMap, none());
        assert!(set(&mut configuration, GOOD));
        assert!(!set(&mut configuration, "address-pools: 17"));
        assert!(configuration.is_stale() && configuration.in_force().is_some());
        assert!(configuration.detail().1.contains("the last good version stays in force"));
        assert!(!set(&mut configuration, GOOD), "the same configuration is no change");
        assert!(!configuration.is_stale());
        configuration.observe(Kind::ConfigMap, Change::Gone { key: key(), newest: 2 });
        assert!(!configuration.merge());
        assert!(configuration.is_stale() && configuration.in_force().is_some());
    }

    #[test]
    fn a_bad_first_one_leaves_nothing_in_force() {
        let mut configuration = others();
        configuration.observe(Kind::ConfigMap, none());
        set(&mut configuration, "address-pools: 17");
        assert!(configuration.is_stale() && configuration.in_force().is_none() && configuration.broken().others);
    }

    #[test]
    fn each_problem_is_told_once_until_it_is_over() {
        let mut configuration = others();
        configuration.observe(Kind::ConfigMap, none());
        let mut told = Told::default();
        set(&mut configuration, "address-pools: 17");
        assert_eq!(told.news(configuration.problems()).len(), 1);
        assert_eq!(told.news(configuration.problems()), []);
        set(&mut configuration, GOOD);
        assert_eq!(told.news(configuration.problems()), []);
        set(&mut configuration, "address-pools: 17");
        assert_eq!(told.news(configuration.problems()).len(), 1);
    }
}
