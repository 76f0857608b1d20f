//! The program `lastwords`.

mod netconsole;
mod scenario;

fn main() {}
