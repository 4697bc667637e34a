//! What happens to the nodes themselves: power, their speakers' processes, their cables and data planes.

use super::{CLUSTER, Lan};
use herald_core::{
    LinkName,
    membership::Identity,
    speaker::{Input, Speaker},
};
use herald_wire::hello::DataPlane;
use std::{sync::Arc, time::Duration};

impl Lan {
    /// Switches the node on and starts its speaker, as a new process; on a running node only that.
    pub fn power_on(&mut self, node: &str) {
        let (timing, moves, policy, now) = (self.timing, self.moves, self.policy, self.now);
        let incarnation = now.as_micros().saturating_sub(u64::try_from(self.set_back.as_micros()).unwrap_or(u64::MAX));
        let snapshot = Arc::clone(&self.snapshot);
        let host = self.host(node);
        let me = Identity { cluster: CLUSTER, node: node.into(), incarnation };
        let mut speaker = Speaker::new(me, timing).with_moves(moves).with_policy(policy);
        let plane = Input::DataPlane { is: host.data_plane, has_health: host.data_plane == DataPlane::Ready };
        for input in [plane, Input::Links(host.usable()), Input::Key(true), Input::Snapshot(snapshot)] {
            speaker.handle(input, now);
        }
        host.speaker = Some(speaker);
        host.paused_until = None;
        (host.power, host.suspended) = (true, false);
        self.poll(&node.into());
    }

    /// Power loss: nothing is said any more.
    pub fn power_off(&mut self, node: &str) {
        self.kill(node);
        self.host(node).power = false;
    }

    /// The speaker's process is gone without a word (SIGKILL, a crash); the node's kernel lives on.
    pub fn kill(&mut self, node: &str) {
        let host = self.host(node);
        host.speaker = None;
        host.paused_until = None;
        host.answers.clear();
        host.inbox.clear();
        self.schedule(&node.into());
    }

    /// The speaker is told to end (SIGTERM) and its process is gone after its last words; the node's kernel lives on.
    pub fn stop(&mut self, node: &str, leaving: bool) {
        let now = self.now;
        for _ in 0..3 {
            if let Some(speaker) = &mut self.host(node).speaker {
                speaker.handle(Input::Stop { leaving }, now);
            }
            self.poll(&node.into());
        }
        self.kill(node);
    }

    /// The process does not run for so long (frozen, starved); the node's kernel and clock go on.
    pub fn pause(&mut self, node: &str, how_long: Duration) {
        let until = self.now + how_long;
        self.host(node).paused_until = Some(until);
        self.schedule(&node.into());
    }

    /// The whole machine does not run for so long (a virtual machine that is moved, suspend); its clock goes on.
    pub fn suspend(&mut self, node: &str, how_long: Duration) {
        self.pause(node, how_long);
        self.host(node).suspended = true;
    }

    /// Takes the cable out of a link, or puts it back: the node notices at once.
    pub fn set_carrier(&mut self, node: &str, link: &LinkName, there: bool) {
        let host = self.host(node);
        if there {
            host.down.remove(link);
        } else {
            host.down.insert(link.clone());
            host.answers.remove(link);
        }
        let links = Input::Links(host.usable());
        self.input(node, links);
    }

    /// A node's data plane is like this from now on, also after it was off.
    pub fn set_data_plane(&mut self, node: &str, data_plane: DataPlane) {
        self.host(node).data_plane = data_plane;
        self.input(node, Input::DataPlane { is: data_plane, has_health: true });
    }
}
