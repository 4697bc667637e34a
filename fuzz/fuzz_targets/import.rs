//! `herald import`: whatever is given to it, what it makes can be read again and stays as it is when it is imported once more.

#![no_main]

use herald_api::{
    import::{Options, import},
    manifest::{self, Document},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = Options { namespace: None, config: "config".to_owned() };
    let Ok(result) = import(&[("-".to_owned(), text.to_owned())], &options) else { return };
    let yaml = result.to_yaml();
    let documents = manifest::read(&yaml, "config");
    assert_eq!(documents.len(), result.objects.len(), "every object is a document:\n{yaml}");
    for document in documents {
        assert!(matches!(document, Document::Object { .. }), "{document:?} in\n{yaml}");
    }
    if !result.objects.is_empty() {
        let again = import(&[("-".to_owned(), yaml)], &options).expect("what was made can be imported");
        assert_eq!(again.objects, result.objects);
    }
});
