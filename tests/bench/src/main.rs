//! `make bench`: measures in a lab of its own, prints the table, writes `target/bench/NAME.json` and, with `--publish`, a page with plots.
//!
//! Exit code 0 when everything could be measured, whatever the figures are.
#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use clap::{Args, Parser};
use herald_bench::{
    Error, Result,
    benchmark::Benchmark,
    cluster,
    image::{self, ImageFacts},
    machine::Machine,
    peers,
    publish::Results,
    report::{self, Figure, Record},
    stage::{Effort, Stage},
    subject::Subject,
};
use herald_e2e::Cluster;
use herald_lab::Host;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Figures of Herald, or of another load balancer, in the lab. HERALD_IMAGE_TAR: the image (default dist/herald.tar). HERALD_LAB_DIR: the lab.
#[derive(Debug, Parser)]
#[command(name = "herald-bench", version)]
struct Cli {
    /// Only this benchmark; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Benchmark>,
    /// Fewer samples, shorter times under load: about a quarter of an hour.
    #[arg(long)]
    quick: bool,
    /// Trials instead of each benchmark's own number.
    #[arg(long, env = "HERALD_BENCH_TRIALS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    trials: Option<u16>,
    /// Minutes of each time under load, whatever all of it takes.
    #[arg(long)]
    soak: Option<u16>,
    /// Leave out what was measured before with this very image.
    #[arg(long)]
    resume: bool,
    /// Use the lab that stands, and leave it standing.
    #[arg(long)]
    keep: bool,
    /// Only print the table of what was measured before.
    #[arg(long)]
    show: bool,
    /// Write results.json, README.md and plots of everything that was measured with this image into this folder.
    #[arg(long)]
    publish: Option<PathBuf>,
    #[command(flatten)]
    external: External,
}

/// Measure what is installed in the lab that stands, whatever it is. Nothing is installed or configured; it has to give addresses to Services of
/// type LoadBalancer without a class.
#[derive(Debug, Args)]
struct External {
    /// Namespace of its pods.
    #[arg(long, requires = "daemonset")]
    namespace: Option<String>,
    /// The DaemonSet whose pods announce addresses.
    #[arg(long, requires = "namespace")]
    daemonset: Option<String>,
    /// The container of them that does.
    #[arg(long, default_value = "speaker", requires = "namespace")]
    container: String,
    /// File name of that container's program.
    #[arg(long, default_value = "speaker", requires = "namespace")]
    program: String,
    /// Nodes that announce and that faults are done to, e.g. w1-k8s,w2-k8s; default: all workers.
    #[arg(long, value_delimiter = ',', requires = "namespace")]
    nodes: Vec<Host>,
    /// The host that asks.
    #[arg(long, default_value = "lab-client", requires = "namespace")]
    client: Host,
}

impl External {
    fn subject(&self, workers: Vec<Host>) -> Option<Subject> {
        let (namespace, daemonset) = (self.namespace.clone()?, self.daemonset.clone()?);
        Some(Subject {
            name: format!("{namespace}/{daemonset}"),
            namespace,
            daemonset,
            container: self.container.clone(),
            program: self.program.clone(),
            nodes: if self.nodes.is_empty() { workers } else { self.nodes.clone() },
            client: self.client,
            is_herald: false,
        })
    }

    const fn is_asked_for(&self) -> bool {
        self.namespace.is_some()
    }
}

impl Cli {
    fn effort(&self) -> Effort {
        let mut effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        if let Some(trials) = self.trials.map(usize::from) {
            effort = Effort {
                trials,
                cycles: trials,
                rollouts: trials.min(effort.rollouts),
                creations: trials,
                waits: trials.min(effort.waits),
                fenced: trials.min(effort.fenced),
                unfenced: trials.min(effort.unfenced),
                ..effort
            };
        }
        if let Some(minutes) = self.soak {
            effort.soak = Duration::from_secs(60 * u64::from(minutes));
        }
        effort
    }
}

