//! Pools -> EXTERNAL-IP: watches Services and pools, writes Service status.
