//! Build tasks of the project; `cargo run -p herald-xtask -- help`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

/// Build tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "xtask")]
enum Task {
    /// Write a reproducible OCI image tar from static binaries.
    Image(herald_xtask::image::ImageArgs),
    /// Check the architecture rules.
    Arch(herald_xtask::arch::ArchArgs),
    /// Write the generated files, or compare them.
    Generate(herald_xtask::generate::GenerateArgs),
}

fn main() -> ExitCode {
    let result: Result<String, Box<dyn std::error::Error>> = match Task::parse() {
        Task::Image(args) => args.run().map_err(Into::into).map(|(out, summary)| {
            format!(
                "{} {} {} {:.1} MiB compressed",
                out.display(),
                summary.digest,
                summary.architecture.as_str(),
                summary.layer_size as f64 / 1_048_576.0
            )
        }),
        Task::Arch(args) => args.run().map_err(Into::into),
        Task::Generate(args) => args.run().map_err(Into::into),
    };
    match result {
        Ok(line) => {
            // A closed pipe is the reader's decision.
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
