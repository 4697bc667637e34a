//! The configuration in force: the last good one, whatever happens to its ConfigMap afterwards.

use crate::observe::ConfigObject;
use herald_api::config_map::ConfigFile;
use herald_runtime::watch::Change;
use serde::Serialize;

/// What is known of the ConfigMap.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub(crate) enum Status {
    /// The watch has not delivered yet.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// It is wrong.
    Invalid {
        /// All its mistakes.
        message: String,
        /// For events.
        #[serde(skip)]
        uid: String,
    },
    /// It is in force.
    InForce,
}

/// The ConfigMap's state and the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    status: Status,
    in_force: Option<ConfigFile>,
}

impl Configuration {
    /// Takes in a change; whether another configuration is in force now.
    pub(crate) fn observe(&mut self, change: Change<ConfigObject>) -> bool {
        let object = match change {
            // The selector is for one name: there is at most one.
            Change::Reset { mut objects, .. } => objects.pop_first().map(|(_, object)| object),
            Change::Set { value, .. } => Some(value),
            Change::Gone { .. } => None,
            Change::Disconnected(_) | Change::Connected => return false,
        };
        let before = self.status.clone();
        let changed = match object {
            None => {
                self.status = Status::Absent;
                false
            }
            Some(ConfigObject { uid, content: Err(errors) }) => {
                self.status = Status::Invalid { message: errors.to_string(), uid };
                false
            }
            Some(ConfigObject { content: Ok(file), .. }) => {
                self.status = Status::InForce;
                let changed = self.in_force.as_ref() != Some(&file);
                self.in_force = Some(file);
                changed
            }
        };
        if self.status != before || changed {
            self.tell();
        }
        changed
    }

    fn tell(&self) {
        let kept = if self.in_force.is_some() { "the last good configuration stays in force" } else { "Services wait" };
        match &self.status {
            Status::Unknown => {}
            Status::Absent => tracing::warn!("the configuration's ConfigMap does not exist: {kept}"),
            Status::Invalid { message, .. } => {
                tracing::error!(errors = message, "the configuration is invalid: {kept}")
            }
            Status::InForce => {
                let pools = self.in_force.as_ref().map_or(0, |file| file.config.pools.len());
                tracing::info!(pools, "configuration loaded");
            }
        }
    }

    /// The configuration in force.
    pub(crate) fn in_force(&self) -> Option<&ConfigFile> {
        self.in_force.as_ref()
    }

    /// What is known of the ConfigMap.
    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// Whether the newest configuration is not the one in force.
    pub(crate) fn is_stale(&self) -> bool {
        match self.status {
            Status::Unknown | Status::InForce => false,
            Status::Absent => self.in_force.is_some(),
            Status::Invalid { .. } => true,
        }
    }

    /// For `/readyz`: whether all is well, and the detail.
    pub(crate) fn detail(&self) -> (bool, String) {
        let kept = if self.in_force.is_some() { "the last good one stays in force" } else { "Services wait" };
        match &self.status {
            Status::Unknown => (false, "not read yet".to_owned()),
            Status::Absent => (false, format!("the ConfigMap does not exist: {kept}")),
            Status::Invalid { message, .. } => (false, format!("invalid, {kept}: {message}")),
            Status::InForce => {
                (true, format!("{} pools", self.in_force.as_ref().map_or(0, |file| file.config.pools.len())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_api::config_map::from_object;
    use herald_runtime::watch::ObjectKey;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn key() -> ObjectKey {
        ObjectKey { namespace: "ns".into(), name: "config".into() }
    }

    fn good() -> ConfigObject {
        let file = ConfigFile::default();
        ConfigObject { uid: "u".to_owned(), content: Ok(file) }
    }

    fn bad() -> ConfigObject {
        ConfigObject { uid: "u".to_owned(), content: from_object(&ConfigMap::default()) }
    }

    fn set(value: ConfigObject) -> Change<ConfigObject> {
        Change::Set { key: key(), value, newest: 1 }
    }

    #[test]
    fn a_missing_one_is_a_state_of_its_own_and_not_stale() {
        let mut configuration = Configuration::default();
        assert!(!configuration.observe(Change::Reset { objects: [].into(), newest: 0 }));
        assert_eq!(configuration.status(), &Status::Absent);
        assert!(!configuration.is_stale() && configuration.in_force().is_none());
        assert!(configuration.detail().1.contains("Services wait"));
    }

    #[test]
    fn the_last_good_one_survives_a_bad_one_and_a_deletion() {
        let mut configuration = Configuration::default();
        assert!(configuration.observe(set(good())));
        assert!(!configuration.observe(set(bad())));
        assert!(configuration.is_stale() && configuration.in_force().is_some());
        assert!(matches!(configuration.status(), Status::Invalid { .. }));
        assert!(!configuration.observe(set(good())), "the same configuration is no change");
        assert!(!configuration.is_stale());
        assert!(!configuration.observe(Change::Gone { key: key(), newest: 2 }));
        assert!(configuration.is_stale() && configuration.in_force().is_some());
    }

    #[test]
    fn a_bad_first_one_leaves_nothing_in_force() {
        let mut configuration = Configuration::default();
        assert!(!configuration.observe(set(bad())));
        assert!(configuration.is_stale() && configuration.in_force().is_none());
    }
}
