//! Whatever happens to the objects, in whatever order.

use super::*;
use proptest::prelude::*;

/// What may happen to one of five pools or the ConfigMap.
#[derive(Debug, Clone)]
enum Step {
    Pool(u8, u8, u8),
    Wrong(u8),
    Gone(u8),
    ConfigMap(u8, u8, u8),
    NoConfigMap,
    Decide,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, 0u8..30, 0u8..8).prop_map(|(pool, first, length)| Step::Pool(pool, first, length)),
        1 => (0u8..5).prop_map(Step::Wrong),
        1 => (0u8..5).prop_map(Step::Gone),
        1 => (0u8..7, 0u8..30, 0u8..8).prop_map(|(pool, first, length)| Step::ConfigMap(pool, first, length)),
        1 => Just(Step::NoConfigMap),
        3 => Just(Step::Decide),
    ]
}

fn apply(cluster: &mut Cluster, step: &Step) {
    let range = |first: u8, length: u8| format!("10.0.0.{first}-10.0.0.{}", first + length);
    match *step {
        Step::Pool(pool, first, length) => cluster.pool(&format!("p{pool}"), &range(first, length)),
        Step::Wrong(pool) => cluster.pool(&format!("p{pool}"), "nothing"),
        Step::Gone(pool) => cluster.gone(Kind::IpAddressPool, &format!("p{pool}")),
        Step::ConfigMap(pool, first, length) => {
            cluster.config_map(&format!("{{name: p{pool}, protocol: layer2, addresses: [{}]}}", range(first, length)))
        }
        Step::NoConfigMap => cluster.gone(Kind::ConfigMap, "config"),
        Step::Decide => {
            cluster.0.merge();
            cluster
        }
    };
}

proptest! {
    #[test]
    fn no_edit_takes_another_object_out_of_force(steps in proptest::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::new();
        for step in &steps {
            cluster.0.merge();
            let before = cluster.0.outcome().clone();
            apply(&mut cluster, step);
            let outcome = cluster.0.merge().clone();
            prop_assert_eq!(&cluster.0.merge().clone(), &outcome, "repeating changes nothing");

            let ranges: Vec<_> = outcome.config.pools.values().flat_map(|pool| &pool.ranges).collect();
            for (index, one) in ranges.iter().enumerate() {
                prop_assert!(ranges.iter().skip(index + 1).all(|two| !one.overlaps(two)), "{:?}", outcome.config);
            }
            // A pool that was in force, and whose object is there and was not touched, is in force.
            let touched = match step {
                Step::Pool(pool, ..) | Step::Wrong(pool) | Step::Gone(pool) => Some(format!("p{pool}")),
                _ => None,
            };
            for (name, pool) in before.config.pools {
                let id = ObjectId::new(Kind::IpAddressPool, name.as_str());
                // A version that waits for room comes into force when there is some.
                let waits = before.problems.iter().any(|problem| problem.object == id);
                let by_config_map = matches!(step, Step::ConfigMap(..) | Step::NoConfigMap);
                if cluster.0.contains(&id) && touched.as_deref() != Some(name.as_str()) && !waits && !by_config_map {
                    prop_assert_eq!(outcome.config.pools.get(&name), Some(&pool), "{}", name);
                }
            }
            // Whatever is not in force as it stands is told.
            for id in cluster.0.objects.keys().filter(|id| id.kind == Kind::IpAddressPool) {
                let told = outcome.problems.iter().any(|problem| problem.object == *id);
                let in_force = cluster.0.held.contains_key(&(id.clone(), "".into()));
                prop_assert!(in_force || told, "{}", id);
            }
        }
    }

    /// Nothing is remembered that the objects do not say: who starts later decides alike when no object is wrong or in conflict.
    #[test]
    fn without_problems_history_does_not_matter(steps in proptest::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::new();
        for step in &steps {
            apply(&mut cluster, step);
        }
        let outcome = cluster.0.merge().clone();
        if outcome.problems.is_empty() {
            let mut later = Sources { objects: cluster.0.objects.clone(), ..Sources::default() };
            prop_assert_eq!(later.merge(), &outcome);
        }
    }
}
