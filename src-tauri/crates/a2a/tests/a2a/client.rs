//! Our client against our server: calls, awards, and a peer that goes away.

use crate::site::{Site, award, call, client_key, contract, contractor_key, handback};
use futures::StreamExt;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tender_a2a::{Client, TaskEvent, TaskEvents, wire::TaskState};
use tender_base::{Code, Problem, Signer, documents::Message, time::SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes bytes on to a server, until told to hold still or to turn to another one.
pub struct Relay {
    pub address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    /// Bumped to cut what is open.
    generation: watch::Sender<u64>,
    still: watch::Sender<bool>,
    /// Bytes that still come back before the connection that carries them is cut, once.
    left: Arc<AtomicI64>,
}

impl Relay {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let (generation, cut) = watch::channel(0);
        let (still, held) = watch::channel(false);
        let to = target.clone();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let budget = left.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let address = *to.lock().unwrap();
                let Ok(far) = TcpStream::connect(address).await else { continue };
                let (mut cut, held, budget) = (cut.clone(), held.clone(), budget.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let (near, far) = (near.into_split(), far.into_split());
                    tokio::select! {
                        _ = pump(near.0, far.1, held.clone(), Arc::new(AtomicI64::new(i64::MAX))) => {}
                        _ = pump(far.0, near.1, held, budget) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, target, generation, still, left }
    }

    pub fn turn_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Cuts the connection over which so many more bytes have come back.
    fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// From now on nothing arrives any more, and nothing is closed: a machine without power.
    fn hold_still(&self) {
        self.still.send_replace(true);
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    held: watch::Receiver<bool>,
    left: Arc<AtomicI64>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        if *held.borrow() {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
        if left.fetch_sub(n as i64, Ordering::SeqCst) <= n as i64 {
            left.store(i64::MAX, Ordering::SeqCst);
            return;
        }
    }
}

async fn client(address: &str) -> Client {
    Client::connect(address, contractor_key().did(), Arc::new(client_key()), Arc::new(SystemClock)).await.unwrap()
}

async fn all(events: TaskEvents) -> Vec<Result<TaskEvent, Problem>> {
    tokio::time::timeout(Duration::from_secs(20), events.collect()).await.unwrap()
}

async fn awarded(client: &Client, input: &[u8]) -> Vec<Result<TaskEvent, Problem>> {
    all(client.award(award(), input.to_vec()).await.unwrap()).await
}

#[tokio::test]
async fn a_call_is_answered_by_a_proposal_and_other_documents_by_documents() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    let Message::Proposal(proposal) = client.exchange(Message::Call(call())).await.unwrap() else { panic!() };
    assert_eq!(proposal.verify(&contractor_key().did()).unwrap().call, call().hash());
    assert!(matches!(client.exchange(Message::Award(award())).await.unwrap(), Message::Delivery(_)));
    let seen = site.agent.seen.lock().unwrap();
    assert!(seen.iter().all(|(caller, _)| caller.did() == Some(client_key().did()) && caller.ip.is_loopback()));
}

#[tokio::test]
async fn an_award_is_followed_to_its_delivery() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    let events: Vec<TaskEvent> = awarded(&client, b"abc").await.into_iter().map(Result::unwrap).collect();
    let [accepted, first, second, TaskEvent::Delivered { delivery, output }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*accepted, TaskEvent::Accepted { task_id: contract().to_string() });
    assert_eq!(
        [first, second],
        [
            &TaskEvent::Progress { done: 1, total: 2, text: "a".into() },
            &TaskEvent::Progress { done: 2, total: 2, text: "aa".into() }
        ]
    );
    assert_eq!(output, b"cba");
    assert!(delivery.document.output.matches(output));
}

#[tokio::test]
async fn large_inputs_and_outputs_arrive_whole() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    let input: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let events = awarded(&client, &input).await;
    let Some(Ok(TaskEvent::Delivered { output, .. })) = events.last() else { panic!("{:?}", events.last()) };
    assert!(output.iter().rev().eq(&input));
}

#[tokio::test]
async fn a_large_output_is_gone_on_with_where_its_connection_broke() {
    let site = Site::start().await;
    let relay = Relay::start(site.address).await;
    let client = client(&format!("http://{}", relay.address)).await;
    let input: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    relay.cut_after(1_000_000);
    let events = awarded(&client, &input).await;
    let Some(Ok(TaskEvent::Delivered { output, .. })) = events.last() else { panic!("{:?}", events.last()) };
    assert!(output.iter().rev().eq(&input));
    // Since the cut: the rest of the output, and not all of it again.
    let came = i64::MAX - relay.left.load(Ordering::SeqCst);
    assert!((1_500_000..2_900_000).contains(&came), "{came}");
}

