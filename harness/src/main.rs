//! The program `lastwords`.

mod lab;
mod netconsole;
mod scenario;

fn main() {}
