use super::*;

/// A certificate and its key as PEM.
fn pem(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let wrap = |label: &str, der: &[u8]| {
        let text = base64(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    (wrap("CERTIFICATE", certificate.der()), wrap("PRIVATE KEY", &key.serialize_der()))
}

/// RFC 4648, enough for a test.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = (bits >> (18 - 6 * index)) & 63;
            text.push(if index > chunk.len() { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    text
}

fn write(folder: &Path, (certificate, key): &(String, String)) {
    fs::write(folder.join("tls.crt"), certificate).unwrap();
    fs::write(folder.join("tls.key"), key).unwrap();
}

fn end_entity(certificate: &Certificate, now: SystemTime) -> Vec<u8> {
    certificate.current(now).end_entity_cert().unwrap().to_vec()
}

#[test]
fn an_own_certificate_is_renewed_in_time_and_not_before() {
    let now = SystemTime::now();
    let certificate = Certificate::new(Source::SelfSigned(vec!["herald".into(), "127.0.0.1".into()]), now).unwrap();
    let first = end_entity(&certificate, now);
    assert_eq!(end_entity(&certificate, now + RENEW_AFTER - Duration::from_secs(1)), first);
    let second = end_entity(&certificate, now + RENEW_AFTER);
    assert_ne!(second, first);
    assert_eq!(end_entity(&certificate, now + RENEW_AFTER), second);
    let back = now - Duration::from_secs(3600);
    assert_ne!(end_entity(&certificate, back), second, "a clock that goes back gets one that is valid then");
}

#[test]
fn files_are_read_again_when_they_change_and_the_old_ones_stay_while_they_are_broken() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Certificate::new(Source::Files(folder.path().into()), SystemTime::now()).unwrap_err();
    assert!(missing.to_string().contains("tls.crt"), "{missing}");
    let (one, two) = (pem("one"), pem("two"));
    write(folder.path(), &one);
    let mut now = SystemTime::now();
    let certificate = Certificate::new(Source::Files(folder.path().into()), now).unwrap();
    let first = end_entity(&certificate, now);

    // Halfway through a change: the key does not belong to the certificate.
    write(folder.path(), &(two.0.clone(), one.1.clone()));
    now += LOOK_EVERY;
    assert_eq!(end_entity(&certificate, now), first);
    write(folder.path(), &two);
    assert_eq!(end_entity(&certificate, now), first, "not looked at again yet");
    now += LOOK_EVERY;
    assert_ne!(end_entity(&certificate, now), first);
}

#[test]
fn what_is_no_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, _) = pem("one");
    write(folder.path(), &(certificate, "nonsense".into()));
    let error = Certificate::new(Source::Files(folder.path().into()), SystemTime::now()).unwrap_err();
    assert!(matches!(error, CertificateError::Pem { what: "private key", .. }), "{error}");
}
