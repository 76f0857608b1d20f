//! Tables with known keys.

use crate::scenario::{
    mistake::{Mistake, Mistakes, list, nearest},
    read::{Read, read},
    tree::{At, Span, Table, Value},
};

/// Takes keys out of a table by name.
pub(crate) struct Keys<'v, 't> {
    table: &'v Table<'t>,
    span: Span,
}

impl<'v, 't> Keys<'v, 't> {
    /// The keys of `value`; none where it is no table.
    pub(crate) fn of(value: &'v At<Value<'t>>) -> Option<Self> {
        match &value.value {
            Value::Table(table) => Some(Self {
                table,
                span: value.span,
            }),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Time
            | Value::Array(_)
            | Value::Unfilled => None,
        }
    }

    /// Reads the value of `key`, if it is there.
    pub(crate) fn take<T: Read>(&self, key: &str, mistakes: &mut Mistakes<'_>) -> Option<At<T>> {
        let (_, value) = self
            .table
            .entries
            .iter()
            .find(|(name, _)| name.value == key)?;
        read(value, mistakes)
    }

    /// Notes the keys that are none of `known`, and those of `required` that are missing; `what` has them.
    pub(crate) fn check(
        &self,
        what: &str,
        known: &[&'static str],
        required: &[&str],
        mistakes: &mut Mistakes<'_>,
    ) {
        for (name, _) in &self.table.entries {
            if !known.contains(&name.value.as_ref()) {
                let title = format!("unknown key `{}` in {what}", name.value);
                mistakes.add(
                    Mistake::at(name.span, title).did_you_mean(&name.value, known.iter().copied()),
                );
            }
        }
        for key in required {
            let misspelt = |name: &str| !known.contains(&name) && nearest(name, &[key]).is_some();
            let there = self
                .table
                .entries
                .iter()
                .any(|(name, _)| name.value == *key || misspelt(&name.value));
            if !there {
                mistakes.add(
                    Mistake::at(self.span, format!("{what} needs `{key}`"))
                        .label(format!("`{key}` is missing")),
                );
            }
        }
    }

    /// Where the table stands.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Where `key` stands, if it is there.
    pub(crate) fn place(&self, key: &str) -> Option<Span> {
        self.table
            .entries
            .iter()
            .find(|(name, _)| name.value == key)
            .map(|(name, _)| name.span)
    }

    /// Whether there is a key that is none of `known`.
    pub(crate) fn has_other_than(&self, known: &[&str]) -> bool {
        self.table
            .entries
            .iter()
            .any(|(name, _)| !known.contains(&name.value.as_ref()))
    }

    /// Whether there is a key that is most likely meant to be one of `keys`.
    pub(crate) fn has_one_like(&self, keys: &[&str]) -> bool {
        self.table
            .entries
            .iter()
            .any(|(name, _)| nearest(&name.value, keys).is_some())
    }

    /// Notes that there is not exactly one of `keys`; `what` has them.
    pub(crate) fn exactly_one(&self, what: &str, keys: &[&str], mistakes: &mut Mistakes<'_>) {
        let mut present: Vec<(&str, Span)> = keys
            .iter()
            .filter_map(|key| Some((*key, self.place(key)?)))
            .collect();
        present.sort_by_key(|(_, span)| *span);
        match present.as_slice() {
            // It was meant, and is noted already.
            [] if self.has_one_like(keys) => {}
            [] => mistakes.add(Mistake::at(
                self.span,
                format!(
                    "{what} needs one of {}",
                    list(keys).replace(" and ", " or ")
                ),
            )),
            [_] => {}
            [(one, first), others @ ..] => {
                for (other, span) in others {
                    let title = format!("{what} has either `{one}` or `{other}`, not both");
                    mistakes.add(Mistake::at(*span, title).context(*first, "the first"));
                }
            }
        }
    }
}

/// A table that was read.
pub(crate) trait Keyed {
    /// Where the value of `key` stands, if it is there and could be read.
    fn place(&self, key: &str) -> Option<Span>;
}

/// Defines a table of the language: a struct, how it is read, and its JSON Schema, each key once.
///
/// Every field is an `Option`: a key that is missing, or that could not be read. A missing `required` key is a mistake
/// that the reading notes, so nobody who uses the struct says anything of it again. `checked by` names a function that
/// notes what is wrong with the keys together.
macro_rules! table {
    (
        $(#[$attribute:meta])*
        $what:literal struct $name:ident $(checked by $check:path)? {
            $( $(#[$field_attribute:meta])* $($required:ident)? $key:literal $field:ident: $type:ty, )*
        }
    ) => {
        #[derive(Debug, Clone, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$attribute])*
        pub(crate) struct $name {
            $(
                $(#[$field_attribute])*
                #[schemars(rename = $key $(, $required)?)]
                pub(crate) $field: Option<$crate::scenario::tree::At<$type>>,
            )*
        }

        impl $name {
            /// The keys that it may have.
            pub(crate) const KEYS: &[&'static str] = &[$($key),*];
            const REQUIRED: &[&'static str] = &[$( $($crate::scenario::read::table::only!($required $key),)? )*];
        }

        impl $crate::scenario::read::table::Keyed for $name {
            fn place(&self, key: &str) -> Option<$crate::scenario::tree::Span> {
                match key {
                    $($key => self.$field.as_ref().map(|value| value.span),)*
                    _ => None,
                }
            }
        }

        impl $crate::scenario::read::Read for $name {
            fn expected() -> String {
                "a table".to_owned()
            }

            fn fits(value: &$crate::scenario::tree::Value<'_>) -> bool {
                matches!(value, $crate::scenario::tree::Value::Table(_))
            }

            fn read(
                value: &$crate::scenario::tree::At<$crate::scenario::tree::Value<'_>>,
                mistakes: &mut $crate::scenario::mistake::Mistakes<'_>,
            ) -> Option<Self> {
                let keys = $crate::scenario::read::table::Keys::of(value)?;
                keys.check($what, Self::KEYS, Self::REQUIRED, mistakes);
                $($check(&keys, mistakes);)?
                Some(Self { $($field: keys.take($key, mistakes),)* })
            }
        }
    };
}

/// The key, whatever marks it.
macro_rules! only {
    ($mark:ident $key:literal) => {
        $key
    };
}

pub(crate) use {only, table};
