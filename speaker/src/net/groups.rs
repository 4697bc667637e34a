//! Membership in the solicited-node groups of owned IPv6 addresses, so that solicitations reach this link's card at all.
//!
//! Joined through UDP sockets rather than `PACKET_ADD_MEMBERSHIP`, because only a join of the IPv6 stack is reported by MLD, and a switch that
//! snoops MLD forwards nothing to a port that did not report. The kernel answers MLD queries, and reports again when carrier returns.

use herald_wire::ndp::solicited_node;
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv6Addr},
};

/// Groups a socket joins at most. The kernel bounds them by `net.core.optmem_max`; measured at 56 bytes a group, which is 365 groups at
/// the old default of 20,480 bytes and 2,340 at the newer one of 131,072.
const PER_SOCKET: usize = 256;

/// A group that could not be joined or left.
#[derive(Debug, thiserror::Error)]
#[error("IPv6 group {group} on link {index}: {error}; solicitations for its addresses may not arrive")]
pub struct GroupError {
    /// The group.
    pub group: Ipv6Addr,
    /// The link.
    pub index: u32,
    /// What the system says.
    pub error: io::Error,
}

/// The groups of one link. Dropping it leaves them all.
#[derive(Debug)]
pub struct Groups {
    index: u32,
    sockets: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    socket: Socket,
    joined: BTreeSet<Ipv6Addr>,
}

impl Groups {
    /// No groups yet, on the link with this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self { index, sockets: Vec::new() }
    }

    /// Makes the joined groups exactly those of the IPv6 addresses among these. Several addresses may share a group; it is left with the
    /// last of them. Safe to repeat: what failed is tried again.
    pub fn set<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) -> Vec<GroupError> {
        let wanted: BTreeSet<Ipv6Addr> = addresses
            .into_iter()
            .filter_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(v6) => Some(solicited_node(*v6)),
            })
            .collect();
        let mut errors = Vec::new();
        for shard in &mut self.sockets {
            let index = self.index;
            let mut leave = |group: &Ipv6Addr| {
                // A link that lost its IPv6 state has forgotten its groups: that is as good as left.
                if let Err(error) = shard.socket.leave_multicast_v6(group, index)
                    && !matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV))
                {
                    errors.push(GroupError { group: *group, index, error });
                }
            };
            shard.joined.iter().filter(|group| !wanted.contains(*group)).for_each(&mut leave);
            shard.joined.retain(|group| wanted.contains(group));
        }
        let missing: Vec<Ipv6Addr> = wanted.difference(&self.joined().collect()).copied().collect();
        errors.extend(self.join_all(missing));
        // Closing an empty socket gives its memory back.
        self.sockets.retain(|shard| !shard.joined.is_empty());
        errors
    }

    /// Joins everything anew, with new reports: after the link's IPv6 state was lost (its MTU, `disable_ipv6`).
    pub fn rejoin(&mut self) -> Vec<GroupError> {
        let groups: Vec<Ipv6Addr> = self.joined().collect();
        self.sockets.clear();
        self.join_all(groups)
    }

    /// Every group that is joined.
    pub fn joined(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        self.sockets.iter().flat_map(|shard| shard.joined.iter().copied())
    }

    /// How many sockets the groups are spread over.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    fn join_all(&mut self, groups: Vec<Ipv6Addr>) -> Vec<GroupError> {
        let index = self.index;
        let failed = |group| self.join(group).err().map(|error| GroupError { group, index, error });
        groups.into_iter().filter_map(failed).collect()
    }

    fn join(&mut self, group: Ipv6Addr) -> io::Result<()> {
        for shard in self.sockets.iter_mut().filter(|shard| shard.joined.len() < PER_SOCKET) {
            match shard.join(group, self.index) {
                // This socket's share of memory is used up, whatever optmem_max is here.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS)) => {}
                result => return result,
            }
        }
        // Never bound: it can join, and nothing can be sent to it.
        let mut shard = Shard { socket: Socket::new(Domain::IPV6, Type::DGRAM, None)?, joined: BTreeSet::new() };
        shard.join(group, self.index)?;
        self.sockets.push(shard);
        Ok(())
    }
}

impl Shard {
    fn join(&mut self, group: Ipv6Addr, index: u32) -> io::Result<()> {
        self.socket.join_multicast_v6(&group, index)?;
        self.joined.insert(group);
        Ok(())
    }
}
