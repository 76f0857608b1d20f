//! A terminal here and a terminal in a guest, as one: what is typed goes there, what is said there is shown.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

use nix::{
    libc,
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, Stdin},
    net::UnixStream,
};

nix::ioctl_read_bad!(
    /// Asks a terminal for its size (`man 2 TIOCGWINSZ`).
    read_size, libc::TIOCGWINSZ, libc::winsize);

/// Ctrl-], as telnet has it.
const AWAY: u8 = 0x1d;

/// How somebody left a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The shell has ended.
    Exit,
    /// Ctrl-]: the shell goes on.
    Away,
    /// The machine is gone.
    Gone,
}

/// Whether there is a terminal to look through.
pub(super) fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Rows and columns of the terminal.
pub(super) fn size() -> (u16, u16) {
    let mut size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: standard output is open as long as the program runs, and the kernel writes one `winsize`.
    let _ = unsafe { read_size(libc::STDOUT_FILENO, &raw mut size) };
    (size.ws_row.max(1), size.ws_col.max(1))
}

/// Passes on both ways, until the shell says `farewell`, or Ctrl-] is typed, or the machine is gone.
pub(super) async fn relay(
    keyboard: &mut BufReader<Stdin>,
    terminal: &mut UnixStream,
    farewell: &[u8],
) -> io::Result<Left> {
    let _raw = Raw::set()?;
    let mut screen = Screen::new(farewell);
    let (mut typed, mut said) = ([0; 1024], [0; 4096]);
    loop {
        tokio::select! {
            count = keyboard.read(&mut typed) => {
                let keys = &typed[..count?];
                let away = keys.iter().position(|key| *key == AWAY);
                let until = away.unwrap_or(keys.len());
                if terminal.write_all(&keys[..until]).await.is_err() {
                    return Ok(Left::Gone);
                }
                if away.is_some() || keys.is_empty() {
                    return Ok(Left::Away);
                }
            }
            count = terminal.read(&mut said) => match count {
                Ok(0) | Err(_) => return Ok(Left::Gone),
                Ok(count) => if screen.show(&said[..count])? {
                    return Ok(Left::Exit);
                }
            }
        }
    }
}

/// What is shown, up to the farewell.
struct Screen<'a> {
    farewell: &'a [u8],
    /// What may be the start of a farewell.
    held: Vec<u8>,
}

impl<'a> Screen<'a> {
    fn new(farewell: &'a [u8]) -> Self {
        Self {
            farewell,
            held: Vec::new(),
        }
    }

    /// Shows `bytes`; true when they end with the farewell.
    fn show(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let (shown, over) = self.split(bytes);
        let mut out = io::stdout().lock();
        out.write_all(&shown)?;
        out.flush()?;
        Ok(over)
    }

    fn split(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.held.extend_from_slice(bytes);
        let found = self
            .held
            .windows(self.farewell.len())
            .position(|window| window == self.farewell);
        if let Some(start) = found {
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let longest = self.held.len().min(self.farewell.len() - 1);
        let keep = (1..=longest)
            .rev()
            .find(|length| self.held.ends_with(&self.farewell[..*length]))
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }
}

/// The terminal here passes on every key; it is put back when dropped.
struct Raw(Termios);

impl Raw {
    fn set() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_all_but_the_farewell_in_whatever_pieces_it_comes() {
        let all = b"a\x1bb\x1b]bye-ye\x1b]bye\x07after";
        for cut in 0..all.len() {
            let mut screen = Screen::new(b"\x1b]bye\x07");
            let (mut shown, mut over) = screen.split(&all[..cut]);
            if !over {
                let (rest, is_over) = screen.split(&all[cut..]);
                shown.extend(rest);
                over = is_over;
            }
            assert!(over, "{cut}");
            assert_eq!(shown, b"a\x1bb\x1b]bye-ye", "{cut}");
        }
    }
}
