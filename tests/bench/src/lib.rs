//! Benchmarks in the lab: programs that print figures and write JSON.
