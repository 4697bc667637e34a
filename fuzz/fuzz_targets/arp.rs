//! ARP frames: no bytes make the parser panic, and what it understands is emitted as it was understood.
#![no_main]

use herald_wire::arp::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = parse(bytes) {
        assert_eq!(parse(&frame.emit()), Ok(frame));
    }
});
