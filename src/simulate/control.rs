//! Live control: a small HTTP interface that does things to a running city.
//!
//! It has no login, so it is for this machine alone: it listens on loopback only, and refuses what a web page in a
//! browser of this machine could send (an `Origin` header, a foreign `Host`, a body that is not JSON). The city
//! itself is owned by the publishing task; what is asked here goes to it as an [`Order`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lampguard_simulator::publish::Order;
use lampguard_simulator::{Command, CommandError};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::UsageError;
use crate::api::{ApiError, in_our_form};

/// Orders that wait for the city. When they are full a request waits [`PATIENCE`], then it is refused.
const ORDERS_MAX: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest body: a command has some hundred bytes.
const BODY_MAX: usize = 64 << 10;
/// Commands that have a route of their own: `POST /rain` is `{"do":"rain",…}`.
const WORDS: [&str; 7] = ["rain", "leak", "storm", "cut", "reclose", "drown", "repair"];

/// What does not change while a city runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) posts: u32,
    pub(crate) scenario: String,
    pub(crate) speed: f64,
}

#[derive(Clone)]
struct Control {
    facts: Facts,
    orders: mpsc::Sender<Order>,
}

/// Refuses an address that others could reach.
pub(crate) fn check(address: SocketAddr) -> Result<(), UsageError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(UsageError(format!(
        "--control {address} is not a loopback address, and live control has no login: take 127.0.0.1:{}",
        address.port()
    )))
}

/// Listens until the runtime ends. Returns the address that is really bound, and what the city has to obey.
pub(crate) async fn start(address: SocketAddr, facts: Facts) -> Result<(SocketAddr, mpsc::Receiver<Order>)> {
    check(address)?;
    let doing = || format!("listening for live control on {address}; take another port, or 0 for a free one");
    let socket = TcpListener::bind(address).await.with_context(doing)?;
    let bound = socket.local_addr().with_context(doing)?;
    let (orders, obeyed) = mpsc::channel(ORDERS_MAX);
    let router = router(Control { facts, orders });
    tokio::spawn(async move {
        if let Err(e) = axum::serve(socket, router).await {
            tracing::error!(error = %e, "live control ended");
        }
    });
    Ok((bound, obeyed))
}

fn router(control: Control) -> Router {
    let mut router = Router::new()
        .route("/", get(help))
        .route("/state", get(state))
        .route("/truth", get(truth))
        .route("/command", post(command));
    for word in WORDS {
        router = router.route(&format!("/{word}"), post(command));
    }
    router
        .fallback(|| async { ApiError::not_found("there is no such route; GET / lists them") })
        .layer(middleware::from_fn(guard))
        .with_state(control)
}

/// Lets pass what a person or a script of this machine sends, and nothing that a web page can.
async fn guard(request: Request, next: Next) -> Response {
    let refused = |text: &str| ApiError::new(StatusCode::FORBIDDEN, "forbidden", text).into_response();
    if request.headers().contains_key(header::ORIGIN) {
        return refused(
            "requests of web pages (with an Origin header) are refused: live control has no login",
        );
    }
    let named = request.uri().authority().map(Authority::as_str);
    if !is_ours(host(request.headers())) || named.is_some_and(|named| !is_ours(named)) {
        return refused("the Host header has to be 127.0.0.1, [::1] or localhost: live control has no login");
    }
    in_our_form(next.run(request).await).await
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("")
}

