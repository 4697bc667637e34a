//! Prints the CustomResourceDefinitions as YAML documents; `make generate` writes them into files.

use std::{error::Error, io::Write};

fn main() -> Result<(), Box<dyn Error>> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    let mut out = std::io::stdout().lock();
    for definition in herald_api::crd::definitions()? {
        let mut text = String::new();
        serde_saphyr::to_fmt_writer_with_options(&mut text, &definition, options.clone())?;
        writeln!(out, "---\n{}", text.trim_end())?;
    }
    Ok(())
}
