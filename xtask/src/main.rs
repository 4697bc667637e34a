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
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Image(args) => args.run().map(|(out, summary)| {
            format!(
                "{} {} {} {:.1} MiB compressed",
                out.display(),
                summary.digest,
                summary.architecture.as_str(),
                summary.layer_size as f64 / 1_048_576.0
            )
        }),
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
