//! JSON Schemas: that of the language, for editors, from the types that read a file; and how any is made.

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, transform_subschemas},
};
use serde_json::{Value, json};

use crate::scenario::written::File;

/// The drafts of JSON Schema that it is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draft {
    /// The newest.
    Draft2020_12,
    /// What most editors know.
    Draft07,
}

/// The language's schema as a JSON text.
pub(crate) fn schema(draft: Draft) -> String {
    let settings = settings(draft)
        .with_transform(RecursiveTransform(without_null))
        .with_transform(or_placeholder as fn(&mut Schema));
    written::<File>(settings, "A scenario of lastwords")
}

/// The schema of what this program prints as a `T`, as a JSON text.
pub(crate) fn printed<T: JsonSchema>(draft: Draft, title: &str) -> String {
    written::<T>(settings(draft).for_serialize(), title)
}

fn settings(draft: Draft) -> SchemaSettings {
    match draft {
        Draft::Draft2020_12 => SchemaSettings::draft2020_12(),
        Draft::Draft07 => SchemaSettings::draft07(),
    }
}

fn written<T: JsonSchema>(settings: SchemaSettings, title: &str) -> String {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(title));
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema has string keys only");
    text.push('\n');
    text
}

/// A key may be left out, but TOML has no null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                if schema.get(&key).is_none() {
                    schema.insert(key, value);
                }
            }
        }
    }
}

/// A value of a matrix may stand for anything that is no table or list: `"${nic}"`.
fn or_placeholder(schema: &mut Schema) {
    let is_scalar = ["integer", "boolean"]
        .iter()
        .any(|kind| schema.get("type") == Some(&json!(kind)));
    if !is_scalar && !is_word(schema.as_value()) {
        return transform_subschemas(&mut or_placeholder, schema);
    }
    let mut value = std::mem::take(schema);
    let description = value.remove("description");
    let placeholder = json!({ "type": "string", "pattern": r"^\$\{[^}]+\}$" });
    *schema = schemars::json_schema!({ "anyOf": [value, placeholder] });
    if let Some(description) = description {
        schema.insert("description".to_owned(), description);
    }
}

/// Whether it is one word of a few, documented or not.
fn is_word(schema: &Value) -> bool {
    let choices = schema.get("oneOf").and_then(Value::as_array);
    schema.get("enum").is_some()
        || schema.get("const").is_some()
        || choices.is_some_and(|choices| choices.iter().all(is_word))
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::newest(schema(Draft::Draft2020_12), "schema.json")]
    #[case::for_editors(schema(Draft::Draft07), "schema.draft07.json")]
    #[case::what_param_prints(
        crate::param::document::schema(Draft::Draft2020_12),
        "param/schema.json"
    )]
    fn is_kept_current(#[case] schema: String, #[case] name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../scenarios")
            .join(name);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &schema).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == schema,
            "run the tests with UPDATE=1"
        );
    }
}
