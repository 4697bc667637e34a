//! A real Prometheus that scrapes Herald as an operator's would: over HTTPS, with the token of a service account, with the chart's rules and
//! the chart's dashboard.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use herald_e2e::{Cluster, Error, HERALD_NAMESPACE, NAMESPACE, PATIENCE, Result, Service, ensure, eventually};
use herald_lab::{Host, Lan};
use serde_json::{Value, json};

use crate::{Journey, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[("prometheus_scrapes_and_alerts", scrapes_and_alerts)];

/// Of Prometheus, in the control plane's network.
const LISTEN: &str = "127.0.0.1:9090";
/// Once a second, so that a rate has its samples soon.
const INTERVAL: &str = "1s";
/// What Grafana would put in: several scrapes.
const RATE_INTERVAL: &str = "20s";

/// Who may read.
const VALUES: [&str; 2] = ["prometheus.serviceAccount=prometheus", "prometheus.namespace=e2e"];

fn chart(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/herald").join(file)
}

/// A running Prometheus; dropping it ends it and removes its data.
struct Prometheus<'c> {
    cluster: &'c Cluster,
    folder: PathBuf,
    promtool: PathBuf,
    process: Child,
}

impl<'c> Prometheus<'c> {
    /// With these groups of rules, as JSON.
    fn start(cluster: &'c Cluster, rules: &Value) -> Result<Self> {
        let program = herald_lab::program("prometheus", "prometheus")?;
        let promtool = herald_lab::program("promtool", "prometheus")?;
        let folder = cluster.lab().place().dir().join("prometheus");
        // Left over from a run that was killed.
        let _ = fs::remove_dir_all(&folder);
        let write = |name: &str, text: &str| -> Result<()> {
            fs::write(folder.join(name), text).map_err(Error::io(format!("writing {name}")))
        };
        fs::create_dir_all(&folder).map_err(Error::io("a folder for Prometheus"))?;
        write("rules.json", &rules.to_string())?;
        write("rules-test.yaml", include_str!("rules-test.yaml"))?;
        for account in ["prometheus", "stranger"] {
            let token = cluster.lab().kubectl(&["-n", NAMESPACE, "create", "token", account])?;
            write(account, token.trim())?;
        }
        let config = config(&targets(cluster)?);
        write("prometheus.json", &config.to_string())?;
        check(&promtool, &folder, &["check", "rules", "rules.json"])?;
        check(&promtool, &folder, &["test", "rules", "rules-test.yaml"])?;
        check(&promtool, &folder, &["check", "config", "prometheus.json"])?;

        let log = File::create(folder.join("log")).map_err(Error::io("a log for Prometheus"))?;
        let argv = [
            program.display().to_string(),
            format!("--config.file={}", folder.join("prometheus.json").display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={LISTEN}"),
            "--log.level=warn".to_owned(),
        ];
        let process = cluster
            .lab()
            .net_command(Host::ControlPlane, &argv)?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Error::io("starting prometheus"))?;
        Ok(Self { cluster, folder, promtool, process })
    }

