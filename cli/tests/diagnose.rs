//! `herald status` and `herald explain` without a cluster: exit code 2, and what to do.

use std::{
    fs, io,
    net::TcpListener,
    process::{Command, Output},
};

/// What it complains about; nothing is written as an answer.
fn cannot(args: &[&str]) -> io::Result<String> {
    let mut herald = Command::new(env!("CARGO_BIN_EXE_herald"));
    let Output { status, stdout, stderr } = herald.args(args).env_remove("KUBECONFIG").output()?;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!((status.code(), &*String::from_utf8_lossy(&stdout)), (Some(2), ""), "{args:?} {said}");
    Ok(said)
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let said = cannot(&["status", "--kubeconfig", "/nonexistent/config"]).unwrap();
    assert!(said.contains("/nonexistent/config") && said.contains("--kubeconfig"), "{said}");
}

#[test]
fn what_cannot_be_asked_for_is_said_before_anybody_is_asked() {
    for args in [
        &["evacuate"][..],
        &["evacuate", "w1", "--for", "2 hours"],
        &["evacuate", "w1", "--for", "31d"],
        &["evacuate", "w1", "--for", "1h", "--end"],
        &["move", "192.0.2.1"],
        &["move", "shop/web", "w1"],
        &["move", "--end", "192.0.2.1", "w1"],
    ] {
        assert!(!cannot(args).unwrap().is_empty());
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_no_answer() {
    // A port that was free a moment ago: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = std::env::temp_dir().join(format!("herald-diagnose-{}", std::process::id()));
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], \
         users: [{{name: u, user: {{}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
    );
    fs::write(&path, text).unwrap();
    let kubeconfig = path.to_str().unwrap();
    for args in [&["status"][..], &["explain", "service", "shop/web", "-o", "json"]] {
        let said = cannot(&[args, &["--kubeconfig", kubeconfig]].concat()).unwrap();
        assert!(said.contains("the API server cannot be asked") && said.contains("onnection refused"), "{said}");
    }
    for (args, what) in [
        (&["evacuate", "w1-k8s"][..], "Node w1-k8s cannot be annotated"),
        (&["evacuate", "--end", "w1-k8s"], "Node w1-k8s cannot be annotated"),
        (&["move", "192.0.2.1", "w1-k8s", "--for", "2h"], "Node w1-k8s cannot be read"),
        (&["move", "--end", "192.0.2.1"], "Services cannot be listed"),
    ] {
        let said = cannot(&[args, &["--kubeconfig", kubeconfig]].concat()).unwrap();
        assert!(said.contains(what) && said.contains("onnection refused"), "{said}");
    }
    let said = cannot(&["status", "--kubeconfig", kubeconfig, "--context", "other"]).unwrap();
    assert!(said.contains("--context"), "{said}");
    fs::remove_file(&path).unwrap();
}
