//! Holds real answers against the schemas of `/api/v1/openapi.json`: types, required and unknown keys, lists of
//! words, references. Enough for our document; what it does not know it refuses.

use serde_json::Value;

const KNOWN: [&str; 14] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "$ref",
    "format",
    "description",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
];

/// Every fault of a value, each with its place.
pub fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(map) = schema.as_object() else {
        found.push(format!("{at}: the schema is no object"));
        return;
    };
    for word in map.keys().filter(|word| !KNOWN.contains(&word.as_str())) {
        found.push(format!("{at}: {word} is not known to this check"));
    }
    if let Some(name) = map.get("$ref").and_then(Value::as_str) {
        match document.pointer(name.trim_start_matches('#')) {
            Some(schema) => check(document, schema, value, at, found),
            None => found.push(format!("{at}: {name} is not in the document")),
        }
    }
    if let Some(any) = map.get("anyOf").and_then(Value::as_array) {
        let fits = |schema: &&Value| faults(document, schema, value).is_empty();
        if any.iter().find(fits).is_none() {
            found.push(format!("{at}: {value} is none of {any:?}"));
        }
    }
    if let Some(types) = map.get("type") {
        let one = std::slice::from_ref(types);
        let types = types.as_array().map_or(one, Vec::as_slice);
        if !types.iter().any(|kind| is_of(kind, value)) {
            found.push(format!("{at}: {value} is not {types:?}"));
        }
    }
    if map.get("enum").and_then(Value::as_array).is_some_and(|words| !words.contains(value)) {
        found.push(format!("{at}: {value} is none of {}", map["enum"]));
    }
    if map.get("format").is_some_and(|format| format == "date-time")
        && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err())
    {
        found.push(format!("{at}: {value} is no time"));
    }
    if let (Some(items), Some(values)) = (map.get("items"), value.as_array()) {
        for (n, value) in values.iter().enumerate() {
            check(document, items, value, &format!("{at}/{n}"), found);
        }
    }
    if let Some(values) = value.as_object() {
        check_keys(document, schema, values, at, found);
    }
}

fn check_keys(
    document: &Value,
    schema: &Value,
    values: &serde_json::Map<String, Value>,
    at: &str,
    found: &mut Vec<String>,
) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !values.contains_key(name) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, value) in values {
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => check(document, schema, value, &format!("{at}/{name}"), found),
            (None, Value::Bool(false)) => found.push(format!("{at}: {name} is not described")),
            (None, rest @ Value::Object(_)) => check(document, rest, value, &format!("{at}/{name}"), found),
            _ => {}
        }
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}
