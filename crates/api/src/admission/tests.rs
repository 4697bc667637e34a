use super::*;
use proptest::prelude::*;
use serde_json::json;

const NAMESPACE: &str = "metallb-system";

fn version(kind: &str) -> &'static str {
    if kind == "BGPPeer" { "metallb.io/v1beta2" } else { "metallb.io/v1beta1" }
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": version(kind), "kind": kind, "metadata": { "name": name, "namespace": NAMESPACE }, "spec": spec })
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    object("IPAddressPool", name, json!({ "addresses": addresses }))
}

fn peer(name: &str, more: Value) -> Value {
    let mut spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1" });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object("BGPPeer", name, spec)
}

fn ask(operation: &str, object: &Value) -> Request {
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": { "group": group, "version": version, "kind": object["kind"] },
            "resource": { "group": group, "version": version, "resource": "whatever" },
            "operation": operation,
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "object": if operation == "DELETE" { Value::Null } else { object.clone() },
            "oldObject": if operation == "CREATE" { Value::Null } else { object.clone() },
            "dryRun": true,
            "userInfo": { "username": "admin" },
        },
    });
    read(review.to_string().as_bytes()).unwrap()
}

/// A configuration of these objects, which stand as they are: the webhook was not asked.
fn known(objects: &[Value]) -> Sources {
    let mut sources = Sources::default();
    for object in objects {
        let Some(Document::Object { id, source, .. }) = manifest::one(object.as_object().unwrap().clone()) else {
            panic!("{object}")
        };
        sources.set(id, Some(*source));
        sources.merge();
    }
    sources
}

fn answer(objects: &[Value], operation: &str, object: &Value) -> Answer {
    review(&ask(operation, object), Some(known(objects)), NAMESPACE)
}

fn refused(objects: &[Value], operation: &str, object: &Value) -> String {
    answer(objects, operation, object).refusal.unwrap_or_else(|| panic!("{object} was allowed"))
}

fn allowed(objects: &[Value], operation: &str, object: &Value) -> Vec<String> {
    let Answer { refusal, warnings } = answer(objects, operation, object);
    assert_eq!(refusal, None, "{object}");
    warnings
}

#[test]
fn what_metallb_refuses_is_refused_with_its_words() {
    let advertisement = |spec| object("BGPAdvertisement", "a", spec);
    let community = |name: &str, value: &str| {
        object("Community", name, json!({ "communities": [{ "name": "alias", "value": value }] }))
    };
    let mut elsewhere = peer("p", json!({ "peerAddress": "1.1.1" }));
    elsewhere["metadata"]["namespace"] = json!("default");
    let service = json!([{ "matchLabels": { "a": "b" } }]);
    let cases: [(&[Value], Value, &str); 9] = [
        (&[], elsewhere, "resource must be created in metallb-system namespace"),
        (&[pool("a", &["1.1.1.0/28"])], pool("b", &["1.1.1.8-1.1.1.20"]), "overlaps with already defined CIDR"),
        (
            &[pool("a", &["1.1.1.0/28"])],
            advertisement(json!({ "aggregationLength": 26 })),
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 1.1.1.0/28",
        ),
        (
            &[],
            advertisement(json!({ "aggregationLength": 24, "serviceSelectors": service })),
            "serviceSelectors and aggregationLength are mutually exclusive",
        ),
        (&[], peer("p", json!({ "peerAddress": "1.1.1" })), "invalid BGPPeer address"),
        (&[], community("c", "99999999:1"), "invalid community value: invalid section"),
        (&[], community("c", "lar:123:9999:123"), "expected community to be of format large"),
        (&[community("first", "1:1")], community("second", "1:2"), "duplicate definition of community"),
        (&[], pool("p", &["192.0.2.1"]), "parsing address pool p"),
    ];
    for (known, object, text) in cases {
        let said = refused(known, "CREATE", &object);
        assert!(said.contains(text), "{text:?} is not in {said:?}");
    }
    let said =
        refused(&[pool("a", &["1.1.1.0/28"]), pool("b", &["1.1.2.0/28"])], "UPDATE", &pool("b", &["1.1.1.0/30"]));
    assert!(said.contains("overlaps with already defined CIDR"), "{said}");
}

