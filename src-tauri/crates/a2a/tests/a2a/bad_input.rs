//! Every field of every request: missing, of another type, too large, twice; and versions, extensions and methods that
//! nobody knows. Nothing of it may reach the agent, and every refusal names what is wrong.

use crate::{
    http::{post, request, rpc, send},
    site::Site,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tender_a2a::Limits;

/// A site that is asked often.
async fn patient() -> Site {
    let many = Limits { requests_per_address: 100_000, requests_in_total: 100_000, ..Limits::default() };
    Site::with(many, None, None).await
}

/// A request in which every field that the protocol knows is set.
fn whole() -> Value {
    json!({
        "message": {
            "messageId": "m1",
            "contextId": "c",
            "role": "ROLE_USER",
            "parts": [
                {"text": "hi", "filename": "f", "mediaType": "text/plain", "metadata": {}},
                {"raw": "AAAA"},
                {"data": {"a": 1}},
            ],
            "metadata": {},
            "extensions": ["urn:x"],
            "referenceTaskIds": ["t"],
        },
        "configuration": {
            "acceptedOutputModes": ["text/plain"],
            "historyLength": 1,
            "returnImmediately": true,
            "taskPushNotificationConfig": {
                "id": "h",
                "url": "https://1.1.1.1/",
                "token": "t",
                "authentication": {"scheme": "Bearer", "credentials": "c"},
            },
        },
        "metadata": {},
    })
}

/// JSON pointers to every value in `value`, below what belongs to the sender.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, it)| (format!("{at}/{name}"), it)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, it)| (format!("{at}/{index}"), it)).collect(),
        _ => Vec::new(),
    };
    for (place, value) in below {
        found.push(place.clone());
        if !place.ends_with("/data") && !place.ends_with("/metadata") {
            places(value, &place, found);
        }
    }
}

/// Values of other types than `value`.
fn others(value: &Value) -> Vec<Value> {
    let all = [json!(7), json!(1.5), json!(true), json!("x"), json!([1]), json!({"x": 1})];
    let same = |a: &Value, b: &Value| std::mem::discriminant(a) == std::mem::discriminant(b);
    all.into_iter().filter(|other| !same(other, value) || (value.is_number() && !other.is_i64())).collect()
}

/// The last name in a pointer, under which an error speaks of the place.
fn named(place: &str) -> &str {
    place.rsplit('/').find(|name| name.parse::<usize>().is_err()).unwrap()
}

#[tokio::test]
async fn every_field_of_another_type_is_refused_by_its_name() {
    let site = patient().await;
    let (status, said) = send(post(&site, "/message:send", &whole())).await;
    assert_eq!(status, StatusCode::OK, "the request is in order: {said}");
    let before = site.asked().len();
    let mut found = Vec::new();
    places(&whole(), "", &mut found);
    assert!(found.len() > 25, "{found:?}");
    for place in found.iter().filter(|place| !place.ends_with("/data")) {
        for other in others(whole().pointer(place).unwrap()) {
            let mut broken = whole();
            *broken.pointer_mut(place).unwrap() = other.clone();
            for (path, body) in [("/", rpc("SendMessage", broken.clone())), ("/message:stream", broken.clone())] {
                let (_, error) = send(post(&site, path, &body)).await;
                let code = error["error"]["code"].as_i64().unwrap();
                assert!([-32602, 400].contains(&code), "{place} {other}: {error}");
                let message = error["error"]["message"].as_str().unwrap();
                assert!(message.contains(named(place)), "{place} {other}: {message}");
            }
        }
    }
    assert_eq!(site.asked().len(), before);
}