/// For everything: where the rest took longer, the times under load are cut.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// Below this, a time under load says too little.
const SOAK: Duration = Duration::from_secs(60);
/// To install what a time under load needs.
const CHANGE: Duration = Duration::from_secs(20);

/// How long each of the times under load that are left may take.
fn soak(planned: Duration, elapsed: Duration, left: usize) -> Duration {
    let each = LIMIT.saturating_sub(elapsed) / u32::try_from(left).unwrap_or(u32::MAX).max(1);
    planned.min(each.saturating_sub(CHANGE).max(SOAK))
}

struct Bench {
    cli: Cli,
    folder: PathBuf,
    image: ImageFacts,
    /// Set up by the first benchmark that needs it.
    stage: Option<Stage>,
}

impl Bench {
    fn set_up(&self) -> Result<Stage> {
        if !self.cli.external.is_asked_for() {
            let cluster = cluster::start(self.cli.keep)?;
            let subject = Subject::herald(cluster.lab().workers());
            return Ok(Stage::new(cluster, subject, self.cli.effort()));
        }
        let cluster = Cluster::attach()?;
        let subject = self.cli.external.subject(cluster.lab().workers());
        let subject = subject.ok_or_else(|| Error::Options("--namespace and --daemonset belong together".into()))?;
        cluster::furnish(&cluster)?;
        subject.await_ready(cluster.lab())?;
        Ok(Stage::new(cluster, subject, self.cli.effort()))
    }

    fn measure(&mut self, benchmark: Benchmark) -> Result<Vec<Figure>> {
        match benchmark {
            Benchmark::Image => return image::measure(&self.image),
            Benchmark::Peers => return peers::measure(&image::tar_path(&cluster::workspace())),
            _ => {}
        }
        match self.stage.as_mut() {
            Some(stage) => benchmark.measure(stage),
            None => Err(Error::NotSeen("a cluster".into())),
        }
    }

    fn earlier(&self, benchmark: Benchmark) -> Option<Record> {
        Record::read(&self.folder, &benchmark.name()).filter(|record| record.image == self.image)
    }

    fn record(&mut self, benchmark: Benchmark) -> Result<Record> {
        if self.cli.resume
            && let Some(record) = self.earlier(benchmark)
        {
            eprintln!("{}: measured before", benchmark.name());
            return Ok(record);
        }
        if benchmark.needs_cluster() && self.stage.is_none() {
            // Its start is not part of the benchmark's time, and its load not of the machine's.
            self.stage = Some(self.set_up()?);
        }
        let (machine, began, start) = (Machine::here(), jiff::Timestamp::now().to_string(), Instant::now());
        let figures = self.measure(benchmark)?;
        let record = Record {
            benchmark: benchmark.name(),
            title: benchmark.title().to_owned(),
            method: benchmark.method(),
            figures,
            machine,
            image: self.image.clone(),
            began,
            seconds: start.elapsed().as_secs_f64(),
        };
        record.write(&self.folder)?;
        Ok(record)
    }

