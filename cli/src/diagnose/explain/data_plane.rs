//! The last step: what lies behind the answer.

use super::{
    super::{
        facts::{Herald, Subject},
        step::Step,
    },
    announcing::{addresses, views},
};
use herald_api::state::{Health, SpeakerState};

const STEP: &str = "data plane";

/// As far as kube-proxy's configuration and health endpoints tell.
pub(super) fn data_plane(herald: &Herald, subject: &Subject) -> Step {
    let proxy = herald.proxy.as_ref();
    if proxy.is_some_and(|proxy| proxy.mode == "ipvs" && !proxy.strict_arp) {
        return Step::failing(
            STEP,
            "strict_arp",
            "kube-proxy runs in IPVS mode without strictARP: every node's kernel answers ARP for the address",
            "set ipvs.strictARP: true in the ConfigMap kube-proxy of kube-system, and restart kube-proxy",
        );
    }
    if let Some(step) = failed(herald, subject) {
        return step;
    }
    let mode = proxy.map(|proxy| proxy.mode.as_str()).filter(|mode| !mode.is_empty());
    let seen =
        mode.map_or("not looked at".to_owned(), |mode| format!("kube-proxy in mode {mode}, not looked at further"));
    Step::unknown(STEP, seen).also(waiting(herald, subject)).hint(
        "not_looked_at",
        "try the port from outside of the cluster (a ping is no test); see docs/troubleshooting.md, section 4",
    )
}

fn answers(herald: &Herald, subject: &Subject, speaker: &SpeakerState) -> bool {
    let mut answering = addresses(subject).iter().flat_map(|address| herald.answering(*address));
    answering.any(|one| one.node == speaker.node)
}

/// A node that answers and whose data plane says for long that it fails: no better one is left, or the address is about to move.
fn failed(herald: &Herald, subject: &Subject) -> Option<Step> {
    let mut failed = herald.asked().filter(|speaker| speaker.data_plane.health == Health::Failed);
    let speaker = failed.find(|speaker| answers(herald, subject, speaker))?;
    let why = speaker.data_plane.not_ready.as_ref()?;
    let seen = format!("{} announces it, and its data plane fails: {}", speaker.node, why.text);
    Some(Step::failing(STEP, &why.code, seen, &*why.next_step))
}

/// Nodes whose data planes are not ready, which matters to who has the address: one that answers, and one that is to have it and waits.
fn waiting(herald: &Herald, subject: &Subject) -> Vec<String> {
    let views = views(herald, subject);
    let is_owner = |node: &str| views.iter().any(|(verdict, _)| verdict.owner.as_deref() == Some(node));
    let line = |speaker: &SpeakerState| {
        let why = speaker.data_plane.not_ready.as_ref()?;
        let what = if answers(herald, subject, speaker) {
            "announces it"
        } else if is_owner(&speaker.node) {
            "is to have it, and waits"
        } else {
            return None;
        };
        Some(format!("{} {what}; its data plane is not ready: {}", speaker.node, why.text))
    };
    herald.asked().filter_map(line).collect()
}
