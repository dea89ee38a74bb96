//! Counts of requests, by method, route and status.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram};

/// The metrics of each route, found once: finding them by their labels for each request would cost
/// as much as reading its body.
#[derive(Default)]
pub(super) struct RequestMetrics {
    routes: RwLock<HashMap<String, Arc<Route>>>,
}

struct Route {
    seconds: Histogram,
    /// A handful for each route: the methods it has, times the statuses it gives.
    requests: RwLock<Vec<((&'static str, StatusCode), Counter)>>,
}

impl RequestMetrics {
    /// Counts one request. `name` is the route: a pattern of ours, never what a client wrote.
    pub(super) fn record(&self, method: &Method, name: &str, status: StatusCode, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let route = known.unwrap_or_else(|| {
            let seconds = metrics::histogram!("wotp_http_request_seconds", "route" => name.to_owned());
            let found = Arc::new(Route { seconds, requests: RwLock::default() });
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(routes.entry(name.to_owned()).or_insert(found))
        });
        route.seconds.record(took.as_secs_f64());
        let label = (method_label(method), status);
        let counted = |requests: &[((&'static str, StatusCode), Counter)]| {
            let found = requests.iter().find(|(known, _)| *known == label);
            found.map(|(_, counter)| counter.increment(1)).is_some()
        };
        if counted(&route.requests.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut requests = route.requests.write().unwrap_or_else(PoisonError::into_inner);
        if counted(&requests) {
            return;
        }
        let counter = metrics::counter!(
            "wotp_http_requests_total",
            "method" => label.0, "route" => name.to_owned(), "status" => status.as_str().to_owned()
        );
        counter.increment(1);
        requests.push((label, counter));
    }
}

/// Anything is a valid method, and each label is kept for ever.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
