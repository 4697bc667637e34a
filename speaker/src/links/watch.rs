//! Keeps the links of this node up to date from netlink.

use super::{Links, exclude::Exclude, table::Table};
use futures::{StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use std::{io, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tracing::{debug, warn};

/// A message that cannot be parsed is skipped inside netlink-proto, so a link could be missing until something else changes.
const DUMP_EVERY: Duration = Duration::from_secs(180);
/// A link that comes up sends two or three messages: they become one change. Short, because carrier loss must not wait.
const SETTLE: Duration = Duration::from_millis(5);
/// Bursts of events (a node with hundreds of pods) overrun the default of 208 KiB.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Why links cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No netlink socket.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// A dump failed.
    #[error("netlink dump: {0}")]
    Dump(#[from] rtnetlink::Error),
}

/// A watch on the links of this node. Dropping it ends it.
#[derive(Debug)]
pub struct LinkWatch {
    links: watch::Receiver<Arc<Links>>,
    _task: JoinSet<()>,
}

impl LinkWatch {
    /// Starts watching in the network namespace of the calling thread; returns when the links are known. `excluded` names links
    /// that must not be used ([`super::exclude::DEFAULT_EXCLUDED`]), and may change.
    ///
    /// # Errors
    /// Netlink does not answer.
    pub async fn start(mut excluded: watch::Receiver<Arc<Exclude>>) -> Result<Self, LinkError> {
        let session = Session::open().await?;
        let links = session.table.links(&excluded.borrow_and_update());
        let (sender, links) = watch::channel(Arc::new(links));
        let mut task = JoinSet::new();
        task.spawn(run(session, excluded, sender));
        Ok(Self { links, _task: task })
    }

    /// The links, and every change of them.
    #[must_use]
    pub fn links(&self) -> watch::Receiver<Arc<Links>> {
        self.links.clone()
    }
}

/// A netlink connection with what it has told.
struct Session {
    table: Table,
    handle: Handle,
    events: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    _connection: JoinSet<()>,
}

/// What became of a batch of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    Applied,
    /// The kernel dropped events.
    Overrun,
    /// The connection is gone.
    Closed,
}

impl Session {
    /// Subscribes first and dumps then, so that nothing falls in between.
    async fn open() -> Result<Self, LinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut connection, handle, events) = new_multicast_connection(&groups)?;
        if let Err(error) = connection.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER) {
            debug!(%error, "netlink buffer stays small");
        }
        let mut task = JoinSet::new();
        task.spawn(connection);
        let table = dump(&handle).await?;
        Ok(Self { table, handle, events, _connection: task })
    }

    /// Waits for an event and takes those that follow at once.
    async fn next_batch(&mut self) -> Batch {
        let Some((first, _)) = self.events.next().await else { return Batch::Closed };
        let mut result = self.apply(first);
        tokio::time::sleep(SETTLE).await;
        loop {
            match self.events.try_recv() {
                Ok((message, _)) => {
                    if self.apply(message) == Batch::Overrun {
                        result = Batch::Overrun;
                    }
                }
                Err(error) if error.is_closed() => return Batch::Closed,
                Err(_) => return result,
            }
        }
    }

    fn apply(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> Batch {
        match message.payload {
            NetlinkPayload::InnerMessage(message) => {
                self.table.apply(&message);
                Batch::Applied
            }
            NetlinkPayload::Overrun(_) => Batch::Overrun,
            _ => Batch::Applied,
        }
    }

    async fn refresh(&mut self) -> Result<(), LinkError> {
        self.table = dump(&self.handle).await?;
        Ok(())
    }
}

async fn dump(handle: &Handle) -> Result<Table, LinkError> {
    let mut table = Table::default();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        table.apply(&RouteNetlinkMessage::NewLink(link));
    }
    let mut addresses = handle.address().get().execute();
    while let Some(address) = addresses.try_next().await? {
        table.apply(&RouteNetlinkMessage::NewAddress(address));
    }
    Ok(table)
}

async fn run(mut session: Session, mut excluded: watch::Receiver<Arc<Exclude>>, sender: watch::Sender<Arc<Links>>) {
    loop {
        let batch = tokio::select! {
            batch = timeout(DUMP_EVERY, session.next_batch()) => Some(batch),
            // What a batch that was begun had to say is read again.
            Ok(()) = excluded.changed() => None,
        };
        let result = match batch {
            Some(Ok(Batch::Applied)) => Ok(()),
            Some(Ok(Batch::Overrun)) => {
                warn!("netlink events were lost; all links are read anew");
                session.refresh().await
            }
            Some(Ok(Batch::Closed)) => reopen(&mut session).await,
            Some(Err(_)) | None => session.refresh().await,
        };
        if let Err(error) = result {
            warn!(%error, "links cannot be read; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = reopen(&mut session).await {
                warn!(%error, "links cannot be read");
            }
        }
        let links = session.table.links(&excluded.borrow_and_update());
        sender.send_if_modified(|old| {
            let changed = **old != links;
            if changed {
                *old = Arc::new(links);
            }
            changed
        });
    }
}

async fn reopen(session: &mut Session) -> Result<(), LinkError> {
    *session = Session::open().await?;
    Ok(())
}
