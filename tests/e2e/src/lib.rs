//! End-to-end tests of Herald in the lab.
