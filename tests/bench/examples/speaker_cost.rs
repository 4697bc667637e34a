//! What one speaker costs where no cluster is at hand: `speaker_cost PEERS SERVICES [SECONDS]` prints processor time, wake-ups and memory of the
//! image's speaker in a network namespace, window by window.
#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use herald_bench::{
    Result, cluster, image, memory,
    peers::{Place, Plan, spend},
};

fn main() -> Result<()> {
    let number = |place: usize| std::env::args().nth(place).and_then(|text| text.parse::<u32>().ok());
    let plan = Plan { peers: number(1).and_then(|n| n.try_into().ok()).unwrap_or(3), services: number(2).unwrap_or(0) };
    let place = Place::start(&image::tar_path(&cluster::workspace()), plan)?;
    place.await_heard()?;
    println!("pid {}", place.pid());
    for _ in 0..number(3).unwrap_or(100).div_ceil(10) {
        let spent = spend(place.pid(), 1)?;
        let of = |field| memory::status(place.pid(), field).map(|kibibytes| kibibytes / 1024.0);
        let (rss, anonymous) = (of("VmRSS")?, of("RssAnon")?);
        println!(
            "{:.3} % {:.1} wake-ups/s, {rss:.2} MiB, anonymous {anonymous:.2} MiB",
            spent.share[0], spent.wakes[0]
        );
    }
    Ok(())
}
