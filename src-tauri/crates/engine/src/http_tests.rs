use super::*;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tender_base::{
    Sha256, Signer,
    job::Sampling,
    signed::KeySigner,
    text::{Finish, Generation},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What a runtime of the tests does with a connection, byte by byte.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Wait(u64),
    /// Waits until the other side is gone.
    Hang,
}
use Step::{Hang, Send, Wait};

/// A runtime of the tests: answers on a loopback port as `answer` says for a line such as `GET /props` and a body.
struct Fake {
    address: String,
    /// Heads of the requests.
    seen: Arc<Mutex<Vec<String>>>,
    /// Connections that the other side closed while this one hung.
    closed: Arc<AtomicUsize>,
}

impl Fake {
    async fn start(answer: impl Fn(&str, &Value) -> Vec<Step> + std::marker::Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (seen, closed, answer) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default(), Arc::new(answer));
        let fake = Self { address, seen: seen.clone(), closed: closed.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(one(stream, answer.clone(), seen.clone(), closed.clone()));
            }
        });
        fake
    }

    /// One that passes for an OpenAI-compatible runtime until it is asked for real work.
    async fn working(work: impl Fn(&Value) -> Vec<Step> + std::marker::Send + Sync + 'static) -> Self {
        Self::start(move |line, body| match line {
            "GET /v1/models" => json_of(200, &json!({"data": [{"id": "m"}]})),
            "POST /v1/chat/completions" if body["max_tokens"] == 1 => trial(),
            "POST /v1/chat/completions" => work(body),
            _ => json_of(404, &json!({"error": "not found"})),
        })
        .await
    }

    fn attachment(&self) -> Attachment {
        Attachment {
            address: self.address.clone(),
            place: Place::Loopback,
            model: None,
            sold_as: Some(model()),
            key: None,
            slots: None,
        }
    }

    async fn attach(&self) -> Result<HttpEngine, Problem> {
        HttpEngine::attach_within(self.attachment(), quick()).await
    }
}

async fn one(
    mut stream: TcpStream,
    answer: Arc<impl Fn(&str, &Value) -> Vec<Step>>,
    seen: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicUsize>,
) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let line: Vec<&str> = head.split_whitespace().take(2).collect();
    let steps = answer(&line.join(" "), &serde_json::from_slice(&body).unwrap_or_default());
    seen.lock().unwrap().push(head);
    for step in steps {
        match step {
            Send(bytes) if stream.write_all(&bytes).await.is_err() => return,
            Send(_) => {}
            Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Hang => {
                while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
                closed.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

fn head(status: u16, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{more}\r\n").into_bytes()
}

fn json_of(status: u16, value: &Value) -> Vec<Step> {
    vec![Send(head(status, "content-type: application/json\r\n")), Send(value.to_string().into_bytes())]
}

fn events(list: &[Value]) -> Vec<Step> {
    let mut steps = vec![Send(head(200, "content-type: text/event-stream; charset=utf-8\r\n"))];
    steps.extend(list.iter().map(|event| Send(format!("data: {event}\n\n").into_bytes())));
    steps
}

fn done(mut steps: Vec<Step>) -> Vec<Step> {
    steps.push(Send(b"data: [DONE]\n\n".to_vec()));
    steps
}

fn piece(text: &str, ids: &[u32]) -> Value {
    let told: Vec<Value> = ids.iter().map(|id| json!({"id": id, "token": "", "logprob": -0.1})).collect();
    json!({"choices": [{"delta": {"content": text}, "text": text, "logprobs": {"content": told}, "finish_reason": null}]})
}

fn usage(prompt: u32, completion: u32) -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"delta": {}, "text": "", "finish_reason": reason}]})
}

fn trial() -> Vec<Step> {
    done(events(&[piece("Hi", &[1]), finish("length"), usage(3, 1)]))
}

fn paris() -> Vec<Step> {
    done(events(&[piece("Par", &[7]), piece("is", &[8]), piece("", &[2]), finish("stop"), usage(5, 3)]))
}

fn quick() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        question: Duration::from_secs(2),
        trial: Duration::from_secs(5),
        silence: Duration::from_millis(300),
    }
}

fn model() -> ModelRef {
    ModelRef { name: "SmolLM2".to_owned(), sha256: Sha256::of(b"weights") }
}

