//! Golden cases: a folder a case, with objects that are applied step by step (`1.yaml`, `2.yaml`, …) and what comes of them (`1.out`, …).
//!
//! `HERALD_GOLDEN=rewrite cargo test -p herald-controller --test golden` writes the answers anew: read the difference before you keep it.
//! An object with `metadata.deletionTimestamp` is deleted by its step.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a case that cannot be read fails its test")]

use herald_api::{
    crd::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, Unread},
    event::ServiceEvent,
    service,
    sources::{Kind, ObjectId, Problem, Source, Sources, texts},
};
use herald_core::{
    ServiceKey,
    allocate::{Assignment, Effect, Facts, Outcome, Plan, effects, plan, same_terms, usage},
    reason::Reason,
    service::{Namespaces, Service, Services},
};
use k8s_openapi::api::core::v1 as core;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

#[test]
fn golden_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let rewrite = std::env::var("HERALD_GOLDEN").is_ok_and(|value| value == "rewrite");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "the cases are gone: {cases:?}");
    let mut different = Vec::new();
    for case in cases {
        let mut world = World::default();
        for step in 1.. {
            let Ok(text) = fs::read_to_string(case.join(format!("{step}.yaml"))) else {
                assert!(step > 1, "{} has no 1.yaml", case.display());
                break;
            };
            let answer = world.step(&text);
            let file = case.join(format!("{step}.out"));
            if rewrite {
                fs::write(&file, &answer).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap_or_default();
            if expected != answer {
                different.push(format!("{}:\n--- expected\n{expected}--- is\n{answer}", file.display()));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// A cluster, as far as allocation sees it.
#[derive(Default)]
struct World {
    sources: Sources,
    namespaces: Namespaces,
    services: Services,
    changed_terms: BTreeMap<ServiceKey, u64>,
    told: Plan,
    age: i64,
}

impl World {
    fn step(&mut self, text: &str) -> String {
        for document in text.split("\n---\n") {
            self.apply(serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error} in\n{document}")));
        }
        self.sources.merge();
        let mut out = String::new();
        // Every further round serves somebody who waited for an address given back in the one before.
        for round in 1.. {
            assert!(round < 20, "never settles:\n{out}");
            let plan = self.plan();
            let effects = effects(&self.services, &self.told, &plan);
            self.told = plan;
            if effects.is_empty() {
                break;
            }
            effects.iter().for_each(|effect| self.carry_out(effect, &mut out));
        }
        self.describe(&mut out);
        out
    }

    fn apply(&mut self, object: Value) {
        let gone = !object["metadata"]["deletionTimestamp"].is_null();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match kind.as_str() {
            "Namespace" if gone => drop(self.namespaces.remove(name.as_str())),
            "Namespace" => {
                let object: core::Namespace = read(object);
                let labels = object.metadata.labels.into_iter().flatten().collect();
                self.namespaces.insert(name.into(), labels);
            }
            "Service" => self.service(&read(object), gone),
            "ConfigMap" => self.source(Kind::ConfigMap, name, gone, || Source::from(&read::<core::ConfigMap>(object))),
            "IPAddressPool" => self.custom::<IPAddressPool>(Kind::IpAddressPool, name, gone, object),
            "L2Advertisement" => self.custom::<L2Advertisement>(Kind::L2Advertisement, name, gone, object),
            "BGPAdvertisement" => self.custom::<BGPAdvertisement>(Kind::BgpAdvertisement, name, gone, object),
            "BGPPeer" => self.custom::<BGPPeer>(Kind::BgpPeer, name, gone, object),
            "BFDProfile" => self.custom::<BFDProfile>(Kind::BfdProfile, name, gone, object),
            "Community" => self.custom::<Community>(Kind::Community, name, gone, object),
            other => panic!("no case can have a {other}"),
        }
    }

    fn custom<K: DeserializeOwned>(&mut self, kind: Kind, name: String, gone: bool, object: Value)
    where
        Source: From<Unread<K>>,
    {
        self.source(kind, name, gone, || Source::from(read::<Unread<K>>(object)));
    }

    fn source(&mut self, kind: Kind, name: String, gone: bool, read: impl FnOnce() -> Source) {
        self.sources.set(ObjectId::new(kind, name), (!gone).then(read));
    }

    /// Spec and annotations are the user's, the status is ours: it stays.
    fn service(&mut self, object: &core::Service, gone: bool) {
        let key = ServiceKey::new(object.metadata.namespace.clone().unwrap(), object.metadata.name.clone().unwrap());
        let before = self.services.remove(&key).map(Arc::unwrap_or_clone);
        self.age += 1;
        let Some(service) = service::from_object(object, None).filter(|_| !gone) else {
            // Of another type: known as long as it holds something.
            if let Some(before) = before.filter(|before| !gone && !before.ingress.is_empty()) {
                self.services.insert(key, Arc::new(Service { is_load_balancer: false, ..before }));
            }
            return;
        };
        let service = match before {
            None => Service { created: self.age, ..service },
            Some(before) => {
                if !before.ingress.is_empty() && !same_terms(&before, &service) {
                    self.changed_terms.insert(key.clone(), u64::try_from(self.age).unwrap());
                }
                let Service { created, ingress, ingress_has_other, allocated_from, .. } = before;
                Service { created, ingress, ingress_has_other, allocated_from, ..service }
            }
        };
        self.services.insert(key, Arc::new(service));
    }

    fn plan(&self) -> Plan {
        plan(Facts {
            config: &self.sources.outcome().config,
            namespaces: &self.namespaces,
            services: &self.services,
            changed_terms: &self.changed_terms,
            broken: &self.sources.outcome().broken(),
            quarantined: &BTreeSet::new(),
        })
    }

    fn carry_out(&mut self, effect: &Effect, out: &mut String) {
        match effect {
            Effect::WriteStatus { service, assignment } => {
                let patch = service::status_patch(assignment.as_ref(), "1");
                writeln!(out, "write {service} {} {}", patch["status"], patch["metadata"]["annotations"]).unwrap();
                let Some(service) = self.services.get_mut(service).map(Arc::make_mut) else { return };
                service.ingress_has_other = false;
                service.ingress = assignment.iter().flat_map(|it| it.addresses.clone()).collect();
                service.allocated_from = assignment.as_ref().map(|it| it.pool.clone());
            }
            Effect::Event { service, event } => {
                let ServiceEvent { reason, kind, message } = ServiceEvent::from_allocation(service, event);
                writeln!(out, "event {service} {kind} {reason}: {message}").unwrap();
            }
        }
    }

    fn describe(&self, out: &mut String) {
        let problems: &[Problem] = &self.sources.outcome().problems;
        for problem in problems {
            writeln!(out, "problem {}: {}", problem.object, problem.message()).unwrap();
        }
        let summary = texts::error_summary(problems, texts::Component::Controller, "metallb-system");
        writeln!(out, "state {}", if summary.is_empty() { "Valid".to_owned() } else { format!("Invalid {summary:?}") })
            .unwrap();
        for (pool, usage) in usage(&self.sources.outcome().config, &self.told) {
            let of = |count: herald_core::allocate::Count| format!("{}+{}", count.assigned, count.available());
            writeln!(out, "pool {pool} IPv4 {} IPv6 {}", of(usage.v4), of(usage.v6)).unwrap();
        }
        for (key, decision) in &self.told.decisions {
            let text = match &decision.outcome {
                Outcome::Assigned(Assignment { pool, addresses }) => {
                    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    format!("has {} of {pool}", addresses.join(" "))
                }
                Outcome::Waiting(why) => format!("waits: {}", why.advice()),
                Outcome::NotWanted => "wants nothing".to_owned(),
            };
            writeln!(out, "service {key} {text}").unwrap();
        }
    }
}

fn read<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}
