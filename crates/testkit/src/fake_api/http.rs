//! The HTTP side: requests -> store operations, and the switches that break them.

mod watch;

use super::{FakeApi, Id, store::Refused};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The switches of one client's connection. Clones mean the same one.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<Faults>,
    /// Watches end, or get 410, when this changes.
    watches: tokio::sync::watch::Sender<Break>,
    /// Writes that took effect.
    writes: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Break {
    generation: u64,
    /// With an ERROR event 410 first.
    expired: bool,
}

#[derive(Debug, Default)]
struct Faults {
    down: bool,
    silent: bool,
    refuse_all: Option<u16>,
    refuse_writes: VecDeque<u16>,
    refuse_path: Option<(String, u16)>,
    lose_answers: u32,
    delay: Option<Duration>,
    seen: Vec<Seen>,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Status code of the answer.
    pub code: u16,
}

impl Wire {
    /// Connections are refused, and running watches end, until [`Wire::restore`].
    pub fn cut(&self) {
        self.faults().down = true;
        self.drop_watches();
    }

    /// Requests are taken and never answered, until [`Wire::restore`]. Running watches go on.
    pub fn silence(&self) {
        self.faults().silent = true;
    }

    /// Every request is answered with this status code, until [`Wire::restore`].
    pub fn refuse_all(&self, code: u16) {
        self.faults().refuse_all = Some(code);
    }

    /// The next write of a status (or, without one coming, of anything) is answered with this code and has no effect. Codes queue up.
    pub fn refuse_next_write(&self, code: u16) {
        self.faults().refuse_writes.push_back(code);
    }

    /// Every write to a path with this text in it is answered with this code and has no effect, until [`Wire::restore`].
    pub fn refuse_writes_to(&self, path: &str, code: u16) {
        self.faults().refuse_path = Some((path.to_owned(), code));
    }

    /// The next `count` writes of a status take effect, but their answers get lost.
    pub fn lose_answers(&self, count: u32) {
        self.faults().lose_answers = count;
    }

    /// Every answer takes this much longer.
    pub fn slow(&self, delay: Duration) {
        self.faults().delay = Some(delay);
    }

    /// All is well again; waiting faults are forgotten.
    pub fn restore(&self) {
        let mut faults = self.faults();
        let seen = std::mem::take(&mut faults.seen);
        *faults = Faults { seen, ..Faults::default() };
    }

    /// Running watches end as when a connection is lost; they may resume.
    pub fn drop_watches(&self) {
        self.state.watches.send_modify(|it| *it = Break { generation: it.generation + 1, expired: false });
    }

    /// Running watches are told 410 Gone and end.
    pub fn expire_watches(&self) {
        self.state.watches.send_modify(|it| *it = Break { generation: it.generation + 1, expired: true });
    }

