//! Keys of the language whose values no version of the harness reads yet.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::scenario::{
    mistake::Mistakes,
    read::Read,
    tree::{At, Value},
};

/// The value of a step that is not built yet: anything.
#[derive(Debug, Clone)]
pub(crate) struct Later;

impl Read for Later {
    fn expected() -> String {
        "anything".to_owned()
    }

    fn fits(_: &Value<'_>) -> bool {
        true
    }

    fn read(_: &At<Value<'_>>, _: &mut Mistakes<'_>) -> Option<Self> {
        Some(Self)
    }
}

impl JsonSchema for Later {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Later".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "deprecated": true })
    }
}
