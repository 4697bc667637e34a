//! The one binary of Herald; no logic here.
fn main() {}
