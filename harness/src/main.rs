//! The program `lastwords`: the command line outside, and PID 1 inside the guests that it boots.

mod cli;
mod kernel;
mod lab;
mod netconsole;
mod netlink;
mod param;
mod receiver;
mod report;
mod run;
mod scenario;
mod suite;
mod verdict;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    if lastwords_vm::init::is_init() {
        kernel::agent::serve();
    }
    if std::env::args().skip(1).eq([receiver::keeper::ARGUMENT]) {
        receiver::keeper::serve();
    }
    cli::main()
}
