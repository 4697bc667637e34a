use super::{
    Rule,
    dependencies::check,
    rules::judge,
    sources::{self, Uses},
};

const ALLOWED: &str = "# comment: not a crate\nserde: values\nsha2: rank\n";
const GOOD: &str = "0herald-core v0.1.0 (/w/crates/core)\n1herald-wire v0.1.0 (/w/crates/wire)\n2sha2 v0.11.1\n1serde v1.0.229\n\
                    1sha2 v0.11.1 (*)\n\n0herald-wire v0.1.0 (/w/crates/wire) (*)\n";

fn uses(text: &str) -> Uses {
    sources::read(text).unwrap()
}

fn rules_broken(file: &str, text: &str) -> Vec<(Rule, usize)> {
    judge(file, &uses(text)).into_iter().map(|violation| (violation.rule, violation.line)).collect()
}

#[test]
fn allowed_dependencies_pass() {
    assert_eq!(check(GOOD, ALLOWED), (vec![], 4));
}

#[test]
fn tokio_in_core_fails_and_names_the_chain() {
    let tree = format!("{GOOD}1tokio v1.54.1\n2mio v1.0.0\n");
    let (violations, _) = check(&tree.replace("\n\n0herald-wire v0.1.0 (/w/crates/wire) (*)", ""), ALLOWED);
    let found: Vec<&str> = violations.iter().map(|violation| violation.found.as_str()).collect();
    assert_eq!(found, ["herald-core -> tokio is not on the list", "herald-core -> tokio -> mio is not on the list"]);
    assert!(violations.iter().all(|violation| violation.rule == Rule::R1PureDependencies));
}

#[test]
fn a_list_entry_that_nothing_uses_fails() {
    let (violations, _) = check(GOOD, &format!("{ALLOWED}getrandom: was once needed\n"));
    assert_eq!(violations.len(), 1);
    assert_eq!((violations[0].file.as_str(), violations[0].line), ("xtask/src/arch/allowed.txt", 4));
}

#[test]
fn the_real_list_gives_every_crate_a_reason() {
    for line in include_str!("allowed.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, reason) = line.split_once(": ").unwrap_or_else(|| panic!("no reason: {line}"));
        assert!(!name.contains(' ') && reason.len() > 5, "{line}");
    }
}

#[test]
fn pure_sources_may_not_ask_for_time_however_it_is_written() {
    for text in [
        "use std::time::Instant;",
        "use std::{net::IpAddr, time::{Duration, Instant as Now}};",
        "use std::time;",
        "use std::time::{self, Duration};",
        "use std::time::*;",
        "fn f() -> u64 { std::time::SystemTime::now().elapsed() }",
        "fn f(at: ::std::time::Instant) {}",
        "fn f() { assert!(a, b, std::time::Instant::now()); }",
        "fn f() { let v = std::env::var(\"X\"); }",
        "use std::net::UdpSocket;",
        "mod inner { fn f() { std::thread::spawn(|| ()); } }",
    ] {
        assert_eq!(
            judge("crates/core/src/a.rs", &uses(text)).iter().filter(|v| v.rule == Rule::R2PureSources).count(),
            1,
            "{text}"
        );
    }
}

#[test]
fn pure_sources_may_use_values() {
    let text = "use std::{collections::BTreeMap, net::{IpAddr, Ipv4Addr}, time::Duration};\nfn f() -> std::time::Duration { todo!() }";
    assert_eq!(rules_broken("crates/wire/src/a.rs", text), []);
}

#[test]
fn tests_and_other_crates_may_ask_for_time() {
    let test = "#[cfg(test)]\nmod tests { use std::time::Instant; }\n#[cfg(all(test, unix))]\nuse std::fs;";
    assert_eq!(rules_broken("crates/core/src/a.rs", test), []);
    assert_eq!(rules_broken("controller/src/driver.rs", "use std::time::Instant;"), []);
    assert_eq!(rules_broken("crates/core/src/a.rs", "#[cfg(not(test))]\nuse std::fs;"), [(Rule::R2PureSources, 2)]);
}

#[test]
fn kubernetes_types_end_at_the_rim() {
    let text = "\nuse kube::Api;\nfn f(s: &k8s_openapi::api::core::v1::Service) {}";
    let broken = [(Rule::R3KubernetesAtTheRim, 2), (Rule::R3KubernetesAtTheRim, 3)];
    assert_eq!(rules_broken("controller/src/driver.rs", text), broken);
    for file in ["controller/src/observe.rs", "crates/api/src/service.rs", "crates/runtime/src/lease/rules.rs"] {
        assert_eq!(rules_broken(file, text), [], "{file}");
    }
}

#[test]
fn sockets_stay_in_the_network_modules() {
    let text = "use socket2::Socket;";
    assert_eq!(rules_broken("speaker/src/driver.rs", text), [(Rule::R3SocketsAtTheRim, 1)]);
    assert_eq!(rules_broken("speaker/src/network.rs", text), [(Rule::R3SocketsAtTheRim, 1)]);
    assert_eq!(rules_broken("speaker/src/net/packet_socket.rs", text), []);
    assert_eq!(rules_broken("speaker/src/links.rs", text), []);
    assert_eq!(rules_broken("crates/runtime/src/admin.rs", "use tokio::net::TcpListener;"), []);
    assert_eq!(rules_broken("controller/src/lib.rs", "use tokio::{net::TcpListener, sync::mpsc};").len(), 1);
}

#[test]
fn unsafe_stands_in_one_file() {
    for text in [
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "unsafe impl Send for A {}",
        "#![allow(unsafe_code)]",
        "#[expect(unsafe_code, reason = \"x\")]\nfn f() {}",
        "unsafe extern \"C\" { fn f(); }",
        "fn f() { println!(\"{}\", unsafe { g() }); }",
    ] {
        assert_eq!(rules_broken("speaker/src/net/packet_socket.rs", text), [(Rule::UnsafeInOneFile, 1)], "{text}");
        assert_eq!(rules_broken("speaker/src/net/sys.rs", text), [], "{text}");
    }
}
