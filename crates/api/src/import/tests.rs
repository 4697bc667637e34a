use super::*;
use crate::sources::Kind;
use herald_core::{
    PoolName,
    config::{Config, L2Advertisement, PoolChoice},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn one(text: &str) -> Result<Import, ImportError> {
    import(&[("in".to_owned(), text.to_owned())], &Options { namespace: None, config: "config".to_owned() })
}

fn notes(import: &Import) -> Vec<String> {
    import.notes.iter().map(ToString::to_string).collect()
}

fn titles(import: &Import) -> Vec<String> {
    let title = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
    import.objects.iter().map(title).collect()
}

/// What is in force when these objects are all there is.
fn in_force(import: &Import) -> (Config, Vec<String>) {
    let mut sources = Sources::default();
    for document in manifest::read(&import.to_yaml(), "config") {
        match document {
            Document::Object { id, source, faults, .. } => {
                assert_eq!(faults, [], "{id} has no unknown fields");
                sources.set(id, Some(*source));
            }
            other => panic!("{other:?}"),
        }
    }
    let outcome = sources.merge();
    (outcome.config.clone(), outcome.problems.iter().map(ToString::to_string).collect())
}

const FULL: &str = "
peers:
- my-asn: 64512
  peer-asn: 64513
  peer-address: 10.0.0.1
  peer-port: 1179
  router-id: 10.0.0.9
  password: secret
  bfd-profile: Fast_One
  node-selectors:
  - match-labels: {rack: frontend}
    match-expressions: [{key: site, operator: In, values: [b, a, b]}]
  - match-labels: {rack: frontend}
    match-expressions: [{key: site, operator: In, values: [a, b]}]
- my-asn: 64512
  peer-asn: 64514
  peer-address: 10.0.0.2
  hold-time: 9500ms
  keepalive-time: 3s
bgp-communities: {no-advertise: '65535:65282', '007:1': '7:2'}
bfd-profiles: [{name: Fast_One, receive-interval: 100, echo-mode: true}]
address-pools:
- name: 1st.lan
  protocol: layer2
  auto-assign: false
  addresses: [10.0.1.0/24, '10.0.2.1 - 10.0.2.9']
- name: My_Pool
  protocol: bgp
  avoid-buggy-ips: true
  addresses: [10.0.3.0/24]
  bgp-advertisements:
  - aggregation-length: 24
    localpref: 100
    communities: [no-advertise, '64512:1', '007:1']
  - communities: [no-advertise]
- name: my-pool
  protocol: bgp
  addresses: [10.0.4.0/24]
";

#[test]
fn a_whole_configuration() {
    let result = one(FULL).unwrap();
    assert_eq!(
        titles(&result),
        [
            "BFDProfile fast-one",
            "Community communities",
            "BGPPeer peer1",
            "BGPPeer peer2",
            "IPAddressPool 1st.lan",
            "L2Advertisement 1st.lan",
            "IPAddressPool my-pool",
            "BGPAdvertisement my-pool",
            "BGPAdvertisement my-pool-2",
            "IPAddressPool my-pool-2",
            "BGPAdvertisement my-pool-2-2",
        ]
    );
    assert_eq!(
        notes(&result),
        [
            "BFD profile \"Fast_One\" is called fast-one now",
            "community name \"007:1\" is not carried over: it would be read as a number; its value stands where it was used",
            "BGPPeer peer1 has its password in clear: better put it into a Secret of type kubernetes.io/basic-auth and name that in passwordSecret",
            "pool \"My_Pool\" is called my-pool now: Services that name it by annotation address-pool must name the new one",
            "pool \"my-pool\" is called my-pool-2 now: Services that name it by annotation address-pool must name the new one",
        ]
    );
    assert!(!result.notes.iter().any(Note::is_loss));
    let (config, problems) = in_force(&result);
    assert_eq!(problems, [""; 0]);
    let was = config_map::parse(FULL).unwrap().config;
    let renamed = [("1st.lan", "1st.lan"), ("My_Pool", "my-pool"), ("my-pool", "my-pool-2")];
    let pools = renamed.map(|(from, to)| (PoolName::from(to), was.pools[&PoolName::from(from)].clone()));
    assert_eq!(config.pools, pools.into());
    assert_eq!(config.bfd_profiles["fast-one"], was.bfd_profiles["Fast_One"]);
    let peer = &config.bgp_peers["peer2"];
    assert_eq!(peer.hold_time, was.bgp_peers["peer2"].hold_time, "cut to whole seconds");
    assert!(result.objects.iter().all(|object| object["metadata"]["namespace"] == "metallb-system"));
}

#[test]
fn older_and_misspelt_keys_are_told() {
    let result = one("address-pools: [{name: p, protocol: arp, cidr: [10.0.0.0/24], arp-network: 10.0.0.0/8, autoAssign: false}]\n\
                      peer-autodiscovery: {from-labels: {}}\npeers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, bfdProfile: b}]\n\
                      bfd-profiles: [{name: b}]\n")
    .unwrap();
    assert_eq!(
        notes(&result),
        [
            "address-pools: p: key \"arp-network\" is not carried over: no such key",
            "address-pools: p: key \"autoAssign\" is read as auto-assign",
            "address-pools: p: key \"cidr\" is read as addresses",
            "address-pools: p: protocol \"arp\" is read as layer2",
            "configuration: key \"peer-autodiscovery\" is not carried over: no such key, and no custom resource says it; write the peers out",
            "peers: 10.0.0.1: key \"bfdProfile\" is read as bfd-profile",
        ]
    );
    assert!(result.notes.iter().any(Note::is_loss));
    let (config, problems) = in_force(&result);
    assert_eq!(problems, [""; 0]);
    assert!(!config.pools[&"p".into()].auto_assign);
}

#[test]
fn what_was_never_in_force_is_refused() {
    let error = one("address-pools:\n- name: p\n  protocol: layer2\n  addresses: [10.0.0.9-10.0.0.1]\n").unwrap_err();
    assert!(error.to_string().starts_with("in: address-pools: pool p (line 4): "), "{error}");
    assert_eq!(one("").unwrap_err(), ImportError::Nothing);
    assert!(one("- a list\n").unwrap_err().to_string().starts_with("in: document at line 1: "));
    assert!(one("{a: [").unwrap_err().to_string().starts_with("in: document at line 1: "));
}

#[test]
fn what_custom_resources_cannot_say_is_told() {
    let result = one("peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, peer-port: 20000}]\n").unwrap();
    assert_eq!((titles(&result).len(), result.notes.len()), (0, 1));
    // Two advertisements that MetalLB 0.12 took and custom resources do not.
    let result = one("address-pools: [{name: p, protocol: bgp, addresses: [10.0.0.0/24], bgp-advertisements: [{localpref: 1}, {localpref: 2}]}]").unwrap();
    assert!(result.notes.iter().any(|note| matches!(note, Note::Refused(_)) && note.is_loss()), "{:?}", notes(&result));
}

/// `kubectl get` of everything: the objects as their owner wrote them.
#[test]
fn dumps() {
    let dump = "apiVersion: v1\nkind: List\nitems:\n\
                - {apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: lb}, data: {ca.crt: x}}\n\
                - {apiVersion: v1, kind: ConfigMap, metadata: {name: config, namespace: lb, uid: u}, data: {config: 'address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24]}]'}}\n\
                - {apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: lb}, data: {config: 'x: y'}}\n\
                - apiVersion: metallb.io/v1beta1\n  kind: IPAddressPool\n  metadata:\n    name: b\n    namespace: lb\n    uid: u\n    resourceVersion: '7'\n    generation: 1\n    \
                labels: {zone: z}\n    managedFields: []\n    annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}\n  \
                spec: {addresses: [10.0.1.0/24], autoAssign: true}\n  status: {assignedIPv4: 1}\n\
                - {apiVersion: metallb.io/v1beta1, kind: AddressPool, metadata: {name: c, namespace: lb}, spec: {protocol: layer2, addresses: [10.0.2.0/24], autoAssign: false, avoidBuggyIPs: true}}\n\
                - {apiVersion: metallb.io/v1beta1, kind: ServiceL2Status, metadata: {name: s, namespace: lb}}\n";
    let result = one(dump).unwrap();
    assert_eq!(
        titles(&result),
        ["IPAddressPool a", "L2Advertisement a", "IPAddressPool c", "L2Advertisement c", "IPAddressPool b"]
    );
    let kept = serde_json::json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "b", "namespace": "lb", "labels": {"zone": "z"}},
        "spec": {"addresses": ["10.0.1.0/24"], "autoAssign": true},
    });
    assert_eq!(result.objects.last(), Some(&kept));
    assert!(result.objects.iter().all(|object| object["metadata"]["namespace"] == "lb"));
    assert_eq!(
        notes(&result),
        [
            "ConfigMap/kube-root-ca.crt is not carried over: the configuration is in the ConfigMap of another name (option --config)",
            "AddressPool/c becomes an IPAddressPool with its advertisements",
            "ServiceL2Status/s is not carried over: Herald writes objects of this kind itself",
            "in: ConfigMap/other is not carried over: the configuration is in the ConfigMap of another name (option --config)",
            "address-pools: c: key \"autoAssign\" is read as auto-assign",
            "address-pools: c: key \"avoidBuggyIPs\" is read as avoid-buggy-ips",
        ]
    );
    let (config, problems) = in_force(&result);
    assert_eq!((config.pools.len(), problems), (3, Vec::new()));
    assert_eq!(
        one(&dump.replace("name: config,", "name: mine,")).unwrap_err(),
        ImportError::Several(2, "config".to_owned())
    );
    // Applied twice, the second time to its own result: nothing more happens.
    let again = one(&result.to_yaml()).unwrap();
    assert_eq!((&again.objects, notes(&again)), (&result.objects, Vec::new()));
}

