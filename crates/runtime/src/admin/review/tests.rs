use super::*;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The two reviews as an API server does them: `good` is Prometheus, who may; `stranger` is known and may not; others are nobody.
#[derive(Debug, Clone, Default)]
struct Server {
    down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                server.asked.fetch_add(1, Ordering::Relaxed);
                if server.down.load(Ordering::Relaxed) {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
                }
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let review = answer(&path, serde_json::from_slice(&body).unwrap());
                let body = Body::from(review.to_string().into_bytes());
                Ok(Response::builder().status(StatusCode::CREATED).body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(path: &str, mut review: Value) -> Value {
    review["status"] = match path {
        "/apis/authentication.k8s.io/v1/tokenreviews" => match review["spec"]["token"].as_str().unwrap() {
            name @ ("good" | "stranger") => json!({
                "authenticated": true,
                "user": { "username": name, "uid": "u", "groups": ["g"], "extra": { "k": ["v"] } },
            }),
            _ => json!({ "authenticated": false }),
        },
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
            let spec = &review["spec"];
            assert_eq!(spec["nonResourceAttributes"], json!({ "path": "/metrics", "verb": "get" }));
            // Everything that is known of the caller counts: RBAC binds groups, too.
            assert_eq!(
                (&spec["groups"], &spec["uid"], &spec["extra"]),
                (&json!(["g"]), &json!("u"), &json!({ "k": ["v"] }))
            );
            json!({ "allowed": spec["user"] == "good" })
        }
        other => panic!("{other} is asked"),
    };
    review
}

#[tokio::test(start_paused = true)]
async fn who_may_is_asked_for_and_remembered_for_a_short_time() {
    let server = Server::default();
    let reviewer = Reviewer::new(server.client(), "/metrics");
    assert_eq!(reviewer.access("good").await, Access::Allowed);
    assert_eq!(reviewer.access("stranger").await, Access::Forbidden);
    assert_eq!(reviewer.access("invented").await, Access::Unauthenticated);
    assert_eq!(server.asked(), 5, "nobody's permissions are not asked for");
    for token in ["good", "stranger", "invented"] {
        reviewer.access(token).await;
    }
    assert_eq!(server.asked(), 5);
    tokio::time::advance(REFUSED_FOR).await;
    assert_eq!(reviewer.access("stranger").await, Access::Forbidden);
    assert_eq!(server.asked(), 7);
    assert_eq!(reviewer.access("good").await, Access::Allowed);
    assert_eq!(server.asked(), 7, "a permission is believed longer than a refusal");
    tokio::time::advance(ALLOWED_FOR).await;
    reviewer.access("good").await;
    assert_eq!(server.asked(), 9);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_be_asked_a_permission_lasts_longer_and_nobody_new_gets_one() {
    let server = Server::default();
    let reviewer = Reviewer::new(server.client(), "/metrics");
    assert_eq!(reviewer.access("good").await, Access::Allowed);
    assert_eq!(reviewer.access("stranger").await, Access::Forbidden);
    server.down.store(true, Ordering::Relaxed);
    tokio::time::advance(ALLOWED_FOR + Duration::from_secs(1)).await;
    assert_eq!(reviewer.access("good").await, Access::Allowed);
    assert_eq!(reviewer.access("stranger").await, Access::Unknown);
    assert_eq!(reviewer.access("new").await, Access::Unknown);
    tokio::time::advance(STALE_FOR).await;
    assert_eq!(reviewer.access("good").await, Access::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_invented_tokens_is_paced_bounded_and_pushes_nobody_out() {
    let server = Server::default();
    let reviewer = Reviewer::new(server.client(), "/metrics");
    assert_eq!(reviewer.access("good").await, Access::Allowed);
    let began = Instant::now();
    for number in 0..REMEMBERED * 2 {
        assert_eq!(reviewer.access(&format!("invented {number}")).await, Access::Unauthenticated);
    }
    // Virtual time: it passes only where something sleeps.
    assert!(began.elapsed() >= PACE * 120, "{:?}", began.elapsed());
    assert_eq!(reviewer.lock().len(), REMEMBERED);
    let asked = server.asked();
    assert_eq!(reviewer.access("good").await, Access::Allowed);
    assert_eq!(server.asked(), asked, "still remembered");
    assert_eq!(reviewer.access(&"x".repeat(LONGEST_TOKEN + 1)).await, Access::Unauthenticated);
    assert_eq!(reviewer.access("").await, Access::Unauthenticated);
    assert_eq!(server.asked(), asked, "what can be no token is not asked for");
}
