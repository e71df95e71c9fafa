//! The HTTP interface: one table of routes and who may use them; what is not in the table is refused.

pub(crate) mod admit;
mod forward;
mod incidents;
pub(crate) mod lang;
pub(crate) mod links;
mod live;
pub(crate) mod looks;
pub(crate) mod maps;
pub(crate) mod moves;
mod openapi;
mod page;
mod posts;
pub(crate) mod readings;
pub(crate) mod reports;
mod rota;
mod server;
mod signin;
mod system;
mod test_dispatch;
pub(crate) mod zones;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use lampguard_ingester::source::server_tls::ServerTls;
use lampguard_model::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use admit::Access;
pub(crate) use admit::Csrf;
pub(crate) use lang::Lang;
pub(crate) use links::CrewLink;
pub(crate) use server::tls_files;

use crate::metrics::Web;
use crate::pages;
use crate::serve::Instance;
use crate::tokens::Role::{Admin, Crew, Duty, Engineer, Node, Viewer};

/// Longest body: 10,000 readings.
const BODY_MAX: usize = 4 << 20;
const _: () =
    assert!(BODY_MAX <= lampguard_model::record::QUARANTINED_PAYLOAD_MAX, "a refused body is kept whole");
/// Items of a list without `limit`.
const LIMIT_DEFAULT: usize = 200;
/// Items of a list at most.
const LIMIT_MAX: usize = 1000;

pub(crate) type Shared = State<Arc<Instance>>;
type Answer = Result<axum::Json<Value>, ApiError>;

const OPEN: Access = Access::Open;
const EVERYBODY: Access = Access::Roles(&[Viewer, Duty, Crew, Engineer, Admin]);
const REPORTERS: Access = Access::Roles(&[Duty, Crew, Engineer, Admin]);
const OFFICE: Access = Access::Roles(&[Duty, Engineer, Admin]);
const DESK: Access = Access::Roles(&[Duty, Admin]);
const MOVERS: Access = Access::Roles(&[Duty, Crew, Admin]);
const NODES: Access = Access::Roles(&[Node]);
const TECHNICIANS: Access = Access::Roles(&[Engineer, Admin]);

/// One line of the table: the router is made of it, so a route without rights cannot be.
struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    handler: fn() -> MethodRouter<Arc<Instance>>,
}

const fn on(
    method: Method,
    path: &'static str,
    access: Access,
    handler: fn() -> MethodRouter<Arc<Instance>>,
) -> Route {
    Route { method, path, access, handler }
}