/// True for loopback addresses and `localhost`, with or without a port.
fn is_ours(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let plain = !host.contains('@');
    plain
        && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

async fn help(headers: HeaderMap) -> String {
    let at = host(&headers);
    let post = |path: &str, body: &str| {
        format!("curl -s http://{at}{path} -H 'Content-Type: application/json' -d '{body}'\n")
    };
    let lines = [
        post("/rain", r#"{"zone":"z1","rain_mm_h":20,"minutes":60,"warning":"yellow"}"#),
        post("/rain", r#"{"rain_mm_h":0,"minutes":1}"#),
        post("/leak", r#"{"post_id":"P00017","leakage_ma":45}"#),
        post("/storm", r#"{"posts":50}"#),
        post("/cut", r#"{"feeder":"F1-001"}"#),
        post("/reclose", r#"{"feeder":"F1-001"}"#),
        post("/drown", r#"{"post_id":"P00017"}"#),
        post("/repair", r#"{"post_id":"P00017"}"#),
        post("/command", r#"{"do":"leak","post_id":"P00017","leakage_ma":45}"#),
    ];
    format!(
        "lampguard: live control of a simulated city. Zones, posts and feeders by their ids in posts.csv.\n\n{}\n\
         how it stands:          curl -s http://{at}/state\n\
         the true hazards:       curl -s http://{at}/truth\n\n\
         Answers: {{\"done\":\"…\"}}, or {{\"error\":{{\"code\",\"message\"}}}} with 400, 403, 404, 409, 413 or 415.\n",
        lines.concat()
    )
}

async fn state(State(control): State<Control>) -> Result<axum::Json<Value>, ApiError> {
    let report = control.ask(Order::State).await?;
    let Facts { posts, scenario, speed } = &control.facts;
    let counts = report.counts;
    Ok(axum::Json(json!({
        "posts": posts, "scenario": scenario, "speed": speed,
        "connections": {
            "wanted": report.connections, "up": report.connected,
            "accepted": report.connects, "failures": report.link_failures,
        },
        "counts": {
            "readings": counts.readings, "alarms": counts.alarms, "duplicates": counts.duplicates,
            "out_of_order": counts.out_of_order, "false_values": counts.false_values, "weather": counts.weather,
        },
        "messages": {
            "handed": report.handed, "sent": report.sent, "acknowledged": report.acknowledged,
            "repeated": report.repeated, "dropped": report.dropped, "unacknowledged": report.unacknowledged(),
        },
        "behind_ms": report.behind_ms,
    })))
}

/// JSON lines, as `simulate --truth` writes them.
async fn truth(State(control): State<Control>) -> Result<Response, ApiError> {
    let hazards = control.ask(Order::Truth).await?;
    let mut lines = String::new();
    for hazard in hazards {
        lines += &serde_json::to_string(&hazard).map_err(ApiError::unavailable)?;
        lines.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn command(
    State(control): State<Control>,
    path: MatchedPath,
    request: Request,
) -> Result<axum::Json<Value>, ApiError> {
    let mut words = body(request).await?;
    let word = path.as_str().trim_start_matches('/');
    if word != "command" {
        match words.as_object_mut() {
            Some(words) if !words.contains_key("do") => words.insert("do".to_owned(), word.into()),
            _ => return Err(ApiError::bad(format!("the body of /{word} is a JSON object without \"do\""))),
        };
    }
    let command: Command =
        serde_json::from_value(words).map_err(|e| ApiError::bad(format!("reading the command: {e}")))?;
    let done = control.ask(|answer| Order::Do(command, answer)).await?;
    let done = done.map_err(|e| match e {
        CommandError::Unknown { .. } => ApiError::not_found(e.to_string()),
        CommandError::Range { .. } => ApiError::bad(e.to_string()),
        CommandError::TooMany { .. } => ApiError::new(StatusCode::CONFLICT, "too_many", e.to_string()),
    })?;
    Ok(axum::Json(json!({ "done": done })))
}

/// The JSON of a request. A form of a web page can neither name this content type nor be read as JSON.
async fn body(request: Request) -> Result<Value, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let text = "send the header Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", text));
    }
    let bytes = to_bytes(request.into_body(), BODY_MAX).await.map_err(|_| {
        let text = format!("the body is longer than {BODY_MAX} bytes, or broke off");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
    })?;
    serde_json::from_slice(&bytes).map_err(|e| ApiError::bad(format!("the body is not JSON: {e}")))
}

impl Control {
    /// Hands an order to the city and waits for its answer.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        let conflict = |code, text: &str| ApiError::new(StatusCode::CONFLICT, code, text);
        match self.orders.send_timeout(order(answer), PATIENCE).await {
            Ok(()) => answered.await.map_err(|_| conflict("ending", "the city is ending")),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(conflict("ending", "the city is ending")),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                let text = format!("{ORDERS_MAX} orders wait already and {} s went by", PATIENCE.as_secs());
                Err(conflict("busy", &text))
            }
        }
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
