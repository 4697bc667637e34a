//! Builders, virtual clock, simulated LAN and an in-process fake API server. For tests only.
