//! `herald import`: what it prints is what `herald validate` and `kubectl apply` take.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::herald;

#[test]
fn the_classic_lab_s_config_map_becomes_valid_objects() {
    let (code, objects, notes) = herald(&["import", "config/samples/metallb-l2config.yaml"], "");
    assert_eq!((code, notes.as_str()), (Some(0), "2 objects, 0 notes, 0 of them losses\n"));
    assert_eq!(
        objects,
        "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: nginx-ip-range\n  namespace: metallb-system\nspec:\n  addresses:\n  \
         - 192.168.56.11-192.168.56.13\n---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: nginx-ip-range\n  namespace: metallb-system\n\
         spec:\n  ipAddressPools:\n  - nginx-ip-range\n"
    );
    let (code, out, _) = herald(&["validate", "--strict", "-"], &objects);
    assert_eq!((code, out.as_str()), (Some(0), ""));
}

#[test]
fn losses_and_refusals_have_their_exit_codes() {
    let (code, objects, notes) = herald(&["import", "-n", "lb"], "address-pools: []\npeer-autodiscovery: {}\n");
    assert_eq!((code, objects.as_str()), (Some(1), ""));
    assert!(notes.contains("peer-autodiscovery"), "{notes}");
    let (code, objects, notes) =
        herald(&["import", "-"], "address-pools: [{name: p, protocol: layer2, addresses: [10.0.0.1]}]\n");
    assert_eq!((code, objects.as_str()), (Some(1), ""));
    assert!(notes.starts_with("herald: -: address-pools: pool p (line 1): "), "{notes}");
    assert_eq!(herald(&["import", "does/not/exist"], "").0, Some(2));
}
