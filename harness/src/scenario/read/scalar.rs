//! Single values without a form of their own: texts, booleans, numbers.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::scenario::{
    mistake::{Mistake, Mistakes},
    read::{Read, read},
    tree::{At, Value},
};

impl Read for String {
    fn expected() -> String {
        "a text".to_owned()
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(value: &At<Value<'_>>, _: &mut Mistakes<'_>) -> Option<Self> {
        match &value.value {
            Value::Text(text) => Some(text.clone().into_owned()),
            _ => None,
        }
    }
}

impl Read for bool {
    fn expected() -> String {
        "`true` or `false`".to_owned()
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Boolean(_))
    }

    fn read(value: &At<Value<'_>>, _: &mut Mistakes<'_>) -> Option<Self> {
        match value.value {
            Value::Boolean(boolean) => Some(boolean),
            _ => None,
        }
    }
}

/// An integer from `LEAST` to `MOST`. Invariant: it is within them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number<const LEAST: u32, const MOST: u32>(u32);

/// A UDP port.
pub(crate) type Port = Number<1, 65535>;
/// How often something is done or must arrive.
pub(crate) type Count = Number<1, 100_000>;

impl<const LEAST: u32, const MOST: u32> Number<LEAST, MOST> {
    /// The number as whatever type can hold the limits.
    pub(crate) fn get<T: TryFrom<u32>>(self) -> T {
        T::try_from(self.0).unwrap_or_else(|_| {
            panic!("a number from {LEAST} to {MOST} fits the type that it is asked for")
        })
    }
}

impl<const LEAST: u32, const MOST: u32> Read for Number<LEAST, MOST> {
    fn expected() -> String {
        format!("an integer from {LEAST} to {MOST}")
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Integer(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        let Value::Integer(number) = value.value else {
            return None;
        };
        let within = u32::try_from(number)
            .ok()
            .filter(|number| (LEAST..=MOST).contains(number));
        if within.is_none() {
            // What is beyond the tree's numbers is shown as written.
            let source = mistakes
                .text
                .get(value.span.range())
                .filter(|_| number == i128::MAX || number == i128::MIN);
            let found = source.map_or_else(|| number.to_string(), str::to_owned);
            mistakes.add(Mistake::at(
                value.span,
                format!("expected {}, found {found}", Self::expected()),
            ));
        }
        within.map(Self)
    }
}

impl<const LEAST: u32, const MOST: u32> JsonSchema for Number<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number_{LEAST}_{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

/// `"default"`, or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OrDefault<T> {
    Default,
    Value(T),
}

impl<T: Read> Read for OrDefault<T> {
    fn expected() -> String {
        format!("{} or `\"default\"`", T::expected())
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Text(_)) || T::fits(value)
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        match &value.value {
            Value::Text(text) if text == "default" => Some(Self::Default),
            _ => read(value, mistakes).map(|read| Self::Value(read.value)),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OrDefault<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OrDefault_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "default" }, generator.subschema_for::<T>()] })
    }
}
