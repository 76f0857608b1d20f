//! Boots any Linux kernel in QEMU: kernel sources and modules, vmlinux extraction, initramfs, machine, templates, guest
//! channel.
//!
//! This crate knows nothing of netconsole and judges nothing.

pub mod accelerator;
mod archive;
pub mod boot;
pub mod cache;
pub mod channel;
pub mod debugger;
pub mod error;
pub mod init;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod memory;
pub mod modules;
pub mod patience;
pub mod printk;
pub mod qemu;
pub mod qmp;
pub mod template;
mod tsc;
