//! Boots any Linux kernel in QEMU and talks to it. Knows nothing of netconsole.

pub mod accelerator;
pub mod channel;
pub mod init;
pub mod machine;
pub mod qemu;
pub mod qmp;
pub mod template;
