//! Tests of the built program, from outside: standard output, standard error, exit code, and what is left behind.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod boot;
mod broken;
mod check;
mod death;
mod exit;
mod failing;
mod home;
mod hostile;
mod image;
mod language;
mod meaning;
mod output;
mod param;
mod qemu;
mod readme;
mod receivers;
mod routers;
mod schedule;
mod shell;
mod template;
mod tidy;
mod unprivileged;
mod watch;
