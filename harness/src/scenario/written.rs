//! A scenario file as written: every table and key of the language, its type, and its JSON Schema.
//!
//! Nothing is resolved here; what the keys mean together is [`crate::scenario::meaning`]'s.

pub(crate) mod expectation;
pub(crate) mod node;
pub(crate) mod ordeal;
pub(crate) mod step;
pub(crate) mod target;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::scenario::{
    mistake::Mistakes,
    read::{Either, Entries, Many, Map, Read, form::KernelRanges, table::table, word::Word},
    tree::{At, Value},
    written::{
        node::{Link, Node},
        step::Step,
        target::Target,
    },
};

table! {
    /// A scenario: machines, what lies between them, and what is done and expected, in order.
    "a scenario" struct File {
        /// What the scenario shows, in one sentence.
        required "title" title: String,
        /// The machines by name. Without it: a sender `sender` and a receiver `receiver`.
        "nodes" nodes: Map<Node>,
        /// The Ethernet segments. Without it, two nodes share one.
        "links" links: Entries<Link>,
        /// The netconsole targets, in the order in which they are set up. Without it: one by modprobe.
        "targets" targets: Vec<At<Target>>,
        /// Conditions without which the scenario makes no sense.
        "needs" needs: Needs,
        /// Failures that are the kernel's own.
        "known" known: Vec<At<Known>>,
        /// Values by name: one case for each combination. `${name}` stands for the value anywhere in the file.
        "matrix" matrix: Matrix,
        /// What is done and expected, in order.
        required "steps" steps: Vec<At<Step>>,
    }
}

table! {
    /// Conditions without which a scenario makes no sense.
    "`needs`" struct Needs {
        /// Versions of the kernel under test that all must hold: `>=6.9, <7.3`.
        "kernel" kernel: KernelRanges,
        /// Kernel options that must be `y` or `m`, without `CONFIG_`.
        "config" config: Many<String>,
        /// Kernel modules that must be there.
        "module" module: Many<String>,
        /// Programs that must be there.
        "program" program: Many<String>,
        /// Whether a kernel that others use, too, will not do.
        "own-kernel" own_kernel: bool,
    }
}

table! {
    /// A failure that is the kernel's own: reported as `known`, and a pass is a failure.
    "`known`" struct Known {
        /// Only on these versions of the kernel.
        "kernel" kernel: KernelRanges,
        /// Only on this backend.
        "backend" backend: Backend,
        /// Why it fails, in one sentence.
        required "because" because: String,
        /// Where it is reported or discussed.
        "link" link: String,
    }
}

/// Where a sender's kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum Backend {
    Vm,
    Netns,
    Guest,
    Live,
}

impl Word for Backend {
    const WHAT: &'static str = "backend";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("vm", Self::Vm),
        ("netns", Self::Netns),
        ("guest", Self::Guest),
        ("live", Self::Live),
    ];
}

/// `matrix`, which [`crate::scenario::matrix`] has read already.
#[derive(Debug, Clone)]
pub(crate) struct Matrix;

impl Read for Matrix {
    fn expected() -> String {
        "a table".to_owned()
    }

    fn fits(_: &Value<'_>) -> bool {
        true
    }

    fn read(_: &At<Value<'_>>, _: &mut Mistakes<'_>) -> Option<Self> {
        Some(Self)
    }
}

impl JsonSchema for Matrix {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Matrix".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<Either<String, Either<i64, bool>>>();
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": { "type": "array", "minItems": 1, "uniqueItems": true, "items": value },
        })
    }
}