#[test]
fn what_is_right_is_allowed_without_a_word() {
    let pools = [pool("a", &["1.1.1.0/28"])];
    assert_eq!(allowed(&pools, "CREATE", &pool("b", &["1.1.2.0/28"])), [""; 0]);
    // Its own addresses are no overlap.
    assert_eq!(allowed(&pools, "UPDATE", &pool("a", &["1.1.1.0/27"])), [""; 0]);
    assert_eq!(allowed(&pools, "DELETE", &pool("a", &[])), [""; 0]);
    assert_eq!(allowed(&[], "CREATE", &object("L2Advertisement", "all", json!({}))), [""; 0]);
    let mut elsewhere = pool("p", &["nonsense"]);
    elsewhere["metadata"]["namespace"] = json!("default");
    assert_eq!(allowed(&[], "UPDATE", &elsewhere), [""; 0], "nobody reads it there");
}

#[test]
fn what_may_come_later_is_a_warning() {
    let warnings = allowed(&[], "CREATE", &peer("p", json!({ "bfdProfile": "later", "disableMP": true })));
    assert_eq!(
        warnings,
        [
            "spec.disableMP is deprecated and does nothing; use spec.dualStackAddressFamily",
            "peer p referencing non existing bfd profile later"
        ]
    );
    let advertisement = object("BGPAdvertisement", "a", json!({ "communities": ["alias"] }));
    let warnings = allowed(&[], "CREATE", &advertisement);
    assert_eq!(warnings, ["invalid community format: alias invalid community \"alias\" in BGP advertisement"]);
    let newer = object("IPAddressPool", "p", json!({ "addresses": ["1.1.1.0/28"], "colour": "red" }));
    assert_eq!(allowed(&[], "CREATE", &newer), ["Herald does not know the field spec.colour"]);
}

/// The way from the ConfigMap to custom resources: these first.
#[test]
fn what_is_still_in_the_config_map_waits_with_a_warning() {
    let text = "address-pools: [{name: a, protocol: layer2, addresses: [1.1.1.0/28]}]\nbgp-communities: {c: '1:1'}";
    let config_map: k8s_openapi::api::core::v1::ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "config" }, "data": { "config": text } })).unwrap();
    let mut sources = Sources::default();
    sources.set(ObjectId::new(Kind::ConfigMap, "config"), Some(Source::from(&config_map)));
    sources.merge();
    let community = object("Community", "c", json!({ "communities": [{ "name": "c", "value": "1:1" }] }));
    for object in [pool("a", &["1.1.1.0/28"]), pool("b", &["1.1.1.8/32"]), community] {
        let Answer { refusal, warnings } = review(&ask("CREATE", &object), Some(sources.clone()), NAMESPACE);
        assert_eq!(refusal, None);
        assert!(warnings.iter().any(|warning| warning.starts_with("it waits until the ConfigMap")), "{warnings:?}");
    }
}

#[test]
fn an_old_mistake_blocks_nothing() {
    let mistakes = [pool("a", &["1.1.1.0/28"]), pool("clash", &["1.1.1.0/30"])];
    assert_eq!(allowed(&mistakes, "CREATE", &pool("b", &["1.1.2.0/28"])), [""; 0]);
    // An edit of the wrong one that changes nothing about it, and its repair.
    let mut labelled = pool("clash", &["1.1.1.0/30"]);
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    let warnings = allowed(&mistakes, "UPDATE", &labelled);
    assert!(matches!(&*warnings, [one] if one.starts_with("as before: CIDR \"1.1.1.0/30\"")), "{warnings:?}");
    assert_eq!(allowed(&mistakes, "UPDATE", &pool("clash", &["1.1.3.0/30"])), [""; 0]);
    // Another mistake instead.
    assert!(refused(&mistakes, "UPDATE", &pool("clash", &["nonsense"])).contains("parsing address pool clash"));
    // The other one of the two changes, and the clash is told in other words.
    assert_eq!(allowed(&mistakes, "UPDATE", &pool("a", &["1.1.1.0/29"])), [""; 0]);
    // A finalizer is taken off.
    let mut dying = pool("clash", &["nonsense"]);
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(allowed(&mistakes, "UPDATE", &dying), [""; 0]);
}

#[test]
fn what_breaks_another_object_is_refused_with_its_name() {
    let known = [pool("a", &["1.1.1.0/24"]), object("BGPAdvertisement", "wide", json!({ "aggregationLength": 24 }))];
    let said = refused(&known, "UPDATE", &pool("a", &["1.1.1.0/28"]));
    assert!(said.starts_with("BGPAdvertisement/wide: invalid aggregation length 24"), "{said}");
}

