//! Objects that are wrong by themselves.

use super::*;

/// Each row: an object that is wrong by itself, its field and its reason's label.
#[test]
fn faults_of_single_objects() {
    let peer = |more: &str| format!("spec: {{myASN: 1, {more}}}");
    let good = "peerASN: 2, peerAddress: 10.0.0.1";
    for (kind, rest, field, label) in [
        (Kind::IpAddressPool, "spec: {addresses: [10.0.0.1]}".to_owned(), "spec.addresses[0]", "address"),
        (
            Kind::IpAddressPool,
            "spec: {addresses: [10.0.0.0/8], serviceAllocation: {priority: -1}}".to_owned(),
            "spec.serviceAllocation.priority",
            "value",
        ),
        (
            Kind::IpAddressPool,
            "spec: {addresses: [10.0.0.0/8], serviceAllocation: {namespaces: [a, a]}}".to_owned(),
            "spec.serviceAllocation.namespaces[1]",
            "duplicate",
        ),
        (
            Kind::L2Advertisement,
            "spec: {nodeSelectors: [{matchExpressions: [{key: a, operator: In}]}]}".to_owned(),
            "spec.nodeSelectors[0]",
            "selector",
        ),
        (
            Kind::L2Advertisement,
            "spec: {serviceSelectors: [{matchLabels: {a: b}}, {matchLabels: {a: b}}]}".to_owned(),
            "spec.serviceSelectors[1]",
            "duplicate",
        ),
        (
            Kind::L2Advertisement,
            "spec: {preferredNodeSelectors: [{weight: 101, preference: {}}]}".to_owned(),
            "spec.preferredNodeSelectors[0].weight",
            "value",
        ),
        (Kind::BgpAdvertisement, "spec: {aggregationLength: 33}".to_owned(), "spec.aggregationLength", "value"),
        (
            Kind::BgpAdvertisement,
            "spec: {aggregationLength: 24, serviceSelectors: [{}]}".to_owned(),
            "spec.aggregationLength",
            "aggregation",
        ),
        (Kind::BgpAdvertisement, "spec: {communities: ['1:99999']}".to_owned(), "spec.communities[0]", "community"),
        (Kind::BgpAdvertisement, "spec: {communities: [a, a]}".to_owned(), "spec.communities[1]", "duplicate"),
        (Kind::BfdProfile, "spec: {detectMultiplier: 1}".to_owned(), "spec.detectMultiplier", "value"),
        (Kind::Community, "spec: {communities: [{value: '1:1'}]}".to_owned(), "spec.communities[0].name", "missing"),
        (Kind::BgpPeer, format!("spec: {{myASN: 0, {good}}}"), "spec.myASN", "value"),
        (Kind::BgpPeer, peer("peerAddress: 10.0.0.1"), "spec", "missing"),
        (Kind::BgpPeer, peer("peerASN: 2"), "spec", "missing"),
        (Kind::BgpPeer, peer(&format!("{good}, interface: eth0")), "spec", "exclusive"),
        (Kind::BgpPeer, peer(&format!("{good}, dynamicASN: internal")), "spec", "exclusive"),
        (Kind::BgpPeer, peer("dynamicASN: any, peerAddress: 10.0.0.1"), "spec.dynamicASN", "value"),
        (Kind::BgpPeer, peer("peerASN: 2, peerAddress: 1.1.1"), "spec.peerAddress", "address"),
        (Kind::BgpPeer, peer(&format!("{good}, peerPort: 65536")), "spec.peerPort", "value"),
        (Kind::BgpPeer, peer(&format!("{good}, routerID: x")), "spec.routerID", "address"),
        (Kind::BgpPeer, peer(&format!("{good}, holdTime: soon")), "spec.holdTime", "time"),
        (Kind::BgpPeer, peer(&format!("{good}, holdTime: 2s")), "spec.holdTime", "time"),
        (Kind::BgpPeer, peer(&format!("{good}, holdTime: -9s")), "spec.holdTime", "time"),
        (Kind::BgpPeer, peer(&format!("{good}, holdTime: 9s, keepaliveTime: 10s")), "spec.keepaliveTime", "time"),
        (Kind::BgpPeer, peer(&format!("{good}, connectTime: 1500ms")), "spec.connectTime", "time"),
        (
            Kind::BgpPeer,
            peer("peerASN: 1, peerAddress: 10.0.0.1, ebgpMultiHop: true"),
            "spec.ebgpMultiHop",
            "exclusive",
        ),
        (Kind::BgpPeer, peer(&format!("{good}, password: a, passwordSecret: {{name: b}}")), "spec", "exclusive"),
        (Kind::BgpPeer, peer(&format!("{good}, password: \"a\\nb\"")), "spec.password", "value"),
    ] {
        let (id, source) = object(kind, "x", &rest);
        let faults: Vec<_> = source.faults().iter().map(|fault| (fault.field.as_str(), fault.reason.label())).collect();
        assert_eq!(faults, [(field, label)], "{rest}");
        let mut sources = Sources::default();
        sources.set(id, Some(source));
        let problem = &sources.merge().problems[0];
        assert!(!problem.is_transient() && !problem.to_string().is_empty());
        let said = !problem.fault.reason.next_step().is_empty() || matches!(problem.fault.reason, Reason::Range(_));
        assert!(said, "{problem} has a next step");
    }
}
