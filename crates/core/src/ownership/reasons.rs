//! Why a Service is announced by nobody, and why a node does not announce it.

use crate::{PoolName, node::Evacuation, reason::Reason};
use serde::Serialize;
use std::{borrow::Cow, net::IpAddr};

/// Why nobody announces a Service: without a look at nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Silent {
    /// No address yet.
    #[error("it has no address yet")]
    NoAddress,
    /// An address lies in no pool.
    #[error("address {0} is in no configured pool")]
    NotInAnyPool(IpAddr),
    /// The pool is announced by BGP alone.
    #[error("pool {0} is announced by BGP only, which is not done yet")]
    Bgp(PoolName),
    /// No advertisement is for the pool.
    #[error("no advertisement is for pool {0}")]
    NotAdvertised(PoolName),
    /// Advertisements are for the pool, but not for this Service.
    #[error("the advertisements of pool {0} do not select it")]
    NotSelected(PoolName),
    /// No endpoint can serve.
    #[error("none of its endpoints is ready")]
    NoEndpoints,
}

impl Reason for Silent {
    fn label(&self) -> &'static str {
        match self {
            Self::NoAddress => "no_address",
            Self::NotInAnyPool(_) => "not_in_any_pool",
            Self::Bgp(_) => "bgp",
            Self::NotAdvertised(_) => "not_advertised",
            Self::NotSelected(_) => "not_selected",
            Self::NoEndpoints => "no_endpoints",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoAddress => "see its events for the reason",
            Self::NotInAnyPool(_) => "add the address to a pool, or let the controller give another one",
            Self::Bgp(_) => "use protocol layer2 or an L2Advertisement",
            Self::NotAdvertised(_) => "create an L2Advertisement for it, or leave announcing to others",
            Self::NotSelected(_) => {
                "give it the labels that their serviceSelectors ask for, or change these in the L2Advertisements"
            }
            Self::NoEndpoints => "see `kubectl get endpointslices` and the readiness of its pods",
        })
    }
}

/// Why a node is no candidate: a step of the ladder, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
pub enum Dropped {
    /// Step 2.
    #[error("no advertisement selects it")]
    NotSelected,
    /// Step 3.
    #[error("it carries the label node.kubernetes.io/exclude-from-external-load-balancers")]
    Excluded,
    /// Step 4.
    #[error("its condition NetworkUnavailable is True")]
    NetworkUnavailable,
    /// Step 5.
    #[error("externalTrafficPolicy is Local and it has no endpoint that can serve")]
    NoLocalEndpoint,
    /// Step 6.
    #[error("its speaker is not heard on this link, or hears nobody there")]
    NotAMember,
    /// Step 7.
    #[error("its interface on this link is none that the advertisements name")]
    NoInterface,
    /// Step 8.
    #[error("its speaker is not ready yet")]
    NotReady,
    /// Step 9.
    #[error("its data plane fails: it says that its health endpoint has said so for a while")]
    DataPlaneFailed,
    /// Step 10.
    #[error("it gives its addresses away: {0}")]
    Evacuated(Evacuation),
    /// Step 11.
    #[error("another node can announce more of the Services that share the address")]
    FewerServices,
}

impl Dropped {
    /// All of them, in the order of the ladder.
    pub const ALL: [Self; 14] = [
        Self::NotSelected,
        Self::Excluded,
        Self::NetworkUnavailable,
        Self::NoLocalEndpoint,
        Self::NotAMember,
        Self::NoInterface,
        Self::NotReady,
        Self::DataPlaneFailed,
        Self::Evacuated(Evacuation::ShuttingDown),
        Self::Evacuated(Evacuation::OutOfService),
        Self::Evacuated(Evacuation::ToBeDeleted),
        Self::Evacuated(Evacuation::Tainted),
        Self::Evacuated(Evacuation::Asked { until: 0 }),
        Self::FewerServices,
    ];
}

impl Reason for Dropped {
    fn label(&self) -> &'static str {
        match self {
            Self::NotSelected => "not_selected",
            Self::Excluded => "excluded",
            Self::NetworkUnavailable => "network_unavailable",
            Self::NoLocalEndpoint => "no_local_endpoint",
            Self::NotAMember => "not_a_member",
            Self::NoInterface => "no_interface",
            Self::NotReady => "not_ready",
            Self::DataPlaneFailed => "data_plane_failed",
            Self::Evacuated(Evacuation::ShuttingDown) => "shutting_down",
            Self::Evacuated(Evacuation::OutOfService) => "out_of_service",
            Self::Evacuated(Evacuation::ToBeDeleted) => "to_be_deleted",
            Self::Evacuated(Evacuation::Tainted) => "evacuate_taint",
            Self::Evacuated(Evacuation::Asked { .. }) => "evacuated",
            Self::FewerServices => "fewer_services",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotSelected => "see its labels and spec.nodeSelectors of the L2Advertisements",
            Self::Excluded => "remove the label, or run the speakers with --ignore-exclude-lb",
            Self::NetworkUnavailable => "see its network plugin",
            Self::NoLocalEndpoint => "run a ready pod of the Service there, or use externalTrafficPolicy Cluster",
            Self::NotAMember => "see the speaker's pod there, and whether the link carries its hellos and those to it",
            Self::NoInterface => "see spec.interfaces of the L2Advertisements",
            Self::NotReady => "see /readyz of its pod, and the pod's log",
            Self::DataPlaneFailed => "see the log of kube-proxy on that node: it does not write its rules",
            Self::Evacuated(Evacuation::ShuttingDown) => "nothing to do: it gets them back when it is up again",
            Self::Evacuated(Evacuation::OutOfService | Evacuation::ToBeDeleted | Evacuation::Tainted) => {
                "remove the taint, and it gets them back"
            }
            Self::Evacuated(Evacuation::Asked { .. }) => "wait until it is over, or run herald evacuate --end NODE",
            Self::FewerServices => {
                "make nodeSelectors, interfaces and endpoints of these Services alike, or give them addresses of their own"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::tests::check;

    #[test]
    fn every_reason_has_a_label_a_text_and_a_next_step() {
        check(&Dropped::ALL);
        let pool = || PoolName::from("p");
        let all = [
            Silent::NoAddress,
            Silent::NotInAnyPool("192.0.2.1".parse().unwrap()),
            Silent::Bgp(pool()),
            Silent::NotAdvertised(pool()),
            Silent::NotSelected(pool()),
            Silent::NoEndpoints,
        ];
        check(&all);
        // A new variant belongs into the list above.
        for reason in all {
            match reason {
                Silent::NoAddress
                | Silent::NotInAnyPool(_)
                | Silent::Bgp(_)
                | Silent::NotAdvertised(_)
                | Silent::NotSelected(_)
                | Silent::NoEndpoints => {}
            }
        }
    }

    #[test]
    fn the_list_is_in_the_order_of_the_ladder() {
        assert!(Dropped::ALL.is_sorted());
    }
}