#[test]
fn a_profile_is_kept_while_a_peer_uses_it() {
    let profile = object("BFDProfile", "fast", json!({}));
    let known = [profile.clone(), peer("router", json!({ "bfdProfile": "fast" }))];
    let said = refused(&known, "DELETE", &profile);
    assert!(said.contains("failed to delete BFDProfile") && said.contains("router"), "{said}");
    allowed(&known[..1], "DELETE", &profile);
    let stranger = object("BFDProfile", "other", json!({}));
    allowed(&known, "DELETE", &stranger);
}

#[test]
fn before_anything_is_known_nothing_is_refused_but_the_namespace() {
    let Answer { refusal, warnings } = review(&ask("CREATE", &pool("p", &["nonsense"])), None, NAMESPACE);
    assert_eq!(refusal, None);
    assert!(matches!(&*warnings, [one] if one.contains("not read its configuration yet")), "{warnings:?}");
    let mut elsewhere = pool("p", &["1.1.1.0/28"]);
    elsewhere["metadata"]["namespace"] = json!("default");
    assert!(review(&ask("CREATE", &elsewhere), None, NAMESPACE).refusal.is_some());
    assert_eq!(review(&ask("DELETE", &object("BFDProfile", "b", json!({}))), None, NAMESPACE), Answer::default());
}

#[test]
fn answers_are_reviews() {
    let review = |answer: &Answer| -> Value { serde_json::from_slice(&answer.to_review("u-1").unwrap()).unwrap() };
    let refused = review(&Answer { refusal: Some("no".to_owned()), warnings: vec!["hm".to_owned()] });
    assert_eq!(
        refused,
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": "u-1", "allowed": false, "status": { "code": 403, "reason": "Forbidden", "message": "no" }, "warnings": ["hm"],
        }})
    );
    assert_eq!(review(&Answer::default())["response"], json!({ "uid": "u-1", "allowed": true }));
}

#[test]
fn hostile_bytes_are_no_question() {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"apiVersion\": \"{}\"}}", "x".repeat(10_000));
    for bytes in ["", "null", "{}", "\u{0}", &deep, &long, r#"{"apiVersion":"v1","kind":"Pod","request":{}}"#] {
        assert!(read(bytes.as_bytes()).is_err(), "{:.40}", bytes);
    }
    let other = r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u","kind":{"kind":"X"},"operation":"CREATE"}}"#;
    assert!(matches!(read(other.as_bytes()), Err(Unreadable::Other(..))));
    // Of no kind that is read.
    let request = read(other.replace("v1beta1", "v1").as_bytes()).unwrap();
    assert_eq!(review(&request, None, NAMESPACE), Answer::default());
    let mut strange = pool("p", &["1.1.1.0/28"]);
    strange["metadata"] = json!({ "name": 7, "namespace": NAMESPACE });
    let request = serde_json::to_value(&strange).unwrap();
    let bytes = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": { "group": "metallb.io", "version": "v1beta1", "kind": "IPAddressPool" },
        "operation": "CREATE", "namespace": NAMESPACE, "object": request,
    }});
    let request = read(bytes.to_string().as_bytes()).unwrap();
    assert_eq!(review(&request, Some(Sources::default()), NAMESPACE).refusal, None);
}

/// Any JSON, with a taste for names of fields that are read.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z0-9:./-]{0,20}", Just("10.0.0.0/8".to_owned()), any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let name = prop_oneof![
        "addresses|communities|name|value|myASN|peerASN|peerAddress|nodeSelectors|matchLabels|holdTime",
        any::<String>()
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let object = proptest::collection::btree_map(name.clone(), inner.clone(), 0..4);
        prop_oneof![proptest::collection::vec(inner, 0..4).prop_map(Value::from), object.prop_map(|map| json!(map))]
    })
}

proptest! {
    /// Strangers can ask: whatever they send there is an answer, and it is one that the API server reads.
    #[test]
    fn every_object_has_an_answer(spec in any_json(), metadata in any_json(), kind in 0_usize..6, update: bool) {
        let kind = ["IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"][kind];
        let mut strange = object(kind, "o", spec);
        strange["metadata"]["labels"] = metadata;
        let known = known(&[pool("p", &["10.0.0.0/24"]), peer("r", json!({}))]);
        let answer = review(&ask(if update { "UPDATE" } else { "CREATE" }, &strange), Some(known), NAMESPACE);
        let review: Value = serde_json::from_slice(&answer.to_review("u-1").unwrap()).unwrap();
        prop_assert_eq!(&review["response"]["allowed"], &json!(answer.refusal.is_none()));
        prop_assert!(answer.warnings.iter().all(|warning| warning.chars().count() <= 256 && !warning.contains('\n')));
    }
}
