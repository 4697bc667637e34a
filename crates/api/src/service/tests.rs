use super::*;
use herald_core::reason::Reason;

const BASE: &str = "
metadata: {name: web, namespace: shop, creationTimestamp: '2026-01-02T03:04:05Z'}
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.5
  clusterIPs: [10.0.0.5]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports: [{port: 80}, {port: 53, protocol: UDP}]
  selector: {b: two, a: one}
";

fn object(yaml: &str) -> core::Service {
    serde_saphyr::from_str(yaml).unwrap()
}

fn service(yaml: &str) -> Service {
    from_object(&object(yaml), None).unwrap()
}

fn annotated(annotations: &str, spec: &str) -> Service {
    service(&format!(
        "metadata: {{name: web, namespace: shop, annotations: {{{annotations}}}}}\nspec: {{type: LoadBalancer{spec}}}\n"
    ))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn plain_service() {
    let service = service(BASE);
    assert_eq!(service.key, ServiceKey::new("shop", "web"));
    assert_eq!(service.created, 1_767_323_045);
    assert!(service.is_load_balancer);
    assert_eq!(service.cluster_families, [Family::V4].into());
    assert_eq!(service.family_policy, FamilyPolicy::SingleStack);
    assert_eq!(service.primary_family, Family::V4);
    assert_eq!(service.request, Ok(Request::default()));
    assert_eq!(service.selector, "a=one,b=two");
    assert_eq!(
        service.ports,
        Set::from([Port { protocol: Protocol::Tcp, number: 80 }, Port { protocol: Protocol::Udp, number: 53 }])
    );
    assert_eq!((service.ingress.len(), service.ingress_has_other, service.allocated_from), (0, false, None));
}

#[test]
fn class_decides_whose_it_is() {
    let classy = object("metadata: {name: a, namespace: b}\nspec: {type: LoadBalancer, loadBalancerClass: x/y}\n");
    let plain = object(BASE);
    assert!(from_object(&classy, None).is_none());
    assert!(from_object(&classy, Some("x/z")).is_none());
    assert!(from_object(&classy, Some("x/y")).is_some());
    assert!(from_object(&plain, Some("x/y")).is_none());
}

#[test]
fn other_types_are_ours_only_to_clean_up() {
    let clean = object("metadata: {name: a, namespace: b}\nspec: {type: ClusterIP}\n");
    assert!(from_object(&clean, None).is_none());
    let marked = object(
        "metadata: {name: a, namespace: b, annotations: {metallb.io/ip-allocated-from-pool: p}}\nspec: {type: ClusterIP}\n",
    );
    for class in [None, Some("x/y")] {
        let service = from_object(&marked, class).unwrap();
        assert!(!service.is_load_balancer);
        assert_eq!(service.allocated_from, Some(PoolName::new("p")));
    }
    let left = object(
        "metadata: {name: a, namespace: b}\nspec: {type: NodePort}\nstatus: {loadBalancer: {ingress: [{ip: 10.9.9.9}]}}\n",
    );
    assert!(from_object(&left, None).is_some());
    assert!(from_object(&left, Some("x/y")).is_none());
}

#[test]
fn families_come_from_cluster_ips() {
    let families = |spec: &str| {
        let service = annotated("", spec);
        (service.cluster_families.into_iter().collect::<Vec<_>>(), service.primary_family)
    };
    assert_eq!(
        families(", clusterIPs: ['fd00::1', 10.0.0.1], ipFamilies: [IPv6, IPv4]"),
        (vec![Family::V4, Family::V6], Family::V6)
    );
    assert_eq!(families(", clusterIP: 'fd00::1'"), (vec![Family::V6], Family::V6));
    assert_eq!(families(", clusterIP: None, clusterIPs: [None]"), (vec![], Family::V4));
    assert_eq!(families(", clusterIP: ''"), (vec![], Family::V4));
}

#[test]
fn policies() {
    let service = annotated("", ", ipFamilyPolicy: RequireDualStack, externalTrafficPolicy: Local");
    assert_eq!(service.family_policy, FamilyPolicy::RequireDualStack);
    assert_eq!(service.traffic_policy, TrafficPolicy::Local);
    assert_eq!(annotated("", ", ipFamilyPolicy: PreferDualStack").family_policy, FamilyPolicy::PreferDualStack);
}

#[test]
fn requests_under_both_prefixes_sorted_v4_v6() {
    let service = annotated(
        "metallb.universe.tf/loadBalancerIPs: 'fd00::7 , 192.0.2.7', metallb.io/address-pool: gold, metallb.io/allow-shared-ip: k",
        "",
    );
    assert_eq!(
        service.request,
        Ok(Request { addresses: vec![ip("192.0.2.7"), ip("fd00::7")], pool: Some(PoolName::new("gold")) })
    );
    assert_eq!(service.sharing_key.as_deref(), Some("k"));
    assert_eq!(annotated("", ", loadBalancerIP: 192.0.2.9").request.unwrap().addresses, [ip("192.0.2.9")]);
}

#[test]
fn empty_annotations_ask_for_nothing() {
    let service = annotated(
        "metallb.io/loadBalancerIPs: '', metallb.io/address-pool: '', metallb.io/allow-shared-ip: '', metallb.io/ip-allocated-from-pool: ''",
        "",
    );
    assert_eq!(service.request, Ok(Request::default()));
    assert_eq!(service.sharing_key, None);
    assert_eq!(service.allocated_from, None);
}

#[test]
fn requests_that_cannot_be_understood() {
    let refused = |annotations: &str, spec: &str| annotated(annotations, spec).request.unwrap_err().advice();
    assert_eq!(
        refused("metallb.io/loadBalancerIPs: 192.0.2.300", ""),
        "\"192.0.2.300\" in metallb.io/loadBalancerIPs is not an IP address: correct or remove it"
    );
    assert_eq!(
        refused("", ", loadBalancerIP: mail"),
        "\"mail\" in spec.loadBalancerIP is not an IP address: correct or remove it"
    );
    assert_eq!(
        refused("metallb.universe.tf/loadBalancerIPs: 192.0.2.7", ", loadBalancerIP: 192.0.2.7"),
        "both spec.loadBalancerIP and annotation metallb.universe.tf/loadBalancerIPs are set: keep one of them"
    );
    assert_eq!(
        refused("metallb.io/loadBalancerIPs: '192.0.2.7,192.0.2.8'", ""),
        "metallb.io/loadBalancerIPs asks for 2 IPv4 addresses: ask for at most one of each family"
    );
}

#[test]
fn status_as_it_stands() {
    let with = |ingress: &str| {
        service(&format!(
            "metadata: {{name: a, namespace: b, annotations: {{metallb.universe.tf/ip-allocated-from-pool: p}}}}\nspec: {{type: LoadBalancer}}\nstatus: {{loadBalancer: {{ingress: [{ingress}]}}}}\n"
        ))
    };
    let dual = with("{ip: 'fd00::1', ipMode: VIP}, {ip: 192.0.2.1}");
    assert_eq!((dual.ingress, dual.ingress_has_other), (vec![ip("fd00::1"), ip("192.0.2.1")], false));
    assert_eq!(dual.allocated_from, Some(PoolName::new("p")));
    let named = with("{hostname: lb.example}, {ip: 192.0.2.1}");
    assert_eq!((named.ingress, named.ingress_has_other), (vec![ip("192.0.2.1")], true));
    assert!(with("{ip: nonsense}").ingress_has_other);
}

#[test]
fn patch_that_assigns() {
    let assignment = Assignment { pool: PoolName::new("gold"), addresses: vec![ip("192.0.2.1"), ip("fd00::1")] };
    assert_eq!(
        status_patch(Some(&assignment), "77"),
        json!({
            "metadata": {"resourceVersion": "77", "annotations": {
                "metallb.io/ip-allocated-from-pool": "gold", "metallb.universe.tf/ip-allocated-from-pool": null}},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "fd00::1"}]}}
        })
    );
}

#[test]
fn patch_that_clears() {
    assert_eq!(
        status_patch(None, "78"),
        json!({
            "metadata": {"resourceVersion": "78", "annotations": {
                "metallb.io/ip-allocated-from-pool": null, "metallb.universe.tf/ip-allocated-from-pool": null}},
            "status": {"loadBalancer": {"ingress": null}}
        })
    );
}

#[test]
fn a_move_has_a_node_and_an_end() {
    let moved = |annotations: &str| {
        super::moved(
            &serde_saphyr::from_str(&format!("metadata: {{name: a, annotations: {{{annotations}}}}}\n")).unwrap(),
        )
    };
    let until = "herald.io/move-until: '1970-01-01T00:01:00Z'";
    let wanted = Some(Moved { to: "w2".into(), until: 60 });
    assert_eq!(moved(&format!("herald.io/move-to: w2, {until}")), Ok(wanted));
    assert_eq!((moved(until), moved("a: b")), (Ok(None), Ok(None)));
    for bad in ["herald.io/move-to: w2", "herald.io/move-to: w2, herald.io/move-until: soon"] {
        assert!(moved(bad).unwrap_err().contains("herald.io/move-until"), "{bad}");
    }
}
