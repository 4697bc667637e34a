//! Configuration objects as both daemons follow them.

use crate::watch::Change;
use herald_api::sources::{Kind, ObjectId, Source, Sources};

/// Takes a change of the objects of a kind over into what is known; whether it was one of objects.
pub fn follow(sources: &mut Sources, kind: Kind, change: Change<Source>) -> bool {
    match change {
        Change::Reset { objects, .. } => {
            sources.reset(kind, objects.into_iter().map(|(key, source)| (key.name, source)));
        }
        Change::Set { key, value, .. } => sources.set(ObjectId::new(kind, key.name), Some(value)),
        Change::Gone { key, .. } => sources.set(ObjectId::new(kind, key.name), None),
        Change::Vanished => sources.vanish(kind),
        Change::Disconnected(_) | Change::Connected => return false,
    }
    true
}