fn order(max_tokens: u32) -> Order {
    let work =
        GenerateWork { model: model(), prompt_tokens: 5, max_tokens, sampling: Sampling::GREEDY, stop: Vec::new() };
    let input = Bytes::from_static(br#"{"messages":[{"role":"user","content":"Capital of France?"}]}"#);
    Order {
        work: Work::Generate(work),
        input,
        model: None,
        parts: None,
        wall_limit: Duration::from_secs(5),
        tenant: Tenant::Own,
    }
}

fn with(change: impl FnOnce(&mut GenerateWork)) -> Order {
    let mut order = order(8);
    if let Work::Generate(work) = &mut order.work {
        change(work);
    }
    order
}

fn peer() -> Tenant {
    Tenant::Peer(KeySigner::from_seed(&[7; 32]).did())
}

async fn run(engine: &HttpEngine, order: Order) -> Result<Output, Problem> {
    engine.run(order, watch::Sender::new(Progress::default())).await
}

fn text_of(output: &Output) -> Generation {
    serde_json::from_slice(&output.bytes).unwrap()
}

#[tokio::test]
async fn a_text_comes_with_its_tokens_usage_and_progress() {
    let fake = Fake::working(|_| {
        let mut steps = events(&[piece("Par", &[7])]);
        steps.extend([Wait(150)]);
        steps.extend(paris().into_iter().skip(2));
        steps
    })
    .await;
    let engine = fake.attach().await.unwrap();
    let progress = watch::Sender::new(Progress::default());
    let mut shown = progress.subscribe();
    let watching = tokio::spawn(async move {
        let mut texts = Vec::new();
        while shown.changed().await.is_ok() {
            texts.push(shown.borrow_and_update().clone());
        }
        texts
    });
    let output = engine.run(order(8), progress).await.unwrap();
    let expected = Generation { text: "Paris".into(), tokens: Some(vec![7, 8, 2]), finish: Finish::Stop };
    assert_eq!((text_of(&output), output.units), (expected, 8));
    assert_eq!((output.worker.adapter.as_str(), output.worker.backend.as_str()), ("OpenAI-compatible: m", "http"));
    let texts = watching.await.unwrap();
    assert_eq!(texts.last().unwrap().text.as_ref(), "Paris");
    assert!(texts.iter().any(|progress| progress.total == 8));
}

#[tokio::test]
async fn what_does_not_answer_rightly_is_named() {
    let broken = |body: &'static [u8]| {
        let mut steps = events(&[piece("Par", &[7])]);
        steps.push(Send(body.to_vec()));
        steps
    };
    let cut = vec![
        Send(head(200, "content-type: text/event-stream\r\ncontent-length: 100000\r\n")),
        Send(format!("data: {}\n\n", piece("Par", &[7])).into_bytes()),
    ];
    let plain = vec![Send(head(200, "content-type: text/html\r\n")), Send(b"<html>welcome</html>".to_vec())];
    let untyped = vec![Send(head(200, "")), Send(b"data: {}\n\n".to_vec())];
    let fault = events(&[piece("Par", &[7]), json!({"error": {"code": 500, "message": "CUDA out of memory"}})]);
    let full = done(events(&[piece("Par", &[7]), finish("length"), usage(5, 1)]));
    let thought = done(events(&[
        json!({"choices": [{"delta": {"reasoning_content": "Hm."}}]}),
        piece("Par", &[7]),
        finish("stop"),
        usage(5, 4),
    ]));
    let after = |status: u16, more: &str| vec![Send(head(status, more))];
    for (steps, code, named) in [
        (broken(b"data: {\"choices\": [\n\n"), Code::Invalid, "not JSON"),
        (broken(b""), Code::Lost, "ended before"),
        (broken(&[b'x'; 300 << 10]), Code::TooLarge, "event"),
        (cut, Code::Lost, "broke the connection"),
        (plain, Code::Invalid, "text/html"),
        (untyped, Code::Invalid, "without a type"),
        (fault, Code::WorkFailed, "CUDA out of memory"),
        (json_of(200, &json!({"choices": []})), Code::Invalid, "application/json"),
        (json_of(500, &json!({"error": {"message": "kaboom"}})), Code::WorkFailed, "kaboom"),
        (json_of(503, &json!({"error": {"message": "Loading model"}})), Code::Unavailable, "Loading model"),
        (json_of(404, &json!({"error": {"message": "model m not found"}})), Code::NotFound, "model m"),
        (after(401, ""), Code::Unauthenticated, "key"),
        (after(429, "retry-after: 12\r\n"), Code::TooMany, "12 s"),
        (vec![Send(b"not HTTP at all\r\n\r\n".to_vec())], Code::Lost, "broke the connection"),
        (vec![], Code::Lost, "broke the connection"),
        (done(events(&[piece("Paris", &[7]), finish("stop")])), Code::WorkFailed, "how many tokens"),
        (done(events(&[piece("Paris", &[7]), finish("stop"), usage(5, 99)])), Code::WorkFailed, "99 tokens"),
        (done(events(&[piece("Paris", &[7, 8]), finish("stop"), usage(5, 1)])), Code::WorkFailed, "told 2"),
        (done(events(&[piece("Paris", &[7]), finish("stop"), usage(4, 1)])), Code::Invalid, "the job 5"),
        (full, Code::TooLarge, "context was full"),
        (thought, Code::WorkFailed, "thoughts"),
        (json_of(400, &json!({"error": {"message": "exceeds the context size"}})), Code::TooLarge, "context"),
    ] {
        let fake = Fake::working(move |_| steps.clone()).await;
        let engine = fake.attach().await.unwrap();
        let problem = run(&engine, order(8)).await.unwrap_err();
        assert!(problem.code == code && problem.to_string().contains(named), "{named}: {problem:?}");
        assert!(!problem.hint.is_empty(), "{problem:?}");
    }
}

