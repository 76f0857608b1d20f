//! What a kernel can be made to go through, as written: SysRq keys, oopses, panics, hangs, NMIs.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::scenario::{
    mistake::{Mistake, Mistakes},
    read::{
        Read,
        form::{Fault, Form, forms},
        scalar::Number,
        table::table,
        word::Word,
    },
    step::{Hang, Oops},
    tree::{At, Value},
};

table! {
    /// Makes the kernel panic.
    "`panic`" struct Panic {
        /// Seconds until it reboots, as `kernel.panic` has them: `0` never, `-1` at once; as it is set without it.
        "timeout" timeout: Timeout,
    }
}

table! {
    /// Makes a processor, or a process on it, hang in the kernel.
    "`hang`" struct Hanging {
        /// How.
        required "kind" kind: Hang,
        /// Which processor, counted from 0; the first without it, which is the one that an NMI button reaches.
        "cpu" cpu: Number<0, 63>,
    }
}

forms!(Key);

/// A key that is pressed together with SysRq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) char);

impl Form for Key {
    const WHAT: &'static str = "a SysRq key";
    const LIKE: &'static str = "one letter or digit, `\"m\"`";

    fn parse(text: &str) -> Result<Self, Fault> {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(key), None) if key.is_ascii_alphanumeric() => Ok(Self(key)),
            _ => Err(Fault::default()),
        }
    }
}

/// `true`: what stands there is done. There is no other value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Yes;

impl Read for Yes {
    fn expected() -> String {
        "`true`".to_owned()
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Boolean(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        if value.value == Value::Boolean(true) {
            return Some(Self);
        }
        let mistake = Mistake::at(value.span, "a step that does nothing");
        mistakes.add(mistake.help("write `true`, or leave the step out"));
        None
    }
}

impl JsonSchema for Yes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Yes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": true })
    }
}

/// A value of `kernel.panic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) i32);

impl Timeout {
    /// An hour: more is none for a test.
    const MOST: i32 = 3600;
}

impl Read for Timeout {
    fn expected() -> String {
        format!("an integer from -1 to {}", Self::MOST)
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Integer(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        let Value::Integer(number) = value.value else {
            return None;
        };
        let within = i32::try_from(number)
            .ok()
            .filter(|number| (-1..=Self::MOST).contains(number));
        if within.is_none() {
            let title = format!("expected {}, found {number}", Self::expected());
            mistakes.add(
                Mistake::at(value.span, title)
                    .help("`0` never reboots, `-1` at once, any other after so many seconds"),
            );
        }
        within.map(Self)
    }
}

impl JsonSchema for Timeout {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": -1, "maximum": Self::MOST })
    }
}

impl Word for Hang {
    const WHAT: &'static str = "way to hang";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("soft", Self::Soft),
        ("hard", Self::Hard),
        ("task", Self::Task),
    ];
}

impl Word for Oops {
    const WHAT: &'static str = "kind of oops";
    const WORDS: &'static [(&'static str, Self)] = &[("bug", Self::Bug), ("warn", Self::Warn)];
}