    fn publish(&self, folder: &Path, missing: &[(String, String)]) -> Result<()> {
        let results = Results {
            subject: self
                .stage
                .as_ref()
                .map_or_else(|| Subject::herald(Vec::new()), |stage| stage.subject.clone())
                .name,
            kubernetes: herald_lab::KUBERNETES.to_owned(),
            image: self.image.clone(),
            machine: Machine::here(),
            records: Benchmark::ALL.into_iter().filter_map(|benchmark| self.earlier(benchmark)).collect(),
            missing: missing.to_vec(),
        };
        let failures = Benchmark::failures();
        results.write(folder, &failures.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Measures what is asked for; whether all of it could be measured.
    fn run(mut self) -> bool {
        let all = self.cli.only.is_empty();
        let external = self.cli.external.is_asked_for();
        let wanted =
            |it: &Benchmark| (all && it.is_default() && (!external || it.is_for_all())) || self.cli.only.contains(it);
        let wanted: Vec<Benchmark> = Benchmark::ALL.into_iter().filter(wanted).collect();
        let (mut records, mut missing, start) = (Vec::new(), Vec::new(), Instant::now());
        for (number, benchmark) in wanted.iter().enumerate() {
            if self.cli.show {
                records.extend(self.earlier(*benchmark));
                continue;
            }
            let (name, minutes) = (benchmark.name(), start.elapsed().as_secs_f64() / 60.0);
            if let Some(stage) = self.stage.as_mut().filter(|_| benchmark.is_soak() && self.cli.soak.is_none()) {
                let left = wanted.iter().skip(number).filter(|left| left.is_soak()).count();
                stage.effort.soak = soak(stage.effort.soak, start.elapsed(), left);
            }
            eprintln!("{name} ({} of {}, after {minutes:.1} minutes)", number + 1, wanted.len());
            match self.record(*benchmark) {
                Ok(record) => records.push(record),
                Err(error) => {
                    eprintln!("{name}: {error}");
                    missing.push((name, error.to_string()));
                    if benchmark.needs_cluster() && self.stage.is_none() {
                        // Not even a cluster: the others would only say the same.
                        break;
                    }
                    self.recover();
                }
            }
        }
        println!("\n{}\nimage {}\n", Machine::here().line(), self.image.digest);
        println!("{}", report::table(&records));
        println!("{}/*.json", self.folder.display());
        missing.iter().for_each(|(name, error)| println!("{name}: NOT MEASURED: {error}"));
        let folder = self.cli.publish.clone();
        let published = folder.map_or(Ok(()), |folder| {
            self.publish(&folder, &missing).map(|()| println!("{}/README.md", folder.display()))
        });
        if let Err(error) = &published {
            println!("not published: {error}");
        }
        missing.is_empty() && published.is_ok()
    }

    /// What a benchmark left undone must not become the next one's result.
    fn recover(&self) {
        if let Some(stage) = &self.stage
            && let Err(error) = stage.cluster.heal()
        {
            eprintln!("  healing the lab: {error}");
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let workspace = cluster::workspace();
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    // kube has no provider of its own choice.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("herald-bench: a provider of cryptography is installed already");
    }
    // Of others there is none to look at.
    let image = if cli.external.is_asked_for() {
        Ok(ImageFacts::default())
    } else {
        image::facts(&image::tar_path(&workspace))
    };
    let image = match image {
        Ok(image) => image,
        Err(error) => {
            eprintln!("herald-bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let results = if cli.external.is_asked_for() { "bench-external" } else { "bench" };
    let bench = Bench { cli, folder: folder.join(results), image, stage: None };
    if bench.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_under_load_end_in_time() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        assert_eq!(soak(minutes(10), minutes(15), 2), minutes(10));
        assert_eq!(soak(minutes(10), minutes(22), 2), minutes(9) - CHANGE);
        assert_eq!(soak(minutes(10), minutes(31), 1), minutes(9) - CHANGE);
        assert_eq!(soak(minutes(10), minutes(50), 1), SOAK);
    }

    #[test]
    fn others_are_measured_by_the_same_command() {
        let cli =
            Cli::try_parse_from(["herald-bench", "--namespace", "metallb-system", "--daemonset", "speaker"]).unwrap();
        let subject = cli.external.subject(vec![Host::Worker(1)]).unwrap();
        assert_eq!((subject.nodes, subject.client, subject.is_herald), (vec![Host::Worker(1)], Host::Client, false));
        assert!(Cli::try_parse_from(["herald-bench", "--nodes", "w1-k8s"]).is_err(), "nodes of what?");
        let own = Cli::try_parse_from(["herald-bench", "--quick"]).unwrap();
        assert!(own.external.subject(Vec::new()).is_none());
    }
}