#[tokio::test]
async fn an_endless_stream_is_cut_off() {
    let fake = Fake::working(|_| {
        let mut steps = events(&[]);
        steps.extend((0..100).map(|_| Send(b": ping\n\n".repeat(8 << 10))));
        steps
    })
    .await;
    let problem = run(&fake.attach().await.unwrap(), order(8)).await.unwrap_err();
    assert!(problem.code == Code::TooLarge && problem.message.contains("stream"), "{problem}");
}

#[tokio::test]
async fn a_runtime_that_hangs_is_given_up_and_its_connection_closed() {
    // Before the first piece only the order's own limit counts.
    let fake = Fake::working(|_| vec![Hang]).await;
    let engine = fake.attach().await.unwrap();
    let problem = run(&engine, Order { wall_limit: Duration::from_millis(400), ..order(8) }).await.unwrap_err();
    assert!(problem.code == Code::Expired && problem.message.contains("400 ms"), "{problem}");
    // Later, silence is enough.
    let fake = Fake::working(|_| {
        let mut steps = events(&[piece("Par", &[7])]);
        steps.push(Hang);
        steps
    })
    .await;
    let engine = fake.attach().await.unwrap();
    let problem = run(&engine, order(8)).await.unwrap_err();
    assert!(problem.code == Code::Lost && problem.message.contains("middle"), "{problem}");
    // Who gives up the order closes the connection, and so does who stops the engine.
    let before = closed_within(&fake, 1).await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), run(&engine, order(8))).await;
    assert!(given_up.is_err());
    assert_eq!(closed_within(&fake, before + 1).await, before + 1);
    let (stopped, ()) = tokio::join!(run(&engine, order(8)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        engine.stop();
    });
    assert_eq!(stopped.unwrap_err().code, Code::Unavailable);
    assert_eq!(closed_within(&fake, before + 2).await, before + 2);
}

/// Waits until the runtime has seen so many connections close, two seconds at most.
async fn closed_within(fake: &Fake, wanted: usize) -> usize {
    for _ in 0..100 {
        if fake.closed.load(Ordering::SeqCst) >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fake.closed.load(Ordering::SeqCst)
}

#[tokio::test]
async fn orders_wait_for_a_slot_and_too_many_are_refused() {
    let fake = Fake::working(|_| vec![Hang]).await;
    let engine = Arc::new(fake.attach().await.unwrap());
    let orders: Vec<_> = (0..=MAX_QUEUED)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { run(&engine, order(8)).await })
        })
        .collect();
    while engine.seats.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(run(&engine, order(8)).await.unwrap_err().code, Code::TooMany);
    let heads = fake.seen.lock().unwrap().iter().filter(|head| head.starts_with("POST")).count();
    assert!(heads <= 2, "one trial and one order at a time, not {heads}");
    engine.stop();
    for order in orders {
        assert_eq!(order.await.unwrap().unwrap_err().code, Code::Unavailable);
    }
    assert_eq!(engine.seats.available_permits(), 1 + MAX_QUEUED);
}

