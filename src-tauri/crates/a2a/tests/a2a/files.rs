//! Outputs that are fetched from an address.

use crate::{
    http::{plain_client, post, request, rpc, send, sse},
    site::{Site, client_key, contractor_key, status},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tender_a2a::{
    ApiKey, CONTRACT_EXTENSION, Limits, Owner, bearer,
    log::{Change, Output},
    wire::TaskState,
};
use tender_base::{Sha256, Signer, signed::KeySigner, time::SystemClock};

/// Content of which every byte says where it belongs.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place * 31 + place / 256) as u8).collect()
}

/// A task of `owner` with an output.
fn with_output(site: &Site, owner: &Owner, bytes: Vec<u8>) -> String {
    let task = site.task(owner, TaskState::Working);
    let output = Output {
        artifact_id: "a/b ü".into(),
        blob: site.log.keep_blob(bytes),
        media_type: "application/octet-stream".into(),
        filename: Some("result.bin".into()),
        extensions: vec![],
    };
    site.log.append(&task, None, vec![Change::Output(output), status(TaskState::InputRequired, None)]).unwrap();
    task
}

fn as_peer(request: RequestBuilder, key: &KeySigner) -> RequestBuilder {
    request.bearer_auth(bearer(key, &contractor_key().did(), &SystemClock))
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_large_output_is_an_address_with_size_and_hash() {
    let site = Site::start().await;
    let (small, large) = (content(1 << 20), content((1 << 20) + 1));
    let task = with_output(&site, &site.anyone(), small);
    let (_, told) = send(request(&site, Method::GET, &format!("/tasks/{task}"))).await;
    assert!(told["artifacts"][0]["parts"][0]["raw"].is_string());

    let task = with_output(&site, &site.anyone(), large.clone());
    let address = format!("{}/artifacts/{}/a%2Fb%20%C3%BC", site.url, task.replace('-', "%2D"));
    let expected = json!({
        "url": address,
        "mediaType": "application/octet-stream",
        "filename": "result.bin",
        "metadata": {CONTRACT_EXTENSION: {"sha256": Sha256::of(&large), "bytes": large.len()}},
    });
    let part = |artifacts: &Value| artifacts[0]["parts"][0].clone();
    let (_, told) = send(request(&site, Method::GET, &format!("/tasks/{task}"))).await;
    assert_eq!(part(&told["artifacts"]), expected);
    let (_, list) = send(post(&site, "/", &rpc("ListTasks", json!({"includeArtifacts": true})))).await;
    assert!(list["result"]["tasks"].as_array().unwrap().iter().any(|task| part(&task["artifacts"]) == expected));
    let subscribe = request(&site, Method::GET, &format!("/tasks/{task}:subscribe")).header("Last-Event-ID", "1");
    let (log, id) = (site.log.clone(), task.clone());
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        log.append(&id, None, vec![status(TaskState::Completed, None)]).unwrap();
    });
    let events = sse(subscribe).await;
    assert_eq!(events[1].1["artifactUpdate"]["artifact"]["parts"][0], expected);

    // No header of the protocol is needed to follow it.
    let response = plain_client().get(&address).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-length"), large.len().to_string());
    assert_eq!(header(&response, "accept-ranges"), "bytes");
    assert_eq!(header(&response, "content-type"), "application/octet-stream");
    assert_eq!(header(&response, "cache-control"), "no-store");
    assert_eq!(header(&response, "etag"), format!("\"{}\"", Sha256::of(&large)));
    assert!(header(&response, "repr-digest").starts_with("sha-256=:"));
    assert_eq!(response.bytes().await.unwrap(), large);
    let head = plain_client().head(&address).send().await.unwrap();
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, &*large.len().to_string()));
    assert_eq!(head.bytes().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_list_tells_the_addresses_of_all_but_small_outputs() {
    let site = Site::start().await;
    with_output(&site, &site.anyone(), content(4 << 10));
    with_output(&site, &site.anyone(), content((4 << 10) + 1));
    let (_, list) = send(request(&site, Method::GET, "/tasks?includeArtifacts=true")).await;
    let parts: Vec<_> = (0..2).map(|task| list["tasks"][task]["artifacts"][0]["parts"][0].clone()).collect();
    let small = parts.iter().position(|part| part["raw"].is_string()).unwrap();
    assert!(parts[1 - small]["url"].is_string(), "{parts:?}");
    let id = list["tasks"][1 - small]["id"].as_str().unwrap();
    let (_, task) = send(request(&site, Method::GET, &format!("/tasks/{id}"))).await;
    assert!(task["artifacts"][0]["parts"][0]["raw"].is_string(), "{task}");
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_was() {
    let site = Site::start().await;
    let bytes = content(3_000_000);
    let task = with_output(&site, &site.anyone(), bytes.clone());
    let get = || plain_client().get(format!("{}/artifacts/{task}/a%2Fb%20%C3%BC", site.url));
    let whole = get().send().await.unwrap();
    let tag = header(&whole, "etag").to_owned();
    drop(whole);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=262143-262144", 262_143, 262_145),
        ("bytes=1000000-", 1_000_000, 3_000_000),
        ("bytes=-5", 2_999_995, 3_000_000),
        ("bytes=2999999-9999999", 2_999_999, 3_000_000),
    ] {
        let response = get().header("Range", range).header("If-Range", &tag).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(header(&response, "content-range"), format!("bytes {from}-{}/3000000", to - 1));
        assert_eq!(header(&response, "etag"), tag);
        assert_eq!(response.bytes().await.unwrap(), bytes[from..to], "{range}");
    }
    // Of another version the whole is sent.
    let response = get().header("Range", "bytes=5-").header("If-Range", "\"other\"").send().await.unwrap();
    assert_eq!((response.status(), response.bytes().await.unwrap().len()), (StatusCode::OK, 3_000_000));
    let response = get().header("Range", "bytes=3000000-").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&response, "content-range"), "bytes */3000000");
}

