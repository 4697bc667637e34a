//! What both daemons need around their rules: logging, signals, readiness, admin HTTP, leader lease, watches, events.
