//! Compares JSON messages by meaning: the order of keys does not matter, and a string with a JSON
//! document is compared as a document, but only with another string: `"{}"` is not `{}`.

use serde_json::Value;

/// Whether both values mean the same. In `expected`, the text `$any` matches any value and
/// `$number` any number.
pub fn same(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (_, Value::String(any)) if any == "$any" => true,
        (Value::Number(_), Value::String(number)) if number == "$number" => true,
        (Value::String(got), Value::String(expected)) => {
            got == expected
                || matches!((document(got), document(expected)), (Some(a), Some(b)) if same(&a, &b))
        }
        (Value::Array(got), Value::Array(expected)) => {
            got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| same(a, b))
        }
        (Value::Object(got), Value::Object(expected)) => {
            got.len() == expected.len()
                && got.iter().all(|(name, a)| expected.get(name).is_some_and(|b| same(a, b)))
        }
        _ => got == expected,
    }
}

/// Panics with both values if they differ in meaning.
#[track_caller]
pub fn assert_same(got: &Value, expected: &Value) {
    assert!(same(got, expected), "\n     got: {got}\nexpected: {expected}");
}

/// The object or list in a string, if there is one.
fn document(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
}
