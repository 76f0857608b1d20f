//! Has a guest's PID 1 execute requests.

use lastwords_vm::channel::{Channel, ChannelError};

use crate::kernel::{Answer, Refusal, Request};

/// Asks `request` and waits for what came of it. The caller sets the deadline.
pub(crate) async fn execute(
    channel: &mut Channel,
    request: &Request,
) -> Result<Result<Answer, Refusal>, ChannelError> {
    channel.ask(request).await?;
    channel.answer().await
}