    /// The series that an expression gives now: labels, and the value as text.
    fn query(&self, expression: &str) -> Result<Vec<(Value, String)>> {
        let server = format!("http://{LISTEN}");
        let argv = [&self.promtool.display().to_string(), "query", "-o", "json", "instant", &server, expression];
        let output =
            self.cluster.lab().net_command(Host::ControlPlane, &argv)?.output().map_err(Error::io("promtool query"))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(Error::Unexpected(format!("{expression}: {}", said(&output.stderr))));
        }
        let answer: Vec<Value> = serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::Unexpected(format!("{expression}: {error}: {}", said(&output.stdout))))?;
        let value = |series: &Value| series["value"][1].as_str().unwrap_or_default().to_owned();
        Ok(answer.iter().map(|series| (series["metric"].clone(), value(series))).collect())
    }

    /// Waits until an expression gives as many series as wanted.
    fn await_series(&self, expression: &str, wanted: impl Fn(usize) -> bool) -> Result<Vec<(Value, String)>> {
        eventually(&format!("{expression} to give what it has to"), PATIENCE, || {
            std::thread::sleep(Duration::from_millis(250));
            // Not listening yet, for example.
            Ok(self.query(expression).map_err(|error| error.to_string()).and_then(|series| {
                if wanted(series.len()) { Ok(series) } else { Err(format!("{series:?}\n{}", self.log())) }
            }))
        })
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Herald's pods by the name of their port, as existing scrape configurations for MetalLB find them. Debian's Prometheus is built without
/// discovery in Kubernetes.
fn targets(cluster: &Cluster) -> Result<Value> {
    let args = ["-n", HERALD_NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=herald"];
    let list = cluster.lab().kubectl_json(&args)?;
    let target = |pod: &Value| {
        let mut ports = pod["spec"]["containers"][0]["ports"].as_array()?.iter();
        let port = ports.find(|port| port["name"] == "metricshttps")?["containerPort"].as_u64()?;
        let address = format!("{}:{port}", pod["status"]["podIP"].as_str()?);
        let labels = json!({"instance": pod["metadata"]["name"], "component": pod["metadata"]["labels"]["component"]});
        Some(json!({"targets": [address], "labels": labels}))
    };
    let targets: Option<Vec<Value>> = list["items"].as_array().into_iter().flatten().map(target).collect();
    targets.map(Value::from).ok_or_else(|| missing("port metricshttps on every pod of Herald"))
}

/// Three jobs on the same targets: with a token that may, with one that may not, and without.
fn config(targets: &Value) -> Value {
    let job = |name: &str, token: Option<&str>| {
        let mut job = json!({
            "job_name": name, "scheme": "https", "honor_labels": true, "tls_config": {"insecure_skip_verify": true},
            "static_configs": targets,
        });
        if let Some(token) = token {
            job["authorization"] = json!({"credentials_file": token});
        }
        job
    };
    json!({
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.json"],
        "scrape_configs": [job("herald", Some("prometheus")), job("stranger", Some("stranger")), job("nobody", None)],
    })
}

fn check(promtool: &Path, folder: &Path, args: &[&str]) -> Result<()> {
    let output =
        std::process::Command::new(promtool).args(args).current_dir(folder).output().map_err(Error::io("promtool"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "promtool {} agrees: {}", args.join(" "), String::from_utf8_lossy(&said));
    Ok(())
}

/// `spec` of the chart's PrometheusRule.
fn rules(cluster: &Cluster) -> Result<Value> {
    let chart = chart("").display().to_string();
    let template = ["template", "herald", &chart, "--namespace", HERALD_NAMESPACE];
    let only = ["--set", "prometheus.prometheusRule.enabled=true", "--show-only", "templates/prometheusrule.yaml"];
    let text = cluster.lab().helm(&[template.as_slice(), only.as_slice()].concat())?;
    let object: Value = serde_saphyr::from_str(&text)
        .map_err(|error| Error::Unexpected(format!("the chart's PrometheusRule: {error}")))?;
    Ok(object["spec"].clone())
}

/// Name and expression of every alert.
fn alerts(rules: &Value) -> Vec<(String, String)> {
    let rules = rules["groups"].as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array());
    let text = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
    rules.flatten().map(|rule| (text(rule, "alert"), text(rule, "expr"))).collect()
}

/// Every query of the dashboard.
fn queries() -> Result<Vec<String>> {
    let path = chart("files/dashboard.json");
    let text = fs::read_to_string(&path).map_err(Error::io("the dashboard"))?;
    let dashboard: Value =
        serde_json::from_str(&text).map_err(|error| Error::Unexpected(format!("the dashboard: {error}")))?;
    let panels = dashboard["panels"].as_array().ok_or_else(|| missing("the list of panels"))?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap_or_default());
    Ok(queries.map(|query| query.replace("$__rate_interval", RATE_INTERVAL)).collect())
}

/// Metrics of Herald that an expression names.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("herald_") || word.starts_with("metallb_"))
}