#[tokio::test]
async fn what_is_required_is_missed_by_its_name_and_null_is_missing() {
    let site = patient().await;
    for place in [
        "/message",
        "/message/messageId",
        "/message/role",
        "/message/parts",
        "/message/parts/0/text",
        "/configuration/taskPushNotificationConfig/url",
        "/configuration/taskPushNotificationConfig/authentication/scheme",
    ] {
        let mut without = whole();
        let (parent, name) = place.rsplit_once('/').unwrap();
        without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        let mut null = whole();
        *null.pointer_mut(place).unwrap() = Value::Null;
        for broken in [without, null] {
            let (_, error) = send(post(&site, "/", &rpc("SendMessage", broken))).await;
            assert_eq!(error["error"]["code"], -32602, "{place}: {error}");
            assert!(error["error"]["message"].as_str().unwrap().contains(name), "{place}: {error}");
        }
    }
    for (method, params, name) in [
        ("GetTask", json!({}), "id"),
        ("GetTask", json!({"id": ""}), "id"),
        ("GetTask", json!({"id": 5}), "id"),
        ("GetTask", json!({"id": "x".repeat(257)}), "id"),
        ("GetTask", json!({"id": "x", "historyLength": "many"}), "historyLength"),
        ("GetTask", json!({"id": "x", "historyLength": 1.5}), "historyLength"),
        ("CancelTask", json!({}), "id"),
        ("CancelTask", json!({"id": "x", "metadata": 1}), "metadata"),
        ("SubscribeToTask", json!({"id": [1]}), "id"),
        ("ListTasks", json!({"pageSize": 0}), "pageSize"),
        ("ListTasks", json!({"pageSize": 101}), "pageSize"),
        ("ListTasks", json!({"pageSize": true}), "pageSize"),
        ("ListTasks", json!({"pageToken": "nonsense"}), "pageToken"),
        ("ListTasks", json!({"status": "DONE"}), "status"),
        ("ListTasks", json!({"contextId": {}}), "contextId"),
        ("ListTasks", json!({"statusTimestampAfter": "yesterday"}), "statusTimestampAfter"),
        ("ListTasks", json!({"includeArtifacts": "x"}), "includeArtifacts"),
        ("CreateTaskPushNotificationConfig", json!({"url": "https://1.1.1.1/"}), "taskId"),
        ("CreateTaskPushNotificationConfig", json!({"taskId": "x"}), "url"),
        ("CreateTaskPushNotificationConfig", json!({"taskId": "x", "url": 5}), "url"),
        ("GetTaskPushNotificationConfig", json!({"id": "h"}), "taskId"),
        ("ListTaskPushNotificationConfigs", json!({}), "taskId"),
        ("DeleteTaskPushNotificationConfig", json!({"id": "h"}), "taskId"),
    ] {
        let (_, error) = send(post(&site, "/", &rpc(method, params.clone()))).await;
        assert_eq!(error["error"]["code"], -32602, "{method} {params}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(name), "{method} {params}: {error}");
    }
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn every_field_that_is_there_twice_is_refused_by_its_name() {
    let site = patient().await;
    let mut found = Vec::new();
    places(&whole(), "", &mut found);
    for place in found.iter().filter(|place| named(place) == place.rsplit('/').next().unwrap()) {
        // `"name":value` becomes `"name":value,"name":value`.
        let marked = |name: &str| format!("{name}\u{1}");
        let mut twice = whole();
        let (parent, name) = place.rsplit_once('/').unwrap();
        let members = twice.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let value = members[name].clone();
        members.insert(marked(name), value);
        let text = twice.to_string().replace("\\u0001", "");
        assert!(text.len() > whole().to_string().len());
        for path in ["/", "/message:send"] {
            let body = match path {
                "/" => format!(r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{text}}}"#),
                _ => text.clone(),
            };
            let request = request(&site, Method::POST, path).header("Content-Type", "application/json");
            let (_, error) = send(request.body(body)).await;
            let said = error["error"]["message"].as_str().unwrap();
            assert!(said.contains(&format!("the member {name} is there twice")), "{place}: {error}");
        }
    }
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_its_name() {
    let site = patient().await;
    let long = "x".repeat(257);
    for (place, value) in [
        ("/message/messageId", json!(long)),
        ("/message/contextId", json!(long)),
        ("/message/taskId", json!(long)),
        ("/message/parts", json!(vec![json!({"text": "x"}); 65])),
        ("/configuration/taskPushNotificationConfig/url", json!(format!("https://1.1.1.1/{}", "x".repeat(2048)))),
        ("/configuration/taskPushNotificationConfig/token", json!("x".repeat(5000))),
        ("/configuration/taskPushNotificationConfig/authentication/credentials", json!("x".repeat(5000))),
    ] {
        let mut broken = whole();
        let (parent, name) = place.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[name] = value;
        let (_, error) = send(post(&site, "/", &rpc("SendMessage", broken))).await;
        assert_eq!(error["error"]["code"], -32602, "{place}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(name), "{place}: {error}");
    }
    // Headers of which a request has its own copy.
    let with = |name: &str, value: String| post(&site, "/message:send", &whole()).header(name, value);
    let (status, error) = send(with("Idempotency-Key", long.clone())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error["error"]["message"].as_str().unwrap().contains("Idempotency-Key"));
    let (status, error) = send(with("Authorization", format!("Bearer {}", "x".repeat(9000)))).await;
    assert_eq!((status, &error["error"]["status"]), (StatusCode::UNAUTHORIZED, &json!("UNAUTHENTICATED")));
    let version = crate::http::plain_client().post(format!("{}/message:send", site.url));
    let version = version.header("Content-Type", "application/json").header("A2A-Version", "9".repeat(9000));
    let (status, error) = send(version.body(whole().to_string())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"]["details"][0]["reason"], "VERSION_NOT_SUPPORTED");
    assert!(error["error"]["message"].as_str().unwrap().len() < 1000, "it is cut: {error}");
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn headers_of_one_value_have_one() {
    let site = patient().await;
    for name in ["Authorization", "X-API-Key", "Content-Type", "A2A-Version", "Idempotency-Key", "Last-Event-ID"] {
        let plain = crate::http::plain_client().post(format!("{}/message:send", site.url)).body(whole().to_string());
        let (status, error) = send(plain.header(name, "1.0").header(name, "99.0")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {error}");
        let said = error["error"]["message"].as_str().unwrap();
        assert_eq!(said.to_lowercase(), format!("the header {name} is there with two values").to_lowercase());
    }
    assert!(site.asked().is_empty());
    let again = post(&site, "/message:send", &whole()).header("A2A-Version", "1.0");
    assert_eq!(send(again).await.0, StatusCode::OK, "the same twice is one");
}

#[tokio::test]
async fn unknown_extensions_are_left_alone_and_not_echoed() {
    let site = patient().await;
    let many: Vec<String> = (0..200).map(|number| format!("urn:unknown:{number}")).collect();
    let asked = post(&site, "/message:send", &whole()).header("A2A-Extensions", many.join(","));
    let response = asked.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("a2a-extensions"));
    let (call, _) = site.agent.seen.lock().unwrap()[0].clone();
    assert!((1..=32).contains(&call.extensions.len()), "{}", call.extensions.len());
    // Unknown members are left alone too.
    let mut more = whole();
    more["message"]["unknown"] = json!({"a": [1]});
    more["unknown"] = json!(1);
    assert_eq!(send(post(&site, "/message:send", &more)).await.0, StatusCode::OK);
}
