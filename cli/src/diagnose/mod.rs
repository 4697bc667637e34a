//! `herald status` and `herald explain`: what the daemons and the API say, put together.
//!
//! [`observe`] asks and gives facts, [`explain`] and [`status`] judge them, [`text`] writes them down.

mod explain;
mod facts;
mod observe;
mod status;
mod step;
mod table;
mod text;
mod trouble;

use crate::client::Access;
use clap::{Args, Subcommand, ValueEnum};
use observe::{Cluster, ObserveError};
use serde::Serialize;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use step::Verdict;

/// How to write the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For tools
    Json,
}

/// How to reach the cluster, and what to write.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    access: Access,
    /// Table for people, JSON for tools
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Show who announces what where, pools and their use, who takes part on which link, and what is wrong
///
/// Exit code 0: nothing is wrong; 1: there is a problem; 2: the cluster could not be asked.
/// Needs the rights to list pods, and to get and create pods/portforward, in Herald's namespace.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    common: Common,
    /// Namespace of Herald [default: wherever its pods are]
    #[arg(long, short)]
    namespace: Option<String>,
}

/// Explain why something works or does not
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Walk from a Service to its clients and name the first step that fails, with the fix
    ///
    /// Exit code 0: no step fails; 1: one does; 2: the cluster could not be asked.
    /// Needs the rights to read Services, EndpointSlices and events in the Service's namespace, and to list pods, and
    /// to get and create pods/portforward, in Herald's.
    #[command(visible_alias = "svc")]
    Service(ServiceArgs),
}

#[derive(Debug, Clone, Args)]
struct ServiceArgs {
    /// NAME or NAMESPACE/NAME of the Service
    name: String,
    /// Namespace of the Service [default: that of the kubeconfig's context]
    #[arg(long, short)]
    namespace: Option<String>,
    /// Namespace of Herald [default: wherever its pods are]
    #[arg(long)]
    herald_namespace: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiagnoseError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error("the answer cannot be written: {0}")]
    Write(#[from] io::Error),
}

impl StatusArgs {
    pub(crate) async fn run(self, out: &mut impl Write) -> Result<ExitCode, DiagnoseError> {
        let cluster = Cluster::connect(self.common.access).await?;
        let herald = cluster.herald(self.namespace.as_deref(), None).await?;
        let status = status::status(&herald);
        write(out, self.common.output, &status, text::status)?;
        Ok(code(status.verdict))
    }
}

impl ExplainArgs {
    pub(crate) async fn run(self, out: &mut impl Write) -> Result<ExitCode, DiagnoseError> {
        let What::Service(ServiceArgs { name, namespace, herald_namespace, common }) = self.what;
        let cluster = Cluster::connect(common.access).await?;
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
            None => (namespace.unwrap_or_else(|| cluster.default_namespace().to_owned()), name),
        };
        let key = format!("{namespace}/{name}");
        let (herald, subject) =
            tokio::join!(cluster.herald(herald_namespace.as_deref(), Some(&key)), cluster.subject(&namespace, &name));
        let explanation = explain::explain(&herald?, &subject?);
        write(out, common.output, &explanation, text::explanation)?;
        Ok(code(explanation.verdict))
    }
}

fn code(verdict: Verdict) -> ExitCode {
    if verdict == Verdict::Failing { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn write<T: Serialize>(out: &mut impl Write, output: Output, value: &T, text: fn(&T) -> String) -> io::Result<()> {
    match output {
        Output::Table => out.write_all(text(value).as_bytes()),
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, value)?;
            out.write_all(b"\n")
        }
    }
}
