//! Reads values of a file into the types of the file as written, and collects every mistake on the way.
//!
//! serde stops at the first mistake; here a value that cannot be read is left out, its mistake noted, and the rest is
//! read on. The JSON Schema comes from the same types. What the values mean together is not known here.

pub(crate) mod form;
pub(crate) mod network;
pub(crate) mod scalar;
#[macro_use]
pub(crate) mod table;
pub(crate) mod word;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::scenario::{
    mistake::{Mistake, Mistakes},
    tree::{At, Value},
};

/// A type that a value of the file can be read into.
pub(crate) trait Read: Sized {
    /// What it is, for messages: `a text`.
    fn expected() -> String;

    /// Whether `value` is of its kind, whatever else may be wrong with it.
    fn fits(value: &Value<'_>) -> bool;

    /// Reads a value of its kind. `None`: there were mistakes, and they are noted.
    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self>;
}

/// Reads `value`, or notes that something else was expected.
pub(crate) fn read<T: Read>(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<At<T>> {
    if value.value == Value::Unfilled {
        return None;
    }
    if !T::fits(&value.value) {
        let title = format!("expected {}, found {}", T::expected(), value.value.kind());
        mistakes.add(Mistake::at(value.span, title).label(format!("expected {}", T::expected())));
        return None;
    }
    T::read(value, mistakes).map(|read| value.with(read))
}

/// A list; what cannot be read is left out.
impl<T: Read> Read for Vec<At<T>> {
    fn expected() -> String {
        "a list".to_owned()
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Array(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        let Value::Array(values) = &value.value else {
            return None;
        };
        Some(
            values
                .iter()
                .filter_map(|value| read(value, mistakes))
                .collect(),
        )
    }
}

/// A list that keeps the places of what cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Entries<T>(pub(crate) Vec<Option<At<T>>>);

impl<T> Entries<T> {
    /// What could be read.
    pub(crate) fn read(&self) -> impl Iterator<Item = &At<T>> {
        self.0.iter().flatten()
    }
}

impl<T: Read> Read for Entries<T> {
    fn expected() -> String {
        "a list".to_owned()
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Array(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        let Value::Array(values) = &value.value else {
            return None;
        };
        Some(Self(
            values.iter().map(|value| read(value, mistakes)).collect(),
        ))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Entries_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// One of two kinds of value.
#[derive(Debug, Clone)]
pub(crate) enum Either<A, B> {
    One(A),
    Other(B),
}

impl<A: Read, B: Read> Read for Either<A, B> {
    fn expected() -> String {
        format!("{} or {}", A::expected(), B::expected())
    }

    fn fits(value: &Value<'_>) -> bool {
        A::fits(value) || B::fits(value)
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        if A::fits(&value.value) {
            A::read(value, mistakes).map(Self::One)
        } else {
            B::read(value, mistakes).map(Self::Other)
        }
    }
}

impl<A: JsonSchema, B: JsonSchema> JsonSchema for Either<A, B> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", A::schema_name(), B::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "anyOf": [generator.subschema_for::<A>(), generator.subschema_for::<B>()] })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct Many<T>(pub(crate) Vec<At<T>>);

impl<T: Read> Read for Many<T> {
    fn expected() -> String {
        format!("{} or a list", T::expected())
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Array(_)) || T::fits(value)
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        if matches!(value.value, Value::Array(_)) {
            return Read::read(value, mistakes).map(Self);
        }
        read(value, mistakes).map(|one| Self(vec![one]))
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Either::<T, Vec<T>>::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A table whose keys are names of the user's, in the file's order.
#[derive(Debug, Clone)]
pub(crate) struct Map<T>(pub(crate) Vec<(At<String>, Option<At<T>>)>);

impl<T: Read> Read for Map<T> {
    fn expected() -> String {
        "a table".to_owned()
    }

    fn fits(value: &Value<'_>) -> bool {
        matches!(value, Value::Table(_))
    }

    fn read(value: &At<Value<'_>>, mistakes: &mut Mistakes<'_>) -> Option<Self> {
        let Value::Table(table) = &value.value else {
            return None;
        };
        let entries = table.entries.iter();
        Some(Self(
            entries
                .map(|(key, value)| {
                    (
                        key.with(key.value.clone().into_owned()),
                        read(value, mistakes),
                    )
                })
                .collect(),
        ))
    }
}

impl<T: JsonSchema> JsonSchema for Map<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Map_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}
