//! Something to know about a parameter.

use schemars::JsonSchema;
use serde::Serialize;

use crate::netconsole::parameter::Field;

/// How bad a [`Finding`] is. A later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Note,
    /// It may lose lines.
    Warning,
    /// It will not work.
    Error,
}

/// Something to know about a parameter, or about the machine that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// A stable name.
    pub(crate) code: &'static str,
    /// The field that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<Field>,
    /// A sentence without its period.
    pub(crate) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn error(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, text.into())
    }

    pub(crate) fn warning(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, text.into())
    }

    pub(crate) fn note(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, text.into())
    }

    fn new(severity: Severity, code: &'static str, text: String) -> Self {
        Self {
            severity,
            code,
            field: None,
            text,
            help: None,
        }
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says which field it is about.
    pub(crate) fn about(mut self, field: Field) -> Self {
        self.field = Some(field);
        self
    }
}

/// Whether one of them says that it will not work.
pub(crate) fn is_wrong<'finding>(findings: impl IntoIterator<Item = &'finding Finding>) -> bool {
    findings
        .into_iter()
        .any(|finding| finding.severity == Severity::Error)
}
