//! Asks the health endpoint of this node's data plane now and then; what follows from the answers is decided in [`herald_core::data_plane`].

use crate::net::{
    health::{HealthUrl, ask},
    sys::boottime,
};
use herald_core::{
    data_plane::{DataPlane, NotReady, Outcome, follows},
    reason::Reason,
};
use herald_runtime::{
    metrics::{
        Collect,
        text::{Exposition, Kind},
    },
    readiness::Condition,
};
use herald_wire::hello;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{sync::watch, time::sleep};

/// What is known by this node's endpoint alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where it is; `None`: nothing is asked.
    pub url: Option<Arc<str>>,
    /// Whether it ever said that all is well.
    pub has_health: bool,
    /// Why this node is not to be given addresses, if that counts here.
    pub why: Option<NotReady>,
}

impl Asked {
    /// What follows for taking over.
    #[must_use]
    pub const fn is(&self) -> hello::DataPlane {
        follows(self.why)
    }
}

/// How often what came of asking. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AskMetrics(Arc<[AtomicU64; 5]>);

const RESULTS: [&str; 5] = ["healthy", "failing", "not_eligible", "absent", "other_status"];

impl AskMetrics {
    fn count(&self, outcome: Outcome) {
        let [healthy, failing, not_eligible, absent, other] = &*self.0;
        let counter = match outcome {
            Outcome::Healthy => healthy,
            Outcome::Failing(_) => failing,
            Outcome::NotEligible => not_eligible,
            Outcome::Absent => absent,
            Outcome::Other(_) => other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Collect for AskMetrics {
    fn collect(&self, out: &mut Exposition) {
        let mut family = out.family(
            Kind::Counter,
            "herald_data_plane_asks_total",
            "Times that the health endpoint of this node's data plane was asked, by what came of it.",
        );
        for (result, count) in RESULTS.iter().zip(&*self.0) {
            family.sample(&[("result", result)], count.load(Ordering::Relaxed));
        }
    }
}

/// Asks for as long as somebody wants to know. Without a place to ask nothing is ever known, and nothing is in the way.
pub(crate) fn start(url: Option<HealthUrl>, condition: Condition, metrics: AskMetrics) -> watch::Receiver<Asked> {
    let Some(url) = url else {
        condition.ready_with("not asked for: every node may take over (--data-plane-health)");
        return watch::channel(Asked::default()).1;
    };
    let mut plane = DataPlane::default();
    let known = Asked { url: Some(url.to_string().into()), has_health: plane.has_health(), why: plane.why() };
    let (sender, receiver) = watch::channel(known.clone());
    tokio::spawn(async move {
        let mut first = true;
        while !sender.is_closed() {
            let outcome = ask(&url).await;
            metrics.count(outcome);
            plane.take(outcome, boottime());
            let now = Asked { has_health: plane.has_health(), why: plane.why(), ..known.clone() };
            sender.send_if_modified(|before| {
                let changed = *before != now;
                if changed || std::mem::take(&mut first) {
                    tell(&now, &condition);
                    *before = now;
                }
                changed
            });
            sleep(plane.pause()).await;
        }
    });
    receiver
}

fn tell(now: &Asked, condition: &Condition) {
    let url = now.url.as_deref().unwrap_or_default();
    match now.why {
        None => {
            tracing::info!(url, "the data plane of this node is ready");
            condition.ready();
        }
        Some(why) if !now.has_health => {
            condition.not_ready(format!("{why}: of no account while that of no other node ever said that all is well"));
        }
        Some(why) => {
            tracing::warn!(url, reason = why.label(), "the data plane of this node is not ready: {}", why.advice());
            condition.not_ready(format!("{}; planned moves to this node wait", why.advice()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_runtime::readiness::{Readiness, Weight};
    use std::{net::Ipv4Addr, time::Duration};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    async fn becomes(asked: &mut watch::Receiver<Asked>, fits: impl FnMut(&Asked) -> bool) -> Asked {
        timeout(Duration::from_secs(60), asked.wait_for(fits)).await.unwrap().unwrap().clone()
    }

    #[tokio::test]
    async fn what_the_endpoint_says_reaches_whoever_wants_to_know() {
        let readiness = Readiness::new();
        let condition = readiness.condition("data plane", Weight::Informative);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            }
        });
        let metrics = AskMetrics::default();
        let mut asked = start(Some(url.parse().unwrap()), condition, metrics.clone());
        assert_eq!(asked.borrow().is(), hello::DataPlane::NotReady, "before anything was asked");
        let known = becomes(&mut asked, |asked| asked.why.is_none()).await;
        assert!(known.has_health && known.url.as_deref() == Some(url.as_str()));
        server.abort();
        let known = becomes(&mut asked, |asked| asked.why.is_some()).await;
        assert_eq!((known.why, known.is()), (Some(NotReady::Absent), hello::DataPlane::NotReady));
        let report = readiness.report();
        assert!(
            report.ready && report.text.contains("[!] data plane: its health endpoint does not answer"),
            "{report:?}"
        );
        let [healthy, .., absent, _] = &*metrics.0;
        assert!(healthy.load(Ordering::Relaxed) > 0 && absent.load(Ordering::Relaxed) > 0);
    }

    #[tokio::test]
    async fn nothing_is_in_the_way_when_nothing_is_asked() {
        let readiness = Readiness::new();
        let condition = readiness.condition("data plane", Weight::Informative);
        let asked = start(None, condition, AskMetrics::default());
        assert_eq!(asked.borrow().is(), hello::DataPlane::Ready);
        assert!(readiness.report().text.contains("[+] data plane"));
    }
}
