//! Kubernetes objects <-> core types; every annotation key and schema, defined once.