/// The client takes the address, says so once, and gives it up again: a second time, and the address would be yielded.
fn claim(cluster: &Cluster, address: IpAddr) -> Result<()> {
    let (prefix, plain) = (format!("{address}/32"), address.to_string());
    let run = |argv: &[&str]| -> Result<()> {
        let output = cluster.lab().net_command(Host::Client, argv)?.output().map_err(Error::io(argv.join(" ")))?;
        ensure!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(&["ip", "address", "add", &prefix, "dev", Lan::First.interface()])?;
    let said = run(&["arping", "-U", "-c", "1", "-I", Lan::First.interface(), &plain]);
    run(&["ip", "address", "del", &prefix, "dev", Lan::First.interface()])?;
    said
}

fn scrapes_and_alerts(cluster: &Cluster) -> Result<()> {
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}});
    cluster.apply(&[account("prometheus"), account("stranger")])?;
    cluster.install(&VALUES)?;
    let rules = rules(cluster)?;
    let alerts = alerts(&rules);
    let prometheus = Prometheus::start(cluster, &rules)?;

    // Who may, sees all; who may not, and who says nothing, sees nothing.
    let pods = cluster.lab().nodes().len() + 1;
    prometheus.await_series(r#"up{job="herald"} == 1"#, |count| count == pods)?;
    for job in ["stranger", "nobody"] {
        prometheus.await_series(&format!(r#"up{{job="{job}"}}"#), |count| count == pods)?;
        let seen = prometheus.query(&format!(r#"up{{job="{job}"}} == 1"#))?;
        ensure!(seen.is_empty(), "{job} sees no metrics: {seen:?}");
    }
    let metrics = prometheus.query(r#"metallb_allocator_addresses_in_use_total{pool="nginx-ip-range"} == 0"#)?;
    ensure!(metrics.len() == 1, "a pool is there with 0 before any service: {metrics:?}");

    // One Service that is announced, and one that nobody can serve.
    let address = cluster.expose("watched", 1)?;
    cluster.answering_pods(address[0], 1)?;
    cluster.serve(&Service::new("empty", "nothing"))?;
    cluster.external_ips("empty")?;
    let announced = prometheus.await_series(r#"metallb_speaker_announced{service="e2e/watched"} == 1"#, |n| n == 1)?;
    let announcer = cluster.announcer(address[0])?.to_string();
    let labels = &announced[0].0;
    ensure!(
        labels["node"] == announcer && labels["protocol"] == "layer2" && labels["ip"] == address[0].to_string(),
        "{announcer} announces {address:?}: {labels}"
    );
    for name in ["requests_received", "responses_sent", "gratuitous_sent"] {
        let expression = format!(r#"metallb_layer2_{name}{{ip="{}"}} >= 1"#, address[0]);
        prometheus.await_series(&expression, |count| count == 1)?;
    }

    // Every query of the dashboard says something.
    let queries = queries()?;
    ensure!(queries.len() > 10 && alerts.len() > 10, "there are queries and alerts: {queries:?} {alerts:?}");
    for query in &queries {
        prometheus.await_series(query, |count| count > 0)?;
    }
    // A name that does not exist would give nothing, and an alert on it would never fire.
    let expressions = queries.iter().chain(alerts.iter().map(|(_, expression)| expression));
    for name in expressions.flat_map(|expression| names(expression)).collect::<BTreeSet<_>>() {
        // Not while all is well; the journey about conflicts sees it.
        if name == "herald_address_withheld" {
            continue;
        }
        prometheus.await_series(name, |count| count > 0)?;
    }
    // Every alert can be evaluated, and none fires while all is well.
    for (alert, expression) in &alerts {
        prometheus
            .await_series(expression, |count| count == 0)
            .map_err(|error| Error::Unexpected(format!("{alert} in a healthy cluster: {error}")))?;
    }
    let firing = prometheus.query(r#"ALERTS{alertstate="firing"}"#)?;
    ensure!(firing.is_empty(), "nothing fires in a healthy cluster: {firing:?}");

    // Another station that claims the address is counted where it is announced.
    claim(cluster, address[0])?;
    let claims = format!(r#"herald_address_claims_total{{ip="{}"}} >= 1"#, address[0]);
    prometheus.await_series(&claims, |count| count == 1)?;

    // The third of three addresses: the pool is full, and says so.
    cluster.serve(&Service::new("third", "watched"))?;
    cluster.external_ips("third")?;
    prometheus
        .await_series(r#"ALERTS{alertname="MetalLBAddressPoolUsage95Percent",alertstate="firing"}"#, |n| n == 1)?;
    prometheus.await_series(r#"ALERTS{alertname="MetalLBAddressPoolExhausted"}"#, |count| count == 1)?;
    // The new address is pending as not announced until the speakers are scraped once more.
    let seen = prometheus.query(r#"ALERTS{alertstate="firing"}"#)?;
    let names: BTreeSet<&str> = seen.iter().filter_map(|(labels, _)| labels["alertname"].as_str()).collect();
    ensure!(
        names.iter().all(|name| name.starts_with("MetalLBAddressPool")),
        "only the pool is complained about: {names:?}"
    );

    // Series end with their Service.
    for service in ["watched", "third", "empty"] {
        cluster.delete_service(service)?;
    }
    for gone in ["metallb_speaker_announced", "metallb_layer2_responses_sent", "herald_controller_address_assigned"] {
        prometheus.await_series(gone, |count| count == 0)?;
    }
    prometheus.await_series("ALERTS", |count| count == 0)?;
    Ok(())
}