/// Every route, and who may use it. Which moves a crew may make stands in `moves.rs`.
static ROUTES: &[Route] = &[
    on(Method::GET, "/healthz", OPEN, || get(|| async { "ok\n" })),
    on(Method::GET, "/readyz", OPEN, || get(system::readyz)),
    on(Method::GET, "/metrics", OPEN, || get(system::metrics)),
    on(Method::GET, "/plain.css", OPEN, || get(page::style)),
    on(Method::GET, "/signin", OPEN, || get(signin::ask)),
    on(Method::POST, "/signin", OPEN, || post(signin::enter)),
    on(Method::GET, "/signout", OPEN, || get(signin::ask_out)),
    on(Method::POST, "/signout", OPEN, || post(signin::leave)),
    on(Method::GET, "/kiosk/{token}", OPEN, || get(signin::kiosk)),
    on(Method::GET, "/c/{token}", Access::Link, || get(pages::crew::show)),
    on(Method::POST, "/c/{token}/{move}", Access::Link, || post(pages::crew::act)),
    on(Method::GET, "/pages.css", OPEN, || get(pages::style)),
    // Grafana's map asks from a browser that has no session here.
    on(Method::GET, "/tiles/{z}/{x}/{y}", OPEN, || get(maps::tile)),
    on(Method::GET, "/zones.geojson", OPEN, || get(maps::zones)),
    on(Method::GET, "/", EVERYBODY, || get(pages::board::show)),
    on(Method::GET, "/posts/{id}", EVERYBODY, || get(pages::post::show)),
    on(Method::GET, "/incidents/{id}", EVERYBODY, || get(pages::incident::show)),
    on(Method::POST, "/incidents/{id}/{move}", MOVERS, || post(pages::take::act)),
    on(Method::GET, "/report", DESK, || get(pages::desk::report)),
    on(Method::POST, "/report", DESK, || post(pages::take::report)),
    on(Method::GET, "/hand-test", REPORTERS, || get(pages::desk::hand_test)),
    on(Method::POST, "/hand-test", REPORTERS, || post(pages::take::hand_test)),
    on(Method::GET, "/api/v1/openapi.json", EVERYBODY, || get(openapi::document)),
    on(Method::GET, "/api/v1/posts", EVERYBODY, || get(posts::list)),
    on(Method::GET, "/api/v1/posts/{id}", EVERYBODY, || get(posts::one)),
    on(Method::GET, "/api/v1/posts/{id}/history", EVERYBODY, || get(posts::history)),
    on(Method::GET, "/api/v1/posts/{id}/explain", EVERYBODY, || get(posts::explain)),
    on(Method::GET, "/api/v1/zones", EVERYBODY, || get(zones::list)),
    on(Method::GET, "/api/v1/devices", EVERYBODY, || get(posts::devices)),
    on(Method::GET, "/api/v1/incidents", EVERYBODY, || get(incidents::list)),
    on(Method::POST, "/api/v1/incidents", DESK, || post(moves::report)),
    on(Method::GET, "/api/v1/incidents/{id}", EVERYBODY, || get(incidents::one)),
    on(Method::POST, "/api/v1/incidents/{id}/{move}", MOVERS, || post(moves::act)),
    on(Method::GET, "/api/v1/notices", EVERYBODY, || get(incidents::notices)),
    on(Method::GET, "/api/v1/reports/monthly", EVERYBODY, || get(reports::monthly)),
    on(Method::GET, "/api/v1/reports/monthly.csv", EVERYBODY, || get(reports::monthly_csv)),
    on(Method::GET, "/api/v1/reports/shift", EVERYBODY, || get(reports::shift)),
    on(Method::GET, "/api/v1/test-dispatch", EVERYBODY, || get(test_dispatch::list)),
    on(Method::POST, "/api/v1/test-dispatch/{id}/confirm", MOVERS, || post(test_dispatch::confirm)),
    // The link is the login: signed, for one test of one person.
    on(Method::GET, "/t/{token}", OPEN, || get(test_dispatch::show)),
    on(Method::POST, "/t/{token}", OPEN, || post(test_dispatch::by_link)),
    on(Method::GET, "/api/v1/accounting", EVERYBODY, || get(system::accounting)),
    on(Method::GET, "/api/v1/policy", EVERYBODY, || get(system::policy)),
    on(Method::GET, "/api/v1/maintenance", EVERYBODY, || get(moves::jobs)),
    on(Method::POST, "/api/v1/maintenance", DESK, || post(moves::maintain)),
    on(Method::GET, "/api/v1/rota", EVERYBODY, || get(rota::show)),
    on(Method::PUT, "/api/v1/rota", DESK, || put(rota::change)),
    on(Method::POST, "/api/v1/readings", REPORTERS, || post(readings::readings)),
    on(Method::POST, "/api/v1/forward", NODES, || post(forward::forward)),
    on(Method::POST, "/api/v1/weather", OFFICE, || post(readings::weather)),
    on(Method::POST, "/api/v1/links/revoke", DESK, || post(links::revoke)),
    on(Method::POST, "/api/v1/quarantine/retry", TECHNICIANS, || post(readings::retry)),
    on(Method::GET, "/api/v1/recording", TECHNICIANS, || get(live::recording)),
];

/// Paths that a link of a dashboard may lead to.
pub(crate) fn pages() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter(|route| route.method == Method::GET).map(|route| route.path)
}

