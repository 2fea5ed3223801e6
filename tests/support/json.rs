//! Messages compared by what they say: key order is free, and a string that holds a JSON document
//! is compared as that document. A string stays a string, though: `"{}"` is not `{}`.

use serde_json::Value;

/// Whether both say the same. In `expected` the text `$any` stands for any value, `$number` for any
/// number.
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

/// Fails with both values when they do not say the same.
#[track_caller]
pub fn assert_same(got: &Value, expected: &Value) {
    assert!(same(got, expected), "\n     got: {got}\nexpected: {expected}");
}

/// The object or list a string holds, if it holds one.
fn document(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
}