#[test]
fn values_of_the_chart_and_another_namespace() {
    let text =
        "configInline:\n  address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24]}]\ncontroller: {}\n";
    let options = Options { namespace: Some("lb".to_owned()), config: "config".to_owned() };
    let result = import(&[("values.yaml".to_owned(), text.to_owned())], &options).unwrap();
    assert_eq!((result.objects[0]["metadata"]["namespace"].as_str(), notes(&result)), (Some("lb"), Vec::new()));
    assert_eq!(one("address-pools: []\n").unwrap(), Import::default(), "no pools are a configuration, too");
}

fn pools() -> impl Strategy<Value = String> {
    let pool = |index: u8| {
        let name = prop_oneof![
            Just(format!("p{index}")),
            Just(format!("P_{index}")),
            Just(format!("{index}.x")),
            Just(format!("p-{index}-2"))
        ];
        let addresses = prop_oneof![
            Just(format!("[10.{index}.0.0/24]")),
            Just(format!("[10.{index}.1.5-10.{index}.1.77, 10.{index}.0.0/28]")),
            Just(format!("['fd00:{index}::/64', 10.{index}.0.0/26]")),
        ];
        let length = prop_oneof![Just(None), (28_u8..=32).prop_map(Some)];
        let advertisement = (length, any::<bool>(), 0_u8..3).prop_map(|(length, named, pref)| {
            let length = length.map(|length| format!("aggregation-length: {length}, ")).unwrap_or_default();
            let communities = if named { "[alias, '64512:7']" } else { "['64512:8']" };
            format!("{{{length}localpref: {pref}, communities: {communities}}}")
        });
        let protocol = prop_oneof![
            Just("protocol: layer2".to_owned()),
            Just("protocol: bgp".to_owned()),
            advertisement.prop_map(|text| format!("protocol: bgp, bgp-advertisements: [{text}]")),
        ];
        let flag = || prop_oneof![Just(""), Just("false"), Just("true")];
        (name, addresses, protocol, flag(), flag()).prop_map(|(name, addresses, protocol, auto, buggy)| {
            let auto = if auto.is_empty() { String::new() } else { format!(", auto-assign: {auto}") };
            let buggy = if buggy.is_empty() { String::new() } else { format!(", avoid-buggy-ips: {buggy}") };
            format!("{{name: {name}, addresses: {addresses}, {protocol}{auto}{buggy}}}")
        })
    };
    (pool(0), pool(1), pool(2), 0_usize..=3).prop_map(|(a, b, c, many)| {
        format!("address-pools: [{}]\n", [a, b, c].into_iter().take(many).collect::<Vec<_>>().join(", "))
    })
}

