//! The integration tests: the real binary, spoken to over real sockets.

mod support;
