//! The program `lastwords`.

mod netconsole;
mod scenario;
mod verdict;

fn main() {}