#[tokio::test]
async fn only_who_sees_the_task_gets_its_output() {
    let site = Site::start().await;
    let (key, secret) = ApiKey::draw(&crate::site::At(crate::site::now()));
    for (owner, mine) in [
        (Owner::key(&client_key().did()), bearer(&client_key(), &contractor_key().did(), &SystemClock)),
        (Owner::key(&key.did()), secret),
    ] {
        let task = with_output(&site, &owner, content(2_000_000));
        let get = || plain_client().get(format!("{}/artifacts/{task}/a%2Fb%20%C3%BC", site.url));
        assert_eq!(get().bearer_auth(mine).send().await.unwrap().status(), StatusCode::OK);
        for other in [get(), as_peer(get(), &KeySigner::from_seed(&[9; 32]))] {
            let (status, error) = send(other).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert_eq!(error["error"]["message"], format!("there is no task {task}"));
        }
        let (status, _) = send(get().bearer_auth("nonsense")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let task = with_output(&site, &site.anyone(), content(2_000_000));
    for path in [format!("/artifacts/{task}/other"), format!("/artifacts/{task}/%FF"), "/artifacts/x/y".into()] {
        let (status, error) = send(plain_client().get(format!("{}{path}", site.url))).await;
        assert_eq!((status, &error["error"]["status"]), (StatusCode::NOT_FOUND, &json!("NOT_FOUND")), "{path}");
    }
    let (status, _) = send(plain_client().put(format!("{}/artifacts/{task}/x", site.url))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_transfer_takes_a_place_until_it_ends() {
    let limits = Limits { streams_per_address: 1, ..Limits::default() };
    let site = Site::with(limits, None, None).await;
    // More than the kernel keeps for a connection.
    let task = with_output(&site, &site.anyone(), content(32 << 20));
    let get = || plain_client().get(format!("{}/artifacts/{task}/a%2Fb%20%C3%BC", site.url)).send();
    let first = get().await.unwrap();
    let second = get().await.unwrap();
    assert_eq!((second.status(), header(&second, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    drop(first);
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if get().await.is_ok_and(|response| response.status() == StatusCode::OK) {
            return;
        }
    }
    panic!("the place did not come back");
}