/// Serves until told to end.
pub(crate) async fn run(
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
    instance: Arc<Instance>,
    ending: watch::Receiver<bool>,
) {
    if let Some(tls) = &tls {
        instance.watchers.certificates.serve("web", tls);
    }
    let proxies = instance.config.web.proxies.clone();
    let metrics = Web::register(&instance.registry).expect("metrics of the interface are registered once");
    server::run(socket, tls, proxies, router(instance), metrics, ending).await;
}

fn router(instance: Arc<Instance>) -> Router {
    let routes =
        ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routes
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such route") })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .route_layer(middleware::from_fn_with_state(instance.clone(), admit::admit))
        .layer(middleware::from_fn_with_state(instance.clone(), pages::dress))
        .layer(middleware::from_fn(admit::harden))
        .with_state(instance)
}

/// Faults that axum finds before a route runs (a query that cannot be read, a body that is too long) come as
/// plain text; everybody gets faults in one form.
pub(crate) async fn in_our_form(response: Response) -> Response {
    const TEXT_MAX: usize = 4096;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !(status.is_client_error() || status.is_server_error())
        || kind.starts_with("application/json")
        || kind.starts_with("text/html")
    {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), TEXT_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::METHOD_NOT_ALLOWED => "method",
        _ => "bad_request",
    };
    ApiError::new(status, code, if text.is_empty() { status.to_string() } else { text }).into_response()
}

/// A fault as every route answers it.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The present state of the incident, where that is why.
    pub(crate) state: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), state: None }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn unavailable(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(state) = self.state {
            error["state"] = json!(state);
        }
        let body = json!({ "error": error }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        // A page says it in words: `pages::dress`.
        response.extensions_mut().insert(self);
        response
    }
}

/// Runs what reads the incident store beside the sockets: a slow disk holds up no other request.
async fn reading<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::unavailable)?.map_err(ApiError::unavailable)
}

/// The `limit` of a list: 1 to 1000.
fn limit_of(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked {
        None => Ok(LIMIT_DEFAULT),
        Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
        Some(limit) => Err(ApiError::bad(format!("limit {limit} is not 1 to {LIMIT_MAX}"))),
    }
}

/// A time of a query: RFC 3339 with offset, or milliseconds UTC.
fn time_of(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let time = text.parse::<i64>().ok().map(Timestamp).or_else(|| Timestamp::from_rfc3339(text));
    let time = time.ok_or_else(|| {
        ApiError::bad(format!("{name} {text:?} is not RFC 3339 with offset, nor milliseconds"))
    })?;
    Ok(Some(time))
}

#[expect(clippy::needless_pass_by_value, reason = "json! takes references, callers have no use for the rest")]
fn page(items: Vec<Value>, next: Option<String>) -> axum::Json<Value> {
    axum::Json(json!({ "items": items, "next": next }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_stands_once_in_the_table_and_only_health_and_the_sign_in_need_no_login() {
        let names: HashSet<_> = ROUTES.iter().map(|route| (route.method.as_str(), route.path)).collect();
        assert_eq!(names.len(), ROUTES.len());
        let open: Vec<_> = ROUTES
            .iter()
            .filter(|route| matches!(route.access, Access::Open))
            .map(|route| route.path)
            .collect();
        let health = ["/healthz", "/readyz", "/metrics"];
        let to_sign_in =
            ["/plain.css", "/signin", "/signin", "/signout", "/signout", "/kiosk/{token}", "/pages.css"];
        let map = ["/tiles/{z}/{x}/{y}", "/zones.geojson"];
        // The link is the login there: signed, for one test of one person.
        let links = ["/t/{token}", "/t/{token}"];
        assert_eq!(open, [&health[..], &to_sign_in, &map, &links].concat());
    }

    #[test]
    fn limits_and_times_of_queries_are_checked() {
        assert_eq!(limit_of(None).unwrap(), 200);
        assert!(limit_of(Some(0)).is_err() && limit_of(Some(1001)).is_err());
        assert!(time_of("from", Some("yesterday")).is_err());
        assert_eq!(time_of("from", Some("1795435200000")).unwrap(), Some(Timestamp(1_795_435_200_000)));
    }
}
