//! The description of the interface for machines, made from the table of routes and `openapi.json`.
//!
//! `openapi.json` holds what a table cannot: schemas, and for each route its words, parameters, body and answers.
//! Who may use a route comes from the table. A test holds the two together, another (`tests/routes.rs`) holds
//! real answers against the schemas.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{ApiError, ROUTES, Route};
use crate::tokens::Role;

/// Schemas and routes by hand.
const BY_HAND: &str = include_str!("openapi.json");

pub(super) async fn document() -> Result<Json<Value>, ApiError> {
    let text = "the description of the interface cannot be read";
    build().map(Json).ok_or_else(|| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text))
}

/// The whole document; `None` when `openapi.json` is none.
fn build() -> Option<Value> {
    let by_hand: Value = serde_json::from_str(BY_HAND).ok()?;
    let mut paths = Map::new();
    for route in ROUTES {
        let method = route.method.as_str().to_lowercase();
        let words = by_hand.get("routes")?.get(format!("{} {}", route.method, route.path))?;
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method] = operation(route, words)?;
    }
    Some(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lampguard", "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": by_hand.get("schemas")?,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "lampguard_session" },
            },
        },
    }))
}

fn operation(route: &Route, words: &Value) -> Option<Value> {
    let content = |schema: &Value| match schema.as_str() {
        Some("text") => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Some("page") => json!({ "text/html": { "schema": { "type": "string" } } }),
        Some("form") => {
            json!({ "application/x-www-form-urlencoded": { "schema": { "type": "object" } } })
        }
        Some("csv") => json!({ "text/csv": { "schema": { "type": "string" } } }),
        Some("bytes") => {
            json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } })
        }
        Some("image") => {
            json!({ "image/png": { "schema": { "type": "string", "format": "binary" } } })
        }
        Some("geojson") => json!({ "application/geo+json": { "schema": { "type": "object" } } }),
        Some("lines") => json!({ "application/x-ndjson": { "schema": { "type": "string" } } }),
        Some(name) => {
            json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } })
        }
        None => json!({ "application/json": { "schema": schema } }),
    };
    let mut answers = Map::new();
    for (status, schema) in words.get("answers")?.as_object()? {
        answers.insert(status.clone(), json!({ "description": "", "content": content(schema) }));
    }
    let fault = |text: &str| json!({ "description": text, "content": content(&json!("Fault")) });
    answers.insert("default".to_owned(), fault("a fault"));
    let mut operation = json!({
        "summary": words.get("summary")?, "parameters": parameters(route.path, words), "responses": answers,
    });
    if let Some(roles) = route.access.roles() {
        let names: Vec<&str> = roles.iter().map(|role: &Role| role.name()).collect();
        operation["security"] = json!([{ "token": [] }, { "session": [] }]);
        operation["x-roles"] = json!(names);
        // Pages name their own: a page of the fault.
        for (status, text) in [("401", "no token, or none that is known"), ("403", "a role that may not")] {
            if operation["responses"].get(status).is_none() {
                operation["responses"][status] = fault(text);
            }
        }
    }
    if let Some(body) = words.get("body") {
        let required = words.get("body_optional").is_none();
        operation["requestBody"] = json!({ "required": required, "content": content(body) });
    }
    Some(operation)
}

/// Those in braces of the path, and the words of the query.
fn parameters(path: &str, words: &Value) -> Vec<Value> {
    let within = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let text = || json!({ "type": "string" });
    let schema = |name: &str| match name {
        "move" => json!({ "$ref": "#/components/schemas/MoveName" }),
        _ => text(),
    };
    let mut found: Vec<Value> = within
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema(name) }))
        .collect();
    let query = words.get("query").and_then(Value::as_array);
    for name in query.into_iter().flatten() {
        found.push(json!({ "name": name, "in": "query", "schema": text() }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` in a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_is_described_that_is_no_route() {
        let document = build().expect("openapi.json describes every route of the table");
        let by_hand: Value = serde_json::from_str(BY_HAND).unwrap();
        let described: Vec<&String> = by_hand["routes"].as_object().unwrap().keys().collect();
        for name in &described {
            let known = ROUTES.iter().any(|route| **name == format!("{} {}", route.method, route.path));
            assert!(known, "{name} is described and is no route");
        }
        assert_eq!(described.len(), ROUTES.len());
        let mut used = Vec::new();
        references(&document, &mut used);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in used.iter().map(|used| used.trim_start_matches("#/components/schemas/")) {
            assert!(schemas.contains_key(name), "schema {name} is used and not there");
        }
        for name in schemas.keys() {
            assert!(used.iter().any(|used| used.ends_with(&format!("/{name}"))), "schema {name} is not used");
        }
    }

    #[test]
    fn moves_of_the_description_are_the_moves_there_are() {
        let document = build().unwrap();
        let moves = &document["components"]["schemas"]["MoveName"]["enum"];
        let names = lampguard_alerting::life::VERBS.map(|verb| verb.name());
        assert_eq!(*moves, json!(names));
        let states = &document["components"]["schemas"]["Incident"]["properties"]["state"]["enum"];
        assert_eq!(*states, json!(lampguard_alerting::life::STAGES.map(|stage| stage.name())));
    }
}
