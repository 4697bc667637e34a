//! What a link carries and what a speaker costs with 3 to 1,000 speakers and up to 10,000 addresses, on the simulated LAN: `make scale`.
//!
//! Every size runs in a process of its own, so that its memory is its own. Writes `figures.json`, `table.md` and plots into the folder that
//! it is given (`target/scale` without one); prints the table. `one SPEAKERS ADDRESSES` runs one size and prints its row; `write FOLDER` makes table
//! and plots anew from the `figures.json` there.
#![expect(clippy::print_stdout, reason = "printing figures and progress is what it is for")]

use herald_core::{
    LinkName, NodeName, ServiceKey,
    config::{Config, L2Advertisement, Pool},
    labels::Labels,
    node::{Node, SpeakerPod},
    ownership::{Announceable, Snapshot},
    service::{Serving, TrafficPolicy},
    speaker::Link,
    time::Timing,
};
use herald_plot::{Axis, Chart, Series};
use herald_testkit::lan::{CLUSTER, Lan};
use herald_wire::{
    Mac,
    hello::{Key, open, seal},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, hint,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

type Failed = Box<dyn std::error::Error>;

/// Speakers and addresses; the larger ones last.
const SIZES: [(u32, u32); 8] = [
    (3, 1_000),
    (10, 1_000),
    (30, 1_000),
    (100, 1_000),
    (300, 1_000),
    // Half an hour, as all of them run in one process.
    (1_000, 1_000),
    (10, 10_000),
    (100, 10_000),
];
/// All speakers start at once; they have settled by then.
const START: Duration = Duration::from_secs(6);
/// Of a speaker: what arrives meanwhile is taken together, as a real one does that needs so long when hundreds start at once.
const TURN: Duration = Duration::from_micros(500);
/// Of the steady state.
const STEADY: Duration = Duration::from_secs(4);
/// Of 1,000 nodes that are left so many lose their power at once.
const FAILURES: [u32; 3] = [10, 100, 500];
/// Between two looks at who holds what; with more than a hundred speakers take-overs take seconds, and a look takes longer.
const fn look(nodes: usize) -> Duration {
    Duration::from_millis(if nodes > 100 { 50 } else { 10 })
}

/// Header, checksum, preamble and gap of an Ethernet frame.
const AROUND: usize = 14 + 4 + 20;

fn name(number: u32) -> String {
    format!("node-{number:04}")
}

fn own(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + number)
}

fn snapshot(nodes: u32, addresses: u32) -> Snapshot {
    let pool = Pool { ranges: "10.1.0.0/16".parse().into_iter().collect(), ..Pool::default() };
    let config = Config {
        pools: [("lan".into(), pool)].into(),
        l2_advertisements: [("lan".into(), L2Advertisement::default())].into(),
        ..Config::default()
    };
    let node = |number: u32| {
        let name = NodeName::new(name(number));
        let node = Node {
            name: name.clone(),
            labels: Labels::default(),
            excluded: false,
            network_unavailable: false,
            evacuation: None,
            internal_ips: vec![own(number).into()],
        };
        (name, node)
    };
    let serving = Arc::new(Serving { any: true, ..Serving::default() });
    let service = |number: u32| {
        let service = Announceable {
            uid: "uid".into(),
            labels: Labels::default(),
            addresses: [IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0001 + number))].into(),
            traffic_policy: TrafficPolicy::Cluster,
            serving: Arc::clone(&serving),
            moved: None,
        };
        (ServiceKey::new("default", format!("service-{number:05}")), service)
    };
    let nodes: BTreeMap<NodeName, Node> = (0..nodes).map(node).collect();
    let pod = |node: &NodeName| (node.clone(), SpeakerPod { node: node.clone(), ready: true });
    Snapshot {
        config: Arc::new(config),
        services: (0..addresses).map(service).collect(),
        speakers: nodes.keys().map(pod).collect(),
        nodes,
        ..Snapshot::default()
    }
}

fn link(number: u32) -> Link {
    let [_, b, c, d] = own(number).octets();
    let addresses = format!("{}/8", own(number)).parse().into_iter().collect();
    Link { name: LinkName::from("eth0"), mac: Mac([2, 0, 0, b, c, d]), addresses }
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<f64, Failed> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split_whitespace().nth(1).ok_or("no resident set in statm")?.parse()?;
    Ok(pages * 4096.0)
}

fn holders(lan: &Lan) -> BTreeMap<IpAddr, BTreeSet<NodeName>> {
    let mut holders: BTreeMap<IpAddr, BTreeSet<NodeName>> = BTreeMap::new();
    for (address, node) in lan.held(0) {
        holders.entry(address).or_default().insert(node.clone());
    }
    holders
}

/// The value that a share of the sorted ones does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a list that exists")]
    let at = (last as f64 * share).ceil() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// So many nodes lose their power at once: how long until somebody else has each of their addresses, and what moved beside them.
