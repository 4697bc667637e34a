//! Who answers instead of an owner whose speaker restarts.

use crate::NodeName;

/// Somebody answers broadcast requests on an owner's behalf, with the owner's MAC address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// Whose place is kept: traffic goes on to its node.
    pub owner: NodeName,
    /// Who answers; `None` when nobody else is there.
    pub by: Option<NodeName>,
}