    /// Writes of this client that took effect: creations, replacements, patches, deletions.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// The requests that arrived so far, in order of their answers.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.faults().seen.clone()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.state.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

pub(super) fn connect(api: FakeApi) -> (Client, Wire) {
    let wire = Wire::default();
    let handle = wire.clone();
    let service = tower::service_fn(move |request: Request<Body>| handle_request(api.clone(), handle.clone(), request));
    (Client::new(service, "default"), wire)
}

pub(super) async fn handle_request(api: FakeApi, wire: Wire, request: Request<Body>) -> io::Result<Answer> {
    let (down, silent, delay) = {
        let faults = wire.faults();
        (faults.down, faults.silent, faults.delay)
    };
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if silent {
        std::future::pending::<()>().await;
    }
    if down {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let query = query(parts.uri.query().unwrap_or_default());
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = Target::parse(&path);
    let is_write = method != Method::GET;
    let code = {
        let mut faults = wire.faults();
        let by_path = faults.refuse_path.as_ref().filter(|(text, _)| is_write && path.contains(text.as_str()));
        let code = faults.refuse_all.or(by_path.map(|&(_, code)| code));
        if code.is_none() && is_write && target.counts_as_write() { faults.refuse_writes.pop_front() } else { code }
    };
    let answer = match code {
        None if !target.is_served(&api) => status(404, "NotFound", "the server could not find the requested resource"),
        None if target.resource.is_empty() => discovery(&api, &target),
        Some(code) => status(code, "Injected", "injected fault"),
        None if is_write => write(&api, &wire, &method, &target, &body),
        None if query.get("watch").is_some_and(|value| value == "true" || value == "1") => {
            watch::stream(api, &wire, &target, &query)
        }
        None => read(&api, &target, &query),
    };
    let code = answer.status().as_u16();
    let lost = {
        let mut faults = wire.faults();
        faults.seen.push(Seen { method: method.to_string(), path, code });
        let lost = is_write && target.subresource.is_some() && faults.lose_answers > 0;
        if lost {
            faults.lose_answers -= 1;
        }
        lost
    };
    if lost { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(answer) }
}

/// What a path names.
#[derive(Debug)]
struct Target {
    /// `GROUP/VERSION` of a group of custom resources (its name has a dot and is not Kubernetes' own).
    custom: Option<String>,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

impl Target {
    /// `/api/v1/…` or `/apis/GROUP/VERSION/…`, then `[namespaces/NS/]RESOURCE[/NAME[/SUBRESOURCE]]`.
    fn parse(path: &str) -> Self {
        let mut parts = path.trim_matches('/').split('/').map(str::to_owned);
        let version = path.trim_matches('/').splitn(4, '/').skip(1).take(2).collect::<Vec<_>>().join("/");
        let custom =
            (path.starts_with("/apis/") && !version.contains(".k8s.io/") && version.contains('.')).then_some(version);
        let skip = if parts.next().as_deref() == Some("apis") { 2 } else { 1 };
        let mut parts = parts.skip(skip).collect::<VecDeque<_>>();
        let mut namespace = None;
        if parts.len() > 2 && parts.front().is_some_and(|part| part == "namespaces") {
            parts.pop_front();
            namespace = parts.pop_front();
        }
        Self {
            custom,
            resource: parts.pop_front().unwrap_or_default(),
            namespace,
            name: parts.pop_front(),
            subresource: parts.pop_front(),
        }
    }

    fn is_served(&self, api: &FakeApi) -> bool {
        let Some(version) = &self.custom else { return true };
        let store = api.store();
        store.custom.get(version).is_some_and(|served| self.resource.is_empty() || served.contains(&self.resource))
    }

    /// Faults for writes are meant for what the daemon decides, not for its election or its events.
    fn counts_as_write(&self) -> bool {
        !matches!(self.resource.as_str(), "leases" | "events")
    }

    fn id(&self, body: &Value) -> Id {
        let name = self.name.as_deref().or_else(|| body["metadata"]["name"].as_str()).unwrap_or_default();
        Id::new(&self.resource, self.namespace.as_deref().unwrap_or_default(), name)
    }
}

fn write(api: &FakeApi, wire: &Wire, method: &Method, target: &Target, body: &Bytes) -> Answer {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let id = target.id(&body);
    let mut store = api.store();
    let result = match method.as_str() {
        "POST" => store.create(&id, body).map(|object| (201, object)),
        "PUT" => store.replace(&id, body).map(|object| (200, object)),
        "PATCH" => store.patch(&id, &body, target.subresource.is_some()).map(|object| (200, object)),
        "DELETE" => store.delete_if(&id, &body["preconditions"]).map(|object| (200, object)),
        _ => return status(405, "MethodNotAllowed", "method not allowed"),
    };
    match result {
        Ok((code, object)) => {
            wire.state.writes.fetch_add(1, Ordering::Relaxed);
            json_answer(code, &object)
        }
        Err(Refused::NotFound) => status(404, "NotFound", "not found"),
        Err(Refused::Conflict) => status(409, "Conflict", "the object has been modified"),
        Err(Refused::AlreadyExists) => status(409, "AlreadyExists", "already exists"),
    }
}

/// What a version of a custom group serves.
fn discovery(api: &FakeApi, target: &Target) -> Answer {
    let version = target.custom.clone().unwrap_or_default();
    let store = api.store();
    let verbs: &[&str] = if store.terminating.contains(&version) {
        &["delete", "deletecollection", "get", "list", "watch"]
    } else {
        &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
    };
    let resource =
        |name: &String| json!({ "name": name, "singularName": "", "namespaced": true, "kind": name, "verbs": verbs });
    let resources: Vec<Value> = store.custom.get(&version).into_iter().flatten().map(resource).collect();
    json_answer(
        200,
        &json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources }),
    )
}

fn read(api: &FakeApi, target: &Target, query: &BTreeMap<String, String>) -> Answer {
    let store = api.store();
    if target.name.is_some() {
        return match store.get(&target.id(&Value::Null)) {
            Some(object) => json_answer(200, &object),
            None => status(404, "NotFound", "not found"),
        };
    }
    let selected = watch::Selected::new(query);
    let limit =
        query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let token = query.get("continue").and_then(|token| Token::read(&target.resource, token));
    let version = token.as_ref().map_or(store.version(), |token| token.version);
    if !store.remembers(version) {
        return status(410, "Expired", "The provided continue parameter is too old");
    }
    let of = (&*target.resource, target.namespace.as_deref());
    let after = token.as_ref().map(|token| &token.after);
    let (items, last) = store.list(of, after, limit, |object| selected.matches(object));
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if let Some(after) = last {
        metadata["continue"] = Token { version, after }.write().into();
    }
    json_answer(200, &json!({ "apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items }))
}

/// Where the next page begins.
struct Token {
    /// Of the first page.
    version: u64,
    after: Id,
}

impl Token {
    fn read(resource: &str, text: &str) -> Option<Self> {
        let (version, id) = text.split_once(':')?;
        let (namespace, name) = id.split_once('/')?;
        Some(Self { version: version.parse().ok()?, after: Id::new(resource, namespace, name) })
    }

    fn write(&self) -> String {
        format!("{}:{}/{}", self.version, self.after.namespace, self.after.name)
    }
}

fn status_value(code: u16, reason: &str, message: &str) -> Value {
    let outcome = if code < 400 { "Success" } else { "Failure" };
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {},
        "status": outcome, "code": code, "reason": reason, "message": message,
    })
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    json_answer(code, &status_value(code, reason, message))
}

fn json_answer(code: u16, value: &Value) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(value.to_string()));
    let mut answer = Response::new(BodyExt::boxed_unsync(body));
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// Decodes a query string.
fn query(text: &str) -> BTreeMap<String, String> {
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value))).collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
