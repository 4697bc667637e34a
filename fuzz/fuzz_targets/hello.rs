//! Hellos: neither raw bytes nor authentic ones with arbitrary fields make `open` panic, and what it understands can be sealed again.
#![no_main]

use herald_wire::hello::{ClusterId, Key, open, seal};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

const CLUSTER: ClusterId = ClusterId([7; 16]);
const KEY: [u8; 32] = [1; 32];

fuzz_target!(|fields: &[u8]| {
    let Ok(key) = Key::new(&KEY) else { return };
    let keys = std::slice::from_ref(&key);
    let _ = open(fields, CLUSTER, keys);

    let mut bytes = b"HRLD\x01\0".to_vec();
    bytes.extend(u16::try_from(fields.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(CLUSTER.0);
    bytes.extend(fields);
    let Ok(hmac) = Hmac::<Sha256>::new_from_slice(&KEY) else { return };
    let tag = hmac.chain_update(&bytes).finalize().into_bytes();
    bytes.extend(tag);
    let Ok(hello) = open(&bytes, CLUSTER, keys) else { return };
    // Another make of speaker may put more into a frame than seal does; what seal leaves of it is stable.
    if let Ok(sealed) = seal(&hello, &key) {
        let again = open(&sealed, CLUSTER, keys).expect("what was sealed opens");
        assert_eq!((&again.node, &again.heard, again.stamp), (&hello.node, &hello.heard, hello.stamp));
        assert_eq!(seal(&again, &key).ok(), Some(sealed));
    }
});
