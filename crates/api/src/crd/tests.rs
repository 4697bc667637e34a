use super::*;
use serde_json::Value;

fn schema<'a>(all: &'a [Value], plural: &str, version: usize) -> &'a Value {
    let crd = all.iter().find(|crd| crd["spec"]["names"]["plural"] == plural).unwrap();
    &crd["spec"]["versions"][version]["schema"]["openAPIV3Schema"]
}

#[test]
fn definitions_have_metallbs_names() {
    let all = definitions().unwrap();
    let names: Vec<&str> = all.iter().map(|crd| crd["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "bfdprofiles.metallb.io",
            "bgpadvertisements.metallb.io",
            "bgppeers.metallb.io",
            "communities.metallb.io",
            "configurationstates.metallb.io",
            "ipaddresspools.metallb.io",
            "l2advertisements.metallb.io",
            "servicebgpstatuses.metallb.io",
            "servicel2statuses.metallb.io",
        ]
    );
    for crd in &all {
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        for version in crd["spec"]["versions"].as_array().unwrap() {
            assert!(version["subresources"]["status"].is_object(), "{crd}");
            assert_eq!(version["served"], true);
        }
    }
    let versions = all[2]["spec"]["versions"].as_array().unwrap();
    let peers: Vec<_> =
        versions.iter().map(|version| (version["name"].as_str(), version["storage"].as_bool())).collect();
    assert_eq!(peers, [(Some("v1beta1"), Some(false)), (Some("v1beta2"), Some(true))]);
    assert_eq!(versions[0]["deprecated"], true);
}

#[test]
fn defaults_and_requirements_are_metallbs() {
    let all = definitions().unwrap();
    let pool = schema(&all, "ipaddresspools", 0);
    let spec = &pool["properties"]["spec"];
    assert_eq!(pool["required"], serde_json::json!(["spec"]));
    assert_eq!(spec["required"], serde_json::json!(["addresses"]));
    assert_eq!(spec["properties"]["autoAssign"]["default"], true);
    assert_eq!(spec["properties"]["avoidBuggyIPs"]["default"], false);
    let advertisement = schema(&all, "bgpadvertisements", 0);
    assert_eq!(advertisement["properties"]["spec"]["properties"]["aggregationLength"]["default"], 32);
    assert_eq!(advertisement["properties"]["spec"]["properties"]["aggregationLengthV6"]["default"], 128);
    assert!(advertisement.get("required").is_none(), "an advertisement of everything needs no spec");
    let peer = schema(&all, "bgppeers", 1);
    assert_eq!(peer["properties"]["spec"]["required"], serde_json::json!(["myASN"]));
    assert_eq!(peer["properties"]["spec"]["properties"]["peerPort"]["default"], 179);
    let state = schema(&all, "configurationstates", 0);
    let conditions = &state["properties"]["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
}

#[test]
fn no_schema_says_what_the_api_server_does_not_know() {
    fn walk(value: &Value, path: &str) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    assert!(key != "nullable" && key != "$ref" && key != "oneOf", "{path}.{key}");
                    if key == "format" && inner.is_string() {
                        assert!(matches!(inner.as_str(), Some("int32" | "int64" | "date-time")), "{path}: {inner}");
                    }
                    walk(inner, &format!("{path}.{key}"));
                }
            }
            Value::Array(all) => all.iter().for_each(|inner| walk(inner, path)),
            _ => {}
        }
    }
    for crd in definitions().unwrap() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            walk(&version["schema"], crd["metadata"]["name"].as_str().unwrap());
        }
    }
}

#[test]
fn an_object_without_spec_or_with_unknown_fields_is_read() {
    let object: Unread<L2Advertisement> =
        serde_saphyr::from_str("apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all}\n")
            .unwrap();
    assert_eq!(object.read().unwrap().spec, L2AdvertisementSpec::default());
    let object: Unread<IPAddressPool> =
        serde_saphyr::from_str("metadata: {name: p}\nspec: {addresses: [10.0.0.0/24], newField: {a: b}}\n").unwrap();
    assert_eq!(object.read().unwrap().spec.addresses, ["10.0.0.0/24"]);
}

#[test]
fn a_malformed_object_still_has_its_name() {
    let object: Unread<IPAddressPool> =
        serde_saphyr::from_str("metadata: {name: p}\nspec: {addresses: 10.0.0.0/24}\n").unwrap();
    assert_eq!(object.metadata.name.as_deref(), Some("p"));
    assert!(object.read().unwrap_err().contains("expected a sequence"));
}

#[test]
fn the_old_version_of_a_peer_is_the_new_one_with_less() {
    let yaml = "apiVersion: metallb.io/v1beta1\nkind: BGPPeer\nmetadata: {name: p}\n\
                spec: {myASN: 64500, peerASN: 64501, peerAddress: 10.0.0.1, holdTime: 90s, nodeSelectors: [{matchLabels: {a: b}}]}\n";
    let old: v1beta1::BGPPeer = serde_saphyr::from_str(yaml).unwrap();
    let new: BGPPeer = serde_saphyr::from_str(&yaml.replace("v1beta1", "v1beta2")).unwrap();
    assert_eq!(BGPPeer::from(old).spec, new.spec);
}

#[test]
fn passwords_do_not_show() {
    let peer: BGPPeer = serde_saphyr::from_str(
        "metadata: {name: p}\nspec: {myASN: 1, peerASN: 2, peerAddress: a, password: hunter2}\n",
    )
    .unwrap();
    assert!(!format!("{peer:?}").contains("hunter2"));
}

#[test]
fn reports_are_read_and_written_without_a_spec() {
    let yaml = "apiVersion: metallb.io/v1beta1\nkind: ServiceL2Status\nmetadata: {name: l2-x}\n\
                status: {node: w1, serviceName: s, serviceNamespace: web, interfaces: [{name: eth0}]}\n";
    let status: ServiceL2Status = serde_saphyr::from_str(yaml).unwrap();
    let written = serde_json::to_value(&status).unwrap();
    let expected: Value = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(written, expected);
}
