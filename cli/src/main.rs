//! The one binary of Herald; no logic here.

mod client;
mod diagnose;
mod import;
mod steer;
mod texts;
mod validate;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use herald_controller::ControllerConfig;
use herald_runtime::{
    client::connect,
    log::{self, LogFormat},
    shutdown::Shutdown,
};
use herald_speaker::SpeakerConfig;
use std::{
    error::Error,
    io::{self, StdoutLock},
    path::Path,
    process::ExitCode,
};
use tokio::runtime::Builder;

/// Name of the binary as a plugin of kubectl.
const PLUGIN: &str = "kubectl-herald";

/// Load balancer for bare-metal Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "herald", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give Services addresses from the pools
    Controller(ControllerConfig),
    /// Announce the addresses of Services from this node
    Speaker(SpeakerConfig),
    Validate(validate::ValidateArgs),
    Import(import::ImportArgs),
    Status(diagnose::StatusArgs),
    Explain(diagnose::ExplainArgs),
    Evacuate(steer::EvacuateArgs),
    Move(steer::MoveArgs),
    /// Print the version
    Version,
}

fn main() -> ExitCode {
    // First of all: rustls takes no provider by itself.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        complain("a TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let result = match command() {
        Command::Controller(config) => controller(config),
        Command::Speaker(config) => speaker(config),
        Command::Validate(args) => return ended(args.run(&mut io::stdout().lock(), &mut io::stderr().lock())),
        Command::Import(args) => return ended(args.run(&mut io::stdout().lock(), &mut io::stderr().lock())),
        Command::Status(args) => return ended(ask(async |out| args.run(out).await)),
        Command::Explain(args) => return ended(ask(async |out| args.run(out).await)),
        Command::Evacuate(args) => return ended(ask(async |out| args.run(out).await)),
        Command::Move(args) => return ended(ask(async |out| args.run(out).await)),
        Command::Version => {
            say(env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// How a command ended that says its exit code itself.
fn ended<E: Error>(result: Result<ExitCode, E>) -> ExitCode {
    result.unwrap_or_else(|error| {
        complain(&error.to_string());
        ExitCode::from(2)
    })
}

fn controller(config: ControllerConfig) -> Result<(), Box<dyn Error>> {
    daemon(config.common.log_format, &config.common.log_level.clone(), async |shutdown| {
        Ok(herald_controller::run(config, connect().await?, shutdown).await?)
    })
}

fn speaker(config: SpeakerConfig) -> Result<(), Box<dyn Error>> {
    daemon(config.common.log_format, &config.common.log_level.clone(), async |shutdown| {
        Ok(herald_speaker::run(config, connect().await?, shutdown).await?)
    })
}

/// Runs a daemon on one thread: what it does is little and mostly waiting. Against two threads an ARP answer took 33 us instead of 54 (p50 in
/// the lab), and a speaker 2 MiB and a third of its processor time less.
fn daemon(
    format: LogFormat,
    level: &str,
    run: impl AsyncFnOnce(Shutdown) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    log::init(format, level)?;
    Builder::new_current_thread().enable_all().build()?.block_on(async { run(Shutdown::on_signals()?).await })
}

/// Asks a cluster.
fn ask<E: From<io::Error>>(run: impl AsyncFnOnce(&mut StdoutLock<'_>) -> Result<ExitCode, E>) -> Result<ExitCode, E> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&mut io::stdout().lock()))
}

/// What the user wants, under the name that it was asked by: kubectl runs `kubectl-herald` for `kubectl herald`.
fn command() -> Command {
    let asked_as = std::env::args_os().next();
    let is_plugin = asked_as.is_some_and(|path| Path::new(&path).file_name().is_some_and(|name| name == PLUGIN));
    let command = if is_plugin { Cli::command().bin_name("kubectl herald") } else { Cli::command() };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit()).command
}

#[expect(clippy::print_stdout, reason = "the answer to the user's question")]
fn say(text: &str) {
    println!("{text}");
}

/// Also when logging is not started, or off.
fn complain(text: &str) {
    eprintln!("herald: {text}");
}
