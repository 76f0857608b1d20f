//! Waits until an expectation can be judged, and has it judged.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    kernel::Request,
    run::{
        Error,
        stage::{Silence, Stage},
        trouble::{Failed, Trouble},
    },
    scenario::{Absent, Expect, NodeIndex, Step},
    verdict::Ended,
};
