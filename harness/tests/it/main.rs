//! Tests of the built program, from outside: standard output, standard error, exit code, and what is left behind.

mod boot;
mod death;
mod exit;
mod home;
mod hostile;
mod image;
mod output;
mod qemu;
mod template;
mod tidy;
mod unprivileged;
