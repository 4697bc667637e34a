//! The way to a cluster, for every command that needs one.

use clap::Args;
use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use std::path::PathBuf;

/// How to reach the cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Access {
    /// Kubeconfig file [default: KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long)]
    context: Option<String>,
}

/// Why there is no way to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the kubeconfig cannot be used: {0}: name another one with --kubeconfig, or another --context")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("no way to the API server: name a kubeconfig with --kubeconfig: {0}")]
    Infer(#[from] InferConfigError),
    #[error("the connection to the API server cannot be set up: {0}")]
    Client(#[source] kube::Error),
}

/// A client, and the namespace of the kubeconfig's context.
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) default_namespace: String,
}

impl Access {
    /// Does not talk to the server yet.
    pub(crate) async fn connect(self) -> Result<Connected, ConnectError> {
        let options = KubeConfigOptions { context: self.context, ..KubeConfigOptions::default() };
        let config = match self.kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            None if options.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await?,
        };
        let default_namespace = config.default_namespace.clone();
        Ok(Connected { client: Client::try_from(config).map_err(ConnectError::Client)?, default_namespace })
    }
}