fn peers() -> impl Strategy<Value = String> {
    let peer = |index: u8| {
        let hold =
            prop_oneof![Just(""), Just("hold-time: 0s, "), Just("hold-time: 30s, "), Just("hold-time: 90500ms, ")];
        let port = prop_oneof![Just(""), Just("peer-port: 0, "), Just("peer-port: 1179, ")];
        let selectors = prop_oneof![
            Just(""),
            Just("node-selectors: [], "),
            Just("node-selectors: [{}], "),
            Just(
                "node-selectors: [{match-labels: {a: b}}, {match-expressions: [{key: c, operator: NotIn, values: [z, y]}]}], "
            ),
        ];
        (hold, port, selectors, any::<bool>()).prop_map(move |(hold, port, selectors, profile)| {
            let profile = if profile { "bfd-profile: fast, " } else { "" };
            format!("{{{hold}{port}{selectors}{profile}my-asn: 1, peer-asn: 2, peer-address: 10.255.0.{index}}}")
        })
    };
    (peer(1), peer(2)).prop_map(|(one, two)| format!("peers: [{one}, {two}]\n"))
}

proptest! {
    /// The same pools, announced in the same way, from the same peers: by the ConfigMap, and by the objects that come of it. Different are
    /// names that objects cannot have, and the keepalive time, which the ConfigMap leaves to follow from the hold time.
    #[test]
    fn the_configuration_stays_the_same(pools in pools(), peers in peers()) {
        let text = format!("{pools}{peers}bgp-communities: {{alias: '64512:9'}}\nbfd-profiles: [{{name: fast, detect-multiplier: 5}}]\n");
        let was = config_map::parse(&text).unwrap().config;
        let result = one(&text).unwrap();
        let (config, problems) = in_force(&result);
        prop_assert_eq!(problems, Vec::<String>::new());

        let names: BTreeMap<PoolName, PoolName> = was.pools.keys().map(|name| {
            let renamed = result.notes.iter().find_map(|note| match note {
                Note::Renamed { kind: "pool", from, to } if **from == *name.as_str() => Some(PoolName::new(to.as_str())),
                _ => None,
            });
            (name.clone(), renamed.unwrap_or_else(|| name.clone()))
        }).collect();
        let moved = |choice: &PoolChoice| PoolChoice {
            names: choice.names.iter().map(|name| names[name].clone()).collect(),
            selectors: choice.selectors.clone(),
        };
        let pools: BTreeMap<_, _> = was.pools.iter().map(|(name, pool)| (names[name].clone(), pool.clone())).collect();
        prop_assert_eq!(&config.pools, &pools);
        let layer2: Vec<_> = was.l2_advertisements.values().map(|it| L2Advertisement { pools: moved(&it.pools), ..it.clone() }).collect();
        let now: Vec<_> = config.l2_advertisements.values().cloned().collect();
        prop_assert!(layer2.len() == now.len() && layer2.iter().all(|it| now.contains(it)));
        let mut bgp: Vec<_> = was.bgp_advertisements.values().cloned().collect();
        bgp.iter_mut().for_each(|it| it.pools = moved(&it.pools));
        let now: Vec<_> = config.bgp_advertisements.values().cloned().collect();
        prop_assert!(bgp.len() == now.len() && bgp.iter().all(|it| now.contains(it)));
        prop_assert_eq!(&config.bfd_profiles, &was.bfd_profiles);
        let mut was = was.bgp_peers;
        was.values_mut().for_each(|peer| {
            peer.keepalive_time = peer.keepalive_time.or(peer.hold_time.map(|hold| hold / 3));
        });
        prop_assert_eq!(&config.bgp_peers, &was);
        prop_assert_eq!(one(&result.to_yaml()).unwrap().objects, result.objects);
    }
}

#[test]
fn every_kind_is_one_of_herald_s() {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    for object in one(FULL).unwrap().objects {
        assert!(kinds.contains(&object["kind"].as_str().unwrap()), "{object}");
    }
}
