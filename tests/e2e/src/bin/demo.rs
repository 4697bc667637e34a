//! `make demo`: Herald doing its job on a real Kubernetes cluster, step by step, from nothing to a node that loses power.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use herald_e2e::{Cluster, HERALD_NAMESPACE, PATIENCE, Probe, Result, ensure, eventually};
use herald_lab::{Host, Lan, Options};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/samples/metallb-l2config.yaml");
/// The two Deployments of the classic lab.
const APPS: [&str; 2] = ["hname-pods", "ip-pods"];
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 56, 11)), IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 56, 12))];
const IMAGE: &str = "sysnet4admin/echo-hname";
/// Pace of the client while the node loses its power.
const PACE: Duration = Duration::from_millis(5);

fn say(text: &str) {
    // A closed pipe is the reader's decision.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What was shown so far.
struct Demo {
    start: Instant,
    shown: Vec<(&'static str, Result<String>, Duration)>,
}

impl Demo {
    /// One numbered step. Answers whether it happened; later steps are pointless otherwise.
    fn step(&mut self, title: &'static str, work: impl FnOnce() -> Result<String>) -> bool {
        say(&format!("\n[{:6.1} s] {}. {title}", self.start.elapsed().as_secs_f64(), self.shown.len() + 1));
        let began = Instant::now();
        let result = work();
        match &result {
            Ok(detail) => say(&format!("           -> {detail}")),
            Err(error) => say(&format!("           -> FAILED: {error}")),
        }
        let happened = result.is_ok();
        self.shown.push((title, result, began.elapsed()));
        happened
    }

    fn table(&self) -> bool {
        say("\nWhat was shown");
        say(&"-".repeat(118));
        for (number, (title, result, took)) in self.shown.iter().enumerate() {
            let (mark, detail) = match result {
                Ok(detail) => ("ok", detail.clone()),
                Err(error) => ("FAILED", error.to_string()),
            };
            let detail = detail.lines().next().unwrap_or_default();
            say(&format!("{:>3}. {mark:<7} {:>6.1} s  {title}: {detail}", number + 1, took.as_secs_f64()));
        }
        say(&"-".repeat(118));
        self.shown.iter().all(|(_, result, _)| result.is_ok())
    }
}

/// kubectl as the reader could type it; indented output.
fn kubectl(cluster: &Cluster, args: &[&str]) -> Result<String> {
    say(&format!("           $ kubectl {}", args.join(" ")));
    let answer = cluster.lab().kubectl(args)?;
    answer.lines().for_each(|line| say(&format!("             {line}")));
    Ok(answer)
}

fn service(app: &str) -> String {
    format!("{app}-svc")
}

/// A demo before this one: its Services, Deployments and Herald go, so that everything below really happens.
fn tidy(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    cluster.heal()?;
    // What tests may have left in a lab that was kept.
    cluster.clean()?;
    for worker in lab.workers() {
        lab.kubectl(&["uncordon", &worker.to_string()])?;
    }
    let services = APPS.map(service);
    let mut args = vec!["delete", "--ignore-not-found", "--wait=true"];
    let names: Vec<String> = services
        .iter()
        .map(|name| format!("service/{name}"))
        .chain(APPS.iter().map(|app| format!("deployment/{app}")))
        .collect();
    args.extend(names.iter().map(String::as_str));
    lab.kubectl(&args)?;
    lab.helm(&["uninstall", "herald", "--namespace", HERALD_NAMESPACE, "--ignore-not-found", "--wait"])?;
    // helm takes the controller's rights before it has stopped, so that it cannot give its lease back: the next one would wait 15 s.
    let objects = ["configmap/config", "lease/herald-controller"];
    let args = ["-n", HERALD_NAMESPACE, "delete", "--ignore-not-found"];
    lab.kubectl(&args.into_iter().chain(objects).collect::<Vec<_>>())?;
    Ok(())
}

fn deploy(cluster: &Cluster) -> Result<String> {
    for app in APPS {
        kubectl(cluster, &["create", "deployment", app, &format!("--image={IMAGE}"), "--replicas=3"])?;
        let name = service(app);
        kubectl(cluster, &["expose", "deployment", app, "--type=LoadBalancer", "--name", &name, "--port=80"])?;
    }
    let began = Instant::now();
    for (app, address) in APPS.iter().zip(ADDRESSES) {
        let target = format!("service/{}", service(app));
        let wanted = format!("--for=jsonpath={{.status.loadBalancer.ingress[0].ip}}={address}");
        cluster.lab().kubectl(&["wait", &wanted, &target, "--timeout=60s"])?;
    }
    kubectl(cluster, &["get", "services"])?;
    let [one, two] = ADDRESSES;
    Ok(format!("{one} and {two}, seen {:.1} s after the last command", began.elapsed().as_secs_f64()))
}

fn ready(cluster: &Cluster) -> Result<()> {
    for app in APPS {
        let name = format!("deployment/{app}");
        cluster.lab().kubectl(&["rollout", "status", &name, "--timeout=120s"])?;
    }
    Ok(())
}

/// Requests of the LAN client until each pod has answered one.
fn all_answer(cluster: &Cluster, pods: usize, apps: &[(&str, IpAddr)]) -> Result<String> {
    ready(cluster)?;
    let mut all = 0;
    for (app, address) in apps {
        let seen = cluster.answering_pods(*address, pods)?;
        for pod in &seen {
            say(&format!("           lab-client: GET http://{address}/ -> {pod}"));
            ensure!(pod.starts_with(app), "{address} is the address of {app}, and was answered by {pod}");
        }
        ensure!(seen.len() == pods, "{pods} pods of {app} answer, not {seen:?}");
        all += seen.len();
    }
    Ok(format!("{all} pods answered the client, each under its Service's address"))
}

fn every_second(cluster: &Cluster) -> Result<String> {
    let [address, _] = ADDRESSES;
    let mut pods = BTreeSet::new();
    for number in 1..=10 {
        let began = Instant::now();
        let pod = cluster.client_http((address, 80).into(), "/")?;
        say(&format!("           {number:>2}: http://{address}/ -> {pod}"));
        pods.insert(pod);
        thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
    }
    Ok(format!("10 of 10 requests answered, by {} pods", pods.len()))
}

fn announcers(cluster: &Cluster) -> Result<String> {
    let mut text = Vec::new();
    for address in ADDRESSES {
        let host = cluster.announcer(address)?;
        say(&format!("           lab-client: who has {address}? -> {} ({host}), nobody else", host.mac(Lan::First)));
        text.push(format!("{address} by {host}"));
    }
    Ok(text.join(", "))
}

/// Pods of the first app leave the node that announces it, and it gets a UDP port to be asked on.
fn prepare(cluster: &Cluster) -> Result<(Host, SocketAddr)> {
    let ([app, _], [address, _]) = (APPS, ADDRESSES);
    let announcer = cluster.announcer(address)?;
    say(&format!(
        "           {announcer} announces {address}. Its pods move away first, so that what the client will notice is the move of"
    ));
    say("           the address alone, and not requests that went to pods which lost their power as well:");
    kubectl(cluster, &["cordon", &announcer.to_string()])?;
    let field = format!("spec.nodeName={announcer}");
    kubectl(cluster, &["delete", "pods", "-l", &format!("app={app}"), "--field-selector", &field])?;
    say("           A UDP port beside the HTTP port, so that the client can ask 200 times a second:");
    let ports = r#"{"spec":{"ports":[{"name":"http","port":80},{"name":"echo","port":9999,"protocol":"UDP"}]}}"#;
    kubectl(cluster, &["patch", "service", &service(app), "--type=merge", "-p", ports])?;
    cluster.lab().kubectl(&["rollout", "status", &format!("deployment/{app}"), "--timeout=120s"])?;
    let selector = format!("app={app}");
    eventually(&format!("no pod of {app} on {announcer}"), PATIENCE, || {
        let list =
            cluster.lab().kubectl(&["get", "pods", "-l", &selector, "--field-selector", &field, "-o", "name"])?;
        Ok(if list.trim().is_empty() { Ok(()) } else { Err(list) })
    })?;
    let to = SocketAddr::new(address, 9999);
    // kube-proxy needs a moment for the new port and for the endpoints that are gone.
    eventually("a second of UDP answers without loss", PATIENCE, || {
        let probe = Probe::start(cluster, to, PACE)?;
        thread::sleep(Duration::from_secs(1));
        let seen = probe.finish();
        Ok(if seen.lost == 0 { Ok(()) } else { Err(format!("{} of {} lost", seen.lost, seen.sent)) })
    })?;
    Ok((announcer, to))
}

fn power_off(cluster: &Cluster, announcer: Host, to: SocketAddr) -> Result<String> {
    let probe = Probe::start(cluster, to, PACE)?;
    thread::sleep(Duration::from_secs(1));
    say(&format!(
        "           $ herald-lab power-off {announcer}      # SIGKILL of everything on it, cable dead, no last packet"
    ));
    let off = cluster.lab().power_off(announcer);
    thread::sleep(Duration::from_secs(3));
    let seen = probe.finish();
    off?;
    let recovered = seen.samples.iter().rev().take(100).all(|sample| sample.answered.is_some());
    ensure!(seen.lost > 0, "the power loss is noticed: otherwise {announcer} was not who carried the traffic");
    ensure!(recovered, "the address answers again within 3 s; {} of {} probes were lost", seen.lost, seen.sent);
    let now = cluster.announcer(to.ip())?;
    ensure!(now != announcer, "another node than {announcer} announces {}", to.ip());
    say(&format!(
        "           lab-client: {} requests, {} unanswered, longest pause of the client itself {:.0} ms",
        seen.sent,
        seen.lost,
        seen.longest_pause.as_secs_f64() * 1e3
    ));
    cluster.client_http((to.ip(), 80).into(), "/")?;
    Ok(format!("outage seen by the client {:.0} ms, now announced by {now}", seen.longest_gap.as_secs_f64() * 1e3))
}

fn power_on(cluster: &Cluster, announcer: Host) -> Result<String> {
    let [address, _] = ADDRESSES;
    say(&format!("           $ herald-lab power-on {announcer}"));
    cluster.lab().power_on(announcer)?;
    cluster.lab().kubectl(&["uncordon", &announcer.to_string()])?;
    cluster.await_announcer(address, announcer)?;
    cluster.client_http((address, 80).into(), "/")?;
    Ok(format!("{address} is announced by {announcer} again, by nobody else, and answers"))
}

fn show(demo: &mut Demo) -> Option<Cluster> {
    let mut cluster = None;
    demo.step("A Kubernetes cluster: control plane, three workers, a client on the LAN", || {
        let new = Cluster::bring_up(Options::default(), true)?;
        tidy(&new)?;
        kubectl(&new, &["get", "nodes", "-o", "wide"])?;
        cluster = Some(new);
        Ok("four nodes Ready".into())
    });
    let cluster = cluster?;
    let done = demo.step("Herald, by helm", || {
        say("           $ helm install herald charts/herald --namespace metallb-system --create-namespace --wait");
        cluster.install(&[])?;
        kubectl(&cluster, &["-n", HERALD_NAMESPACE, "get", "pods", "-o", "wide"])?;
        Ok("one controller, a speaker on every node".into())
    }) && demo.step("The classic lab's pool, unchanged: 192.168.56.11 to .13", || {
        say("           $ kubectl apply -f config/samples/metallb-l2config.yaml");
        cluster.lab().kubectl(&["apply", "-f", CONFIG])?;
        Ok("ConfigMap config".into())
    }) && demo.step("Two Deployments of three pods, exposed: EXTERNAL-IPs", || deploy(&cluster))
        && demo.step("One node answers ARP for each address", || announcers(&cluster))
        && demo.step("All pods answer the client", || {
            all_answer(&cluster, 3, &APPS.iter().copied().zip(ADDRESSES).collect::<Vec<_>>())
        })
        && demo.step("A request every second", || every_second(&cluster))
        && demo.step("Scaled to six: all six answer", || {
            let ([app, _], [address, _]) = (APPS, ADDRESSES);
            kubectl(&cluster, &["scale", "deployment", app, "--replicas=6"])?;
            all_answer(&cluster, 6, &[(app, address)])
        });
    let mut prepared = None;
    let done = done
        && demo.step("Preparing a power loss that only the address feels", || {
            let (announcer, to) = prepare(&cluster)?;
            prepared = Some((announcer, to));
            Ok(format!("the client gets all its answers, 200 a second, through {announcer}"))
        });
    if let Some((announcer, to)) = prepared.filter(|_| done) {
        demo.step("The announcing node loses its power while the client asks every 5 ms", || {
            power_off(&cluster, announcer, to)
        });
        demo.step("The power returns", || power_on(&cluster, announcer));
    }
    Some(cluster)
}

fn main() -> ExitCode {
    let mut demo = Demo { start: Instant::now(), shown: Vec::new() };
    let cluster = show(&mut demo);
    let all = demo.table();
    say(&format!(
        "{} in {:.1} s",
        if all { "Everything happened" } else { "NOT everything happened" },
        demo.start.elapsed().as_secs_f64()
    ));
    if cluster.is_some() {
        say("\nThe cluster is still there. To look around:");
        say("  cargo run -q -p herald-lab -- kubectl get services,pods -o wide");
        say("  cargo run -q -p herald-lab -- kubectl -n metallb-system logs -l component=speaker --prefix");
        say("  cargo run -q -p herald-lab -- net lab-client curl http://192.168.56.11/");
        say("  cargo run -q -p herald-lab -- net lab-client arping -b -c 3 -I eth0 192.168.56.11");
        say("  cargo run -q -p herald-lab -- power-off w1-k8s      # and power-on");
        say("To remove it: make demo-down");
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
