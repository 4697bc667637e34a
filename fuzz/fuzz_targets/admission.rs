//! Questions to the webhook: the port is open to whoever reaches the pod.

#![no_main]

use herald_api::{
    admission::{read, review},
    sources::Sources,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = read(bytes) else { return };
    for sources in [None, Some(Sources::default())] {
        let answer = review(&request, sources, "metallb-system");
        answer.to_review(&request.uid).expect("every question has an answer");
    }
});
