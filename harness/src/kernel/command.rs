//! Programs that a scenario runs.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use crate::kernel::{Refusal, request::Ran};

/// Where programs of a guest are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of each output is kept.
const OUTPUT_LIMIT: u64 = 64 << 10;

/// Runs `command` and waits for it, at most `within`; then it is killed.
pub(crate) async fn run(command: &[String], within: Duration) -> Result<Ran, Refusal> {
    run_with(command, &[], within).await
}

/// Runs `command` with these variables besides.
pub(crate) async fn run_with(
    command: &[String],
    variables: &[(&str, &str)],
    within: Duration,
) -> Result<Ran, Refusal> {
    let doing = || command.join(" ");
    let Some((program, arguments)) = command.split_first() else {
        return Err(Refusal::ours(doing(), "no program is named"));
    };
    let refused = |error: std::io::Error| Refusal::by_kernel(doing(), &error);
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(refused)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(read(output), read(errors), child.wait()) };
    let Ok((output, errors, status)) = timeout(within, work).await else {
        return Err(Refusal::too_late(
            doing(),
            format!("still running after {within:?}"),
        ));
    };
    Ok(Ran {
        status: status.map_err(refused)?.code(),
        output,
        errors,
    })
}

/// Reads to the end and keeps the start.
async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut kept = Vec::new();
    // What cannot be read is as good as not printed; the exit status still tells.
    let _ = (&mut pipe).take(OUTPUT_LIMIT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}
