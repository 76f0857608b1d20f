//! `lastwords check`: every mistake in scenario files.

use std::io::{self, Write};

use crate::{
    cli::{CheckArguments, CommandError, renderer},
    report::Exit,
    suite::Suite,
};

/// Prints all mistakes, or how many files have none.
pub(crate) fn check(arguments: &CheckArguments) -> Result<Exit, CommandError> {
    let suite = Suite::read(&arguments.paths, &renderer())?;
    if suite.mistakes.is_empty() {
        let (files, cases) = (suite.files, suite.scenarios.len());
        writeln!(io::stdout(), "{files} files, {cases} cases, no mistakes")
            .map_err(CommandError::Output)?;
        return Ok(Exit::Success);
    }
    tell(&suite)?;
    Ok(Exit::Usage)
}

/// Prints the mistakes of a suite on standard error.
pub(crate) fn tell(suite: &Suite) -> Result<(), CommandError> {
    let mut out = anstream::stderr().lock();
    for mistake in &suite.mistakes {
        writeln!(out, "{mistake}\n").map_err(CommandError::Output)?;
    }
    let count = suite.count;
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    let files = if suite.files == 1 { "file" } else { "files" };
    writeln!(out, "{count} {mistakes} in {} {files}", suite.files).map_err(CommandError::Output)
}
