//! The program `lastwords`.

mod kernel;
mod lab;
mod netconsole;
mod report;
mod scenario;

fn main() {
    if lastwords_vm::init::is_init() {
        kernel::agent::serve();
    }
}