fn fail(lan: &mut Lan, alive: &mut Vec<u32>, per_mille: u32) -> Value {
    let look = look(alive.len());
    let count = usize::try_from(per_mille).unwrap_or(0) * alive.len() / 1000;
    let count = count.max(1).min(alive.len() - 1);
    let every = alive.len() / count;
    let victims: Vec<u32> = alive.iter().copied().step_by(every).take(count).collect();
    alive.retain(|number| !victims.contains(number));
    let before = holders(lan);
    let dead: BTreeSet<NodeName> = victims.iter().map(|number| NodeName::new(name(*number))).collect();
    let mut open: BTreeSet<IpAddr> =
        before.iter().filter(|(_, nodes)| nodes.iter().any(|node| dead.contains(node))).map(|(ip, _)| *ip).collect();
    let must = open.len();
    let asks = lan.asks();
    lan.count_moves();
    victims.iter().for_each(|number| lan.power_off(&name(*number)));
    let began = lan.now;
    let mut outages = Vec::with_capacity(must);
    // Two seconds more than is needed: what moves late would be seen.
    let mut rest = Duration::from_secs(2);
    while !rest.is_zero() && lan.now.since(began) < Duration::from_secs(30) {
        lan.run(look, |_| {});
        if open.is_empty() {
            rest = rest.saturating_sub(look);
            continue;
        }
        let now = holders(lan);
        let found: Vec<IpAddr> = open.iter().filter(|address| now.contains_key(*address)).copied().collect();
        for address in found {
            open.remove(&address);
            outages.push(lan.now.since(began).as_secs_f64() * 1000.0);
        }
    }
    outages.sort_by(f64::total_cmp);
    let after = holders(lan);
    let (moved, ceased) = lan.count_moves();
    let strays =
        before.iter().filter(|(address, nodes)| nodes.is_disjoint(&dead) && after.get(*address) != Some(*nodes));
    json!({
        "dead": count, "owned": must, "began": moved, "ceased": ceased, "strays": strays.count(), "never": open.len(),
        "twice": after.values().filter(|nodes| nodes.len() > 1).count(),
        "p50_ms": percentile(&outages, 0.5), "p99_ms": percentile(&outages, 0.99), "max_ms": percentile(&outages, 1.0),
        "asks": lan.asks() - asks,
    })
}

/// One size, in this process.
fn measure(nodes: u32, addresses: u32) -> Result<Value, Failed> {
    let began = Instant::now();
    let empty = resident()?;
    let snapshot = snapshot(nodes, addresses);
    let shared = resident()? - empty;
    let mut lan = Lan::new(Timing::default(), snapshot, 1);
    lan.turn = TURN;
    (0..nodes).for_each(|number| lan.add(&name(number), vec![link(number)]));
    eprintln!("  {nodes} speakers, {addresses} addresses: started after {:.0?}", began.elapsed());
    for second in 1..=START.as_secs() {
        lan.run(Duration::from_secs(1), |_| {});
        let (hellos, asks) = (lan.hellos(), lan.asks());
        eprintln!("  {second} s of the start after {:.0?}: {hellos} hellos, {asks} asks", began.elapsed());
    }
    let start_cpu = lan.time_in_speakers().as_secs_f64() / f64::from(nodes);
    let settled = holders(&lan).values().filter(|nodes| nodes.len() == 1).count();
    let (hellos, asks, busy, start) = (lan.hellos(), lan.asks(), lan.time_in_speakers(), lan.now);
    lan.run(STEADY, |_| {});
    let seconds = lan.now.since(start).as_secs_f64();
    let each = (resident()? - empty - shared) / f64::from(nodes);
    let busy = (lan.time_in_speakers() - busy).as_secs_f64() / seconds / f64::from(nodes);
    let (hellos, asks) = ((lan.hellos() - hellos) as f64 / seconds, (lan.asks() - asks) as f64 / seconds);
    eprintln!("  steady after {:.0?}", began.elapsed());

    let hello = lan.last_hello(&name(0)).ok_or("nobody spoke")?;
    let key = Key::new(b"0123456789abcdef0123456789abcdef")?;
    let frame = seal(hello, &key)?;
    let turns = 2000;
    let clock = Instant::now();
    for _ in 0..turns {
        hint::black_box(open(hint::black_box(&frame), CLUSTER, std::slice::from_ref(&key))?);
    }
    let opened = clock.elapsed().as_secs_f64() / f64::from(turns);
    let interval = hello.interval_ms;
    let named = hello.heard.len();

    let mut alive: Vec<u32> = (0..nodes).collect();
    let mut failures = Vec::new();
    for per_mille in FAILURES {
        if alive.len() > 2 {
            let failed = fail(&mut lan, &mut alive, per_mille);
            eprintln!("  {} of 100 failed after {:.0?}: {failed}", f64::from(per_mille) / 10.0, began.elapsed());
            failures.push(failed);
        }
    }
    Ok(json!({
        "speakers": nodes, "addresses": addresses, "settled": settled, "start_cpu": start_cpu, "interval_ms": interval, "named": named,
        "frame_bytes": frame.len(), "hellos_per_s": hellos, "asks_per_s": asks,
        "bits_per_s": hellos * ((frame.len() + AROUND) * 8) as f64,
        "rules_cpu": busy, "hmac_cpu": opened * hellos, "open_us": opened * 1e6,
        "bytes_per_speaker": each, "snapshot_bytes": shared, "failures": failures,
        "seconds": began.elapsed().as_secs_f64(),
    }))
}