#[tokio::test]
async fn nothing_but_what_was_attached_can_be_ordered() {
    let fake = Fake::working(|_| paris()).await;
    let engine = fake.attach().await.unwrap();
    let of = |order: Order| run(&engine, order);
    assert_eq!(of(with(|work| work.model.name = "other".into())).await.unwrap_err().code, Code::NotFound);
    assert_eq!(of(with(|work| work.model.sha256 = Sha256::of(b"x"))).await.unwrap_err().code, Code::NotFound);
    let embed = Order { work: Work::Embed { model: model(), passages: 1, tokens: 2 }, ..order(8) };
    assert_eq!(of(embed).await.unwrap_err().code, Code::Unavailable);
    let warm = |work: &mut GenerateWork| work.sampling.temperature = 0.7;
    let sold = Order { tenant: peer(), ..with(warm) };
    let problem = of(sold).await.unwrap_err();
    assert!(problem.code == Code::Unavailable && problem.message.contains("its own way"), "{problem}");
    assert!(of(with(warm)).await.is_ok());
    assert!(of(Order { tenant: peer(), ..order(8) }).await.is_ok());
    let problem = of(with(|work| work.sampling.top_k = 40)).await.unwrap_err();
    assert!(problem.message.contains("top_k"), "{problem}");
    assert_eq!(of(Order { input: Bytes::from_static(b"{}"), ..order(8) }).await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Fake::start(|_, _| paris()).await;
    let target = elsewhere.address.clone();
    let fake =
        Fake::working(move |_| vec![Send(head(307, &format!("location: {target}/v1/chat/completions\r\n")))]).await;
    let problem = run(&fake.attach().await.unwrap(), order(8)).await.unwrap_err();
    assert!(problem.message.contains("not followed"), "{problem}");
    assert!(elsewhere.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_key_is_sent_and_never_shown() {
    let key = "sk-very-secret";
    let fake = Fake::working(|_| {
        let echo = format!("{}Incorrect API key provided: sk-very-secret", "x".repeat(170));
        json_of(401, &json!({"error": {"message": echo}}))
    })
    .await;
    let attachment = Attachment { key: Some(Key::new(key).unwrap()), ..fake.attachment() };
    assert!(!format!("{attachment:?}").contains("secret"));
    let engine = HttpEngine::attach_within(attachment, quick()).await.unwrap();
    let problem = run(&engine, order(8)).await.unwrap_err();
    assert_eq!(problem.code, Code::Unauthenticated);
    assert!(!problem.to_string().contains("secret") && !problem.to_string().contains("sk-"), "{problem}");
    let sent = format!("authorization: Bearer {key}");
    assert!(fake.seen.lock().unwrap().iter().all(|head| head.contains(&sent)));
}

#[tokio::test]
async fn an_address_where_nothing_is_says_what_to_start() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let attachment =
        |address: String, place| Attachment { address, place, model: None, sold_as: None, key: None, slots: None };
    let problem = HttpEngine::attach(attachment(free.to_string(), Place::Loopback)).await.err().unwrap();
    assert!(problem.code == Code::Unavailable && problem.hint.contains("llama-server"), "{problem}");
    for (address, place) in [
        ("http://192.0.2.7:8080", Place::Loopback),
        ("http://169.254.169.254/v1", Place::Loopback),
        ("http://api.example/v1", Place::Cloud),
    ] {
        let problem = HttpEngine::attach(attachment(address.to_owned(), place)).await.err().unwrap();
        assert_eq!(problem.code, Code::Invalid, "{address}");
    }
    // What is no cloud has no certificate either.
    let fake = Fake::working(|_| paris()).await;
    let plain = fake.address.replace("http://", "https://");
    let problem = HttpEngine::attach(attachment(plain, Place::Cloud)).await.err().unwrap();
    assert!(matches!(problem.code, Code::Unavailable | Code::Lost), "{problem:?}");
    assert!(fake.seen.lock().unwrap().is_empty(), "the key would have been sent in the clear");
}

#[tokio::test]
async fn a_cloud_must_prove_who_it_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://localhost:{}/v1", listener.local_addr().unwrap().port());
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    // Answers whether a request came through; a client that hangs up in the handshake sends none.
    let served = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        std::io::Read::read(&mut rustls::Stream::new(&mut tls, &mut socket), &mut [0; 1]).is_ok_and(|read| read > 0)
    });
    let attachment = Attachment {
        address,
        place: Place::Cloud,
        model: Some("m".to_owned()),
        sold_as: None,
        key: Some(Key::new("sk-very-secret").unwrap()),
        slots: None,
    };
    let problem = HttpEngine::attach(attachment).await.err().unwrap();
    assert!(problem.code == Code::Forged && problem.message.contains("certificate"), "{problem:?}");
    assert!(!served.join().unwrap(), "the key was sent to somebody unknown");
}

