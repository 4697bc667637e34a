//! What both daemons need around their rules: logging, signals, readiness, admin HTTP, leader lease, watches, events.
//!
//! | module | purpose |
//! |---|---|
//! | [`log`] | one subscriber, to stderr, for people or as JSON |
//! | [`shutdown`] | one handle that says: stop |
//! | [`readiness`] | named conditions behind `/readyz` |
//! | [`admin`] | the HTTP endpoints of a daemon |
//! | [`certificate`] | the certificate of an HTTPS endpoint, own or from files |
//! | [`tls`] | how HTTPS endpoints speak TLS |
//! | [`metrics`] | the registry and the metrics that both daemons have |
//! | [`client`] | connections to the API server on which nothing hangs |
//! | [`watch`] | objects -> typed changes, complete before anything is decided |
//! | [`events`] | core/v1 Events, de-duplicated |
//! | [`configuration`] | configuration objects, followed |
//! | [`served`] | watches of custom resources that the cluster may serve only later |
//! | [`lease`] | leader election |
//! | [`standby`] | whether MetalLB runs in the cluster |

pub mod admin;
pub mod certificate;
pub mod client;
pub mod config;
pub mod configuration;
pub mod events;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod pace;
pub mod readiness;
pub mod served;
pub mod shutdown;
pub mod standby;
pub mod tls;
pub mod watch;