fn figure(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or(f64::NAN)
}

fn table(rows: &[Value]) -> String {
    let mut text = String::from(
        "| Speakers | Addresses | Hello every | Hellos/s on the link | kbit/s | Frame | Peers named in it | Asks/s | Start of all at once: rules | \
         Rules, % of a core | HMAC, % of a core | Memory of the rules | Snapshot |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let f = |key| figure(row, key);
        text += &format!(
            "| {} | {} | {} ms | {:.0} | {:.0} | {} B | {} | {:.0} | {:.2} s | {:.2} | {:.2} | {:.2} MiB | {:.1} MiB |\n",
            row["speakers"],
            row["addresses"],
            row["interval_ms"],
            f("hellos_per_s"),
            f("bits_per_s") / 1000.0,
            row["frame_bytes"],
            row["named"],
            f("asks_per_s"),
            f("start_cpu"),
            f("rules_cpu") * 100.0,
            f("hmac_cpu") * 100.0,
            f("bytes_per_speaker") / 1048576.0,
            f("snapshot_bytes") / 1048576.0,
        );
    }
    text += "\n| Speakers | Addresses | Nodes that lose power at once | Addresses they had | Moved | Moved without need | \
             Nobody answers: p50 | p99 | max | Asks sent |\n|---|---|---|---|---|---|---|---|---|---|\n";
    for row in rows {
        for failure in row["failures"].as_array().into_iter().flatten() {
            let f = |key| figure(failure, key);
            text += &format!(
                "| {} | {} | {} | {} | {} | {} | {:.0} ms | {:.0} ms | {:.0} ms | {} |\n",
                row["speakers"],
                row["addresses"],
                failure["dead"],
                failure["owned"],
                failure["began"],
                failure["strays"],
                f("p50_ms"),
                f("p99_ms"),
                f("max_ms"),
                failure["asks"],
            );
        }
    }
    text
}

fn plots(rows: &[Value]) -> Vec<(&'static str, String)> {
    let speakers = || Axis::logarithmic("speakers on the link");
    let points = |of: &dyn Fn(&Value) -> f64| {
        // The largest number of addresses of each size.
        let last: BTreeMap<u64, f64> =
            rows.iter().map(|row| (row["speakers"].as_u64().unwrap_or(0), of(row))).collect();
        last.into_iter().map(|(speakers, value)| (speakers as f64, value)).collect::<Vec<_>>()
    };
    let hellos = Chart::new("Hellos on a link", speakers(), Axis::logarithmic("per second"))
        .with(Series::line("hellos/s", points(&|row| figure(row, "hellos_per_s"))))
        .with(Series::line("kbit/s", points(&|row| figure(row, "bits_per_s") / 1000.0)));
    let mut failover = Chart::new("Take-over of a dead node's addresses", speakers(), Axis::logarithmic("ms, p99"));
    for (index, share) in ["1 %", "10 %", "50 %"].into_iter().enumerate() {
        let of = |row: &Value| figure(&row["failures"][index], "p99_ms");
        failover = failover.with(Series::line(format!("{share} of the nodes die"), points(&of)));
    }
    let cpu = Chart::new("Processor time of a speaker", speakers(), Axis::logarithmic("% of a core"))
        .with(Series::line("rules", points(&|row| figure(row, "rules_cpu") * 100.0)))
        .with(Series::line("HMAC of hellos", points(&|row| figure(row, "hmac_cpu") * 100.0)));
    vec![("hellos.svg", hellos.svg()), ("take-over.svg", failover.svg()), ("processor.svg", cpu.svg())]
}

/// Table, figures and plots.
fn write(folder: &Path, rows: &[Value]) -> Result<(), Failed> {
    let table = table(rows);
    println!("{table}");
    fs::write(folder.join("table.md"), &table)?;
    fs::write(folder.join("figures.json"), serde_json::to_string_pretty(rows)?)?;
    for (file, svg) in plots(rows) {
        fs::write(folder.join(file), svg)?;
    }
    Ok(())
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [only, nodes, addresses] = arguments.as_slice()
        && only == "one"
    {
        println!("{}", measure(nodes.parse()?, addresses.parse()?)?);
        return Ok(());
    }
    if let [only, folder] = arguments.as_slice()
        && only == "write"
    {
        let folder = Path::new(folder);
        return write(folder, &serde_json::from_slice::<Vec<Value>>(&fs::read(folder.join("figures.json"))?)?);
    }
    let folder = arguments.first().map_or_else(|| PathBuf::from("target/scale"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    let mut rows: Vec<Value> = Vec::new();
    for (nodes, addresses) in SIZES {
        eprintln!("{nodes} speakers, {addresses} addresses");
        let child = Command::new(env::current_exe()?)
            .args(["one", &nodes.to_string(), &addresses.to_string()])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        if !child.status.success() {
            return Err(format!("{nodes} speakers, {addresses} addresses: {}", child.status).into());
        }
        rows.push(serde_json::from_slice(&child.stdout)?);
    }
    write(&folder, &rows)
}