#[tokio::test]
async fn each_runtime_is_told_from_its_answers() {
    let llama = Fake::start(|line, body| match line {
        "GET /health" => json_of(200, &json!({"status": "ok"})),
        "GET /props" => json_of(
            200,
            &json!({
                "build_info": "b7001-abc", "model_path": "models/SmolLM2-135M-Instruct-Q4_K_M.gguf", "total_slots": 4,
                "default_generation_settings": {"n_ctx": 4096},
            }),
        ),
        "GET /v1/models" => json_of(200, &json!({"data": [{"id": "smol", "owned_by": "llamacpp"}]})),
        "POST /v1/completions" if body["max_tokens"] == 1 => trial(),
        // A character of two tokens: only the second is told. The text's end is told, as it has no text.
        "POST /v1/completions" if body["prompt"] == "<user>" && body["cache_prompt"] == false => {
            done(events(&[piece("Pâr", &[7, 9]), piece("is", &[10]), piece("", &[2]), finish("stop"), usage(5, 5)]))
        }
        "POST /apply-template" => json_of(200, &json!({"prompt": "<user>"})),
        "POST /tokenize" if body["content"] == "Pâris" => json_of(200, &json!({"tokens": [7, 8, 9, 10]})),
        "POST /tokenize" if body["content"] == "<user>" => json_of(200, &json!({"tokens": [1, 2, 3, 4, 5]})),
        _ => json_of(404, &json!({})),
    })
    .await;
    let engine = llama.attach().await.unwrap();
    let runtime = engine.runtime().clone();
    assert_eq!((runtime.engine, runtime.build.as_deref()), (RuntimeKind::LlamaServer, Some("b7001-abc")));
    assert_eq!((runtime.model.as_str(), runtime.quantisation.as_deref()), ("smol", Some("Q4_K_M")));
    assert_eq!((runtime.context, runtime.slots, runtime.hash_checked), (Some(4096), 4, false));
    assert!(runtime.has_logprobs && runtime.has_token_ids);
    let output = run(&engine, Order { tenant: peer(), ..order(8) }).await.unwrap();
    assert_eq!(text_of(&output).tokens, Some(vec![7, 8, 9, 10, 2]));
    assert_eq!(output.worker.driver, "build b7001-abc, quantisation Q4_K_M");
    assert_eq!(engine.count_prompt(&order(8).input).await, Ok(5));

    let no_ids = || done(events(&[piece("Hi", &[]), finish("length"), usage(3, 1)]));
    let ollama = Fake::start(move |line, _| match line {
        "GET /api/version" => json_of(200, &json!({"version": "0.13.1"})),
        "GET /api/tags" => json_of(
            200,
            &json!({"models": [
                {"name": "llama3.2:latest", "digest": "sha256:ab", "details": {"quantization_level": "Q4_K_M"}},
                {"name": "other:7b", "digest": "cd"},
            ]}),
        ),
        "GET /api/ps" => json_of(200, &json!({"models": [{"name": "llama3.2:latest", "context_length": 8192}]})),
        "POST /v1/chat/completions" => no_ids(),
        _ => vec![Send(head(404, "")), Send(b"404 page not found".to_vec())],
    })
    .await;
    let named = |model: &str| Attachment { model: Some(model.to_owned()), ..ollama.attachment() };
    let engine = HttpEngine::attach_within(named("llama3.2"), quick()).await.unwrap();
    let runtime = engine.runtime();
    assert_eq!((runtime.engine, runtime.digest.as_deref()), (RuntimeKind::Ollama, Some("sha256:ab")));
    assert_eq!((runtime.quantisation.as_deref(), runtime.context), (Some("Q4_K_M"), Some(8192)));
    assert!(!runtime.has_logprobs && !runtime.has_token_ids);
    let raw = Order { input: Bytes::from_static(br#"{"prompt":"x"}"#), ..order(8) };
    assert!(run(&engine, raw).await.unwrap_err().message.contains("template"));
    let problem = HttpEngine::attach_within(named("gone"), quick()).await.err().unwrap();
    assert!(problem.code == Code::NotFound && problem.message.contains("other:7b"), "{problem}");

    let vllm = Fake::start(|line, body| match line {
        "GET /health" => vec![Send(head(200, ""))],
        "GET /version" => json_of(200, &json!({"version": "0.33.0"})),
        "GET /v1/models" => {
            json_of(200, &json!({"data": [{"id": "org/m", "owned_by": "vllm", "max_model_len": 32768}]}))
        }
        "POST /v1/completions" if body["return_token_ids"] == true => done(events(&[
            json!({"choices": [{"text": "Hi", "token_ids": [1], "logprobs": {"token_logprobs": [-0.1]}, "finish_reason": "length"}]}),
            usage(1, 1),
        ])),
        _ => json_of(404, &json!({"detail": "Not Found"})),
    })
    .await;
    let engine = vllm.attach().await.unwrap();
    let runtime = engine.runtime();
    assert_eq!((runtime.engine, runtime.build.as_deref()), (RuntimeKind::Vllm, Some("0.33.0")));
    assert_eq!((runtime.context, runtime.has_logprobs, runtime.has_token_ids), (Some(32768), true, true));
}

#[tokio::test]
async fn what_cannot_be_used_is_not_attached() {
    let loading = Fake::start(|_, _| json_of(503, &json!({"error": {"message": "Loading model"}}))).await;
    let page = Fake::start(|_, _| vec![Send(head(200, "content-type: text/html\r\n")), Send(b"<html>".to_vec())]).await;
    let silent = Fake::start(|_, _| vec![Hang]).await;
    let huge = Fake::start(|_, _| {
        let mut steps = vec![Send(head(200, ""))];
        steps.extend((0..80).map(|_| Send(vec![b' '; 64 << 10])));
        steps
    })
    .await;
    let models = |answer: fn(&Value) -> Vec<Step>| {
        Fake::start(move |line, body| match line {
            "GET /v1/models" => json_of(200, &json!({"data": [{"id": "m"}]})),
            "POST /v1/chat/completions" => answer(body),
            _ => json_of(404, &json!({})),
        })
    };
    let unmeasured = models(|_| done(events(&[piece("Hi", &[1]), finish("length")]))).await;
    for (fake, code, named) in [
        (&loading, Code::Unavailable, "Loading model"),
        (&page, Code::Invalid, "does not list"),
        (&silent, Code::Lost, "has not answered"),
        (&huge, Code::TooLarge, "larger"),
        (&unmeasured, Code::WorkFailed, "how many tokens"),
    ] {
        let limits = Limits { question: Duration::from_millis(900), ..quick() };
        let problem = HttpEngine::attach_within(fake.attachment(), limits).await.err().unwrap();
        assert!(problem.code == code && problem.message.contains(named), "{named}: {problem:?}");
    }
    // Without log-probabilities it is attached, and marked.
    let shy = models(|body| match body["logprobs"].is_null() {
        true => done(events(&[json!({"choices": [{"delta": {"content": "Hi"}}]}), finish("length"), usage(3, 1)])),
        false => json_of(400, &json!({"error": {"message": "logprobs are not supported"}})),
    })
    .await;
    let engine = shy.attach().await.unwrap();
    assert!(!engine.runtime().has_logprobs && !engine.runtime().has_token_ids);
}
