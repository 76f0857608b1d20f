//! Boots any Linux kernel in QEMU: kernel sources and modules, vmlinux extraction, initramfs, machine, guest channel.
//!
//! This crate knows nothing of netconsole and judges nothing.

mod archive;
pub mod cache;
pub mod error;
pub mod initramfs;
pub mod kernel;
pub mod modules;