#[tokio::test]
async fn ends_come_with_their_reason() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    for (input, state, code) in
        [("refuse", TaskState::Rejected, Code::Expired), ("fail", TaskState::Failed, Code::WorkFailed)]
    {
        let events = awarded(&client, input.as_bytes()).await;
        let Some(Ok(TaskEvent::Ended { state: ended, problem: Some(problem) })) = events.last() else {
            panic!("{events:?}")
        };
        assert_eq!((ended, problem.code), (&state, code));
    }
    let site = Site::start().await;
    let client = self::client(&site.url).await;
    let broken = awarded(&client, b"broken").await.pop().unwrap().unwrap_err();
    assert_eq!((broken.code, broken.hint.as_str()), (Code::Internal, "free some space"));
}

#[tokio::test]
async fn a_handback_comes_as_the_contractors_signed_word() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    let events = awarded(&client, b"hand back").await;
    let Some(Ok(TaskEvent::HandedBack(said))) = events.last() else { panic!("{events:?}") };
    assert_eq!(*said, handback(&contractor_key()));
    let events = all(client.resume(contract()).await.unwrap()).await;
    assert!(matches!(events.last(), Some(Ok(TaskEvent::HandedBack(again))) if again == said), "{events:?}");

    let site = Site::start().await;
    let events = awarded(&self::client(&site.url).await, b"hand back in another's name").await;
    assert_eq!(events.last().unwrap().as_ref().unwrap_err().code, Code::Forged);
}

#[tokio::test]
async fn an_output_that_is_not_the_stated_one_is_forged() {
    let site = Site::start().await;
    let events = awarded(&client(&site.url).await, b"forged").await;
    assert_eq!(events.last().unwrap().as_ref().unwrap_err().code, Code::Forged);
}

#[tokio::test]
async fn a_slow_task_is_no_silent_peer() {
    let site = Site::start().await;
    let events = awarded(&client(&site.url).await, b"slow").await;
    assert!(matches!(events.last(), Some(Ok(TaskEvent::Delivered { .. }))), "{events:?}");
}

#[tokio::test]
async fn a_peer_that_stops_answering_is_noticed_within_two_seconds() {
    let site = Site::start().await;
    let relay = Relay::start(site.address).await;
    let client = client(&format!("http://{}", relay.address)).await;
    let mut events = client.award(award(), b"never".to_vec()).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(TaskEvent::Accepted { .. }))));
    assert!(matches!(events.next().await, Some(Ok(TaskEvent::Progress { .. }))));
    relay.hold_still();
    let still = Instant::now();
    let problem = events.next().await.unwrap().unwrap_err();
    let after = still.elapsed();
    assert_eq!(problem.code, Code::Lost);
    // The last keep-alive may have come just before.
    assert!(Duration::from_millis(900) < after && after < Duration::from_secs(2), "{after:?}");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_cut_connection_is_lost_at_once_and_can_be_resumed() {
    let site = Site::start().await;
    let relay = Relay::start(site.address).await;
    let client = client(&format!("http://{}", relay.address)).await;
    let mut events = client.award(award(), b"slow".to_vec()).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(TaskEvent::Accepted { .. }))));
    relay.turn_to(site.address);
    let lost = all(events).await.pop().unwrap().unwrap_err();
    assert_eq!(lost.code, Code::Lost);
    let events = all(client.resume(contract()).await.unwrap()).await;
    assert!(matches!(events.first(), Some(Ok(TaskEvent::Accepted { .. }))), "{events:?}");
    let Some(Ok(TaskEvent::Delivered { output, .. })) = events.last() else { panic!("{events:?}") };
    assert_eq!(output, b"s");
}

#[tokio::test]
async fn a_task_that_has_ended_is_read_instead() {
    let site = Site::start().await;
    let client = client(&site.url).await;
    let ended = |events: &[Result<TaskEvent, Problem>]| {
        matches!(events, [_, Ok(TaskEvent::Ended { state: TaskState::Completed, problem: None })])
    };
    let events = awarded(&client, b"end").await;
    assert!(ended(&events), "{events:?}");
    let events = all(client.resume(contract()).await.unwrap()).await;
    assert!(ended(&events), "{events:?}");
}

#[tokio::test]
async fn nobody_at_an_address_is_said_so() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let connect = |address: String| async move {
        let signer = Arc::new(client_key());
        Client::connect(&address, contractor_key().did(), signer, Arc::new(SystemClock)).await.unwrap_err()
    };
    assert_eq!(connect(format!("http://{free}")).await.code, Code::Unavailable);
    assert_eq!(connect("http://192.0.2.1:1".into()).await.code, Code::Invalid);
}
