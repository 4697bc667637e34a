//! `make bench`: measures in a lab of its own, prints the table, writes `target/bench/NAME.json`.
//!
//! Exit code 0 when everything could be measured, whatever the figures are.
#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use clap::{Parser, ValueEnum};
use herald_bench::{
    Result, cluster, creation,
    image::{self, ImageFacts},
    latency,
    machine::Machine,
    memory,
    report::{self, Figure, Record},
    takeover, waiting,
};
use herald_e2e::Cluster;
use std::{path::PathBuf, process::ExitCode, time::Instant};

/// Figures of Herald in the lab. HERALD_IMAGE_TAR: the image (default dist/herald.tar). HERALD_LAB_DIR: the lab.
#[derive(Debug, Parser)]
#[command(name = "herald-bench", version)]
struct Cli {
    /// Only this benchmark; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Benchmark>,
    /// Trials instead of each benchmark's own number (take-over 20, creation 40, waiting 3 at most).
    #[arg(long, env = "HERALD_BENCH_TRIALS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    trials: Option<u16>,
    /// Leave out what was measured before with this very image.
    #[arg(long)]
    resume: bool,
    /// Use the lab that stands, and leave it standing.
    #[arg(long)]
    keep: bool,
    /// Only print the table of what was measured before.
    #[arg(long)]
    show: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// Size of the image.
    Image,
    /// Take-over after power loss.
    Takeover,
    /// Service created -> EXTERNAL-IP, ARP, HTTP.
    Creation,
    /// 1,000 waiting Services.
    Waiting,
    /// ARP request -> answer.
    Arp,
    /// Memory and processor time with 1,000 Services.
    Memory,
}

impl Benchmark {
    /// In an order in which each leaves what the next can use.
    const ALL: [Self; 6] = [Self::Image, Self::Takeover, Self::Creation, Self::Waiting, Self::Memory, Self::Arp];

    const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Takeover => "takeover",
            Self::Creation => "creation",
            Self::Waiting => "waiting",
            Self::Arp => "arp",
            Self::Memory => "memory",
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Image => image::METHOD,
            Self::Takeover => takeover::METHOD,
            Self::Creation => creation::METHOD,
            Self::Waiting => waiting::METHOD,
            Self::Arp => latency::METHOD,
            Self::Memory => memory::METHOD,
        }
    }
}

struct Bench {
    cli: Cli,
    folder: PathBuf,
    image: ImageFacts,
    /// Started by the first benchmark that needs it.
    cluster: Option<Cluster>,
}

impl Bench {
    fn cluster(&mut self) -> Result<&Cluster> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => cluster::start(self.cli.keep)?,
        };
        Ok(self.cluster.insert(cluster))
    }

    fn measure(&mut self, benchmark: Benchmark) -> Result<Vec<Figure>> {
        let trials = |own: u16| usize::from(self.cli.trials.unwrap_or(own));
        let (takeovers, creations, waits) = (trials(20), trials(40), trials(3).min(3));
        match benchmark {
            Benchmark::Image => image::measure(&self.image),
            Benchmark::Takeover => takeover::measure(self.cluster()?, takeovers),
            Benchmark::Creation => creation::measure(self.cluster()?, creations),
            Benchmark::Waiting => waiting::measure(self.cluster()?, waits),
            Benchmark::Arp => latency::measure(self.cluster()?),
            Benchmark::Memory => memory::measure(self.cluster()?),
        }
    }

    fn earlier(&self, benchmark: Benchmark) -> Option<Record> {
        Record::read(&self.folder, benchmark.name()).filter(|record| record.image == self.image)
    }

    fn record(&mut self, benchmark: Benchmark) -> Result<Record> {
        if self.cli.resume
            && let Some(record) = self.earlier(benchmark)
        {
            eprintln!("{}: measured before", benchmark.name());
            return Ok(record);
        }
        eprintln!("{}", benchmark.name());
        if benchmark != Benchmark::Image {
            // Its start is not part of the benchmark's time, and its load not of the machine's.
            self.cluster()?;
        }
        let (machine, began, start) = (Machine::here(), jiff::Timestamp::now().to_string(), Instant::now());
        let figures = self.measure(benchmark)?;
        let record = Record {
            benchmark: benchmark.name().to_owned(),
            method: benchmark.method().to_owned(),
            figures,
            machine,
            image: self.image.clone(),
            began,
            seconds: start.elapsed().as_secs_f64(),
        };
        record.write(&self.folder)?;
        Ok(record)
    }

    /// Measures what is asked for; what could not be measured, with the reason.
    fn run(mut self) -> bool {
        let wanted = Benchmark::ALL.into_iter().filter(|it| self.cli.only.is_empty() || self.cli.only.contains(it));
        let (mut records, mut failed) = (Vec::new(), Vec::new());
        for benchmark in wanted.collect::<Vec<_>>() {
            if self.cli.show {
                records.extend(self.earlier(benchmark));
                continue;
            }
            match self.record(benchmark) {
                Ok(record) => records.push(record),
                Err(error) => {
                    eprintln!("{}: {error}", benchmark.name());
                    failed.push(format!("{}: NOT MEASURED: {error}", benchmark.name()));
                    if self.cluster.is_none() {
                        // Not even a cluster: the others would only say the same.
                        break;
                    }
                }
            }
        }
        println!("\n{}\nimage {}\n", Machine::here().line(), self.image.digest);
        println!("{}", report::table(&records));
        println!("{}/*.json", self.folder.display());
        failed.iter().for_each(|line| println!("{line}"));
        failed.is_empty()
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
    let image = match image::facts(&image::tar_path(&workspace)) {
        Ok(image) => image,
        Err(error) => {
            eprintln!("herald-bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let bench = Bench { cli, folder: folder.join("bench"), image, cluster: None };
    if bench.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
