//! A contractor that speaks A2A correctly and lies in its documents: a real server on a real port, whose agent is the
//! test's own.

use async_trait::async_trait;
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};
use tender_a2a::{
    A2aError, Agent, Authenticator, Call, CardSource, Incoming, Limits, MemoryLog, Reply, Standing, WebhookRules,
    card::{self, CardFacts},
    contract,
    log::{Change, Output},
    router, serve,
    wire::{Role, Task, TaskState},
};
use tender_base::{
    BlobRef, Clock, MicroUsd, Rate, Signed, Signer,
    documents::{Award, CallForProposals, Countersignature, Delivery, Message, PairingAnswer, Proposal, WorkerInfo},
    signed::KeySigner,
    time::SystemClock,
    units::Meter,
};

/// How it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Not at all: the delivery is the true product of a matrix and the identity.
    None,
    /// Its proposal is signed by another key.
    ProposalOfAnother,
    /// Its proposal was changed after it was signed.
    ProposalAltered,
    /// It proposes again what it proposed to an earlier call.
    ProposalReplayed,
    /// Its proposal has run out.
    ProposalExpired,
    /// Its amount is not rate × units.
    AmountWrong,
    /// It bills units that the job does not declare.
    UnitsWrong,
    /// It answers a call with a delivery.
    AnotherDocument,
    /// It delivers bytes that it did not compute.
    OutputWrong,
    /// It delivers other bytes than it signs for.
    OutputOfAnother,
    /// It bills more than it proposed.
    BillsMore,
    /// Its delivery answers another award.
    DeliveryReplayed,
    /// It delivers not-a-number.
    OutputNan,
}

struct Swindler {
    signer: KeySigner,
    log: Arc<MemoryLog>,
    lie: Mutex<Lie>,
    first: Mutex<Option<Signed<Proposal>>>,
    asked: Mutex<Option<Signed<Proposal>>>,
}

/// A swindler's server.
pub struct Site {
    /// Its address.
    pub address: String,
    agent: Arc<Swindler>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Site {
    /// Opens it. `card_by` signs the card: an honest card is signed by seed 66.
    pub async fn open(card_by: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let signer = KeySigner::from_seed(&[66; 32]);
        let did = signer.did();
        let mut card = card::build(&CardFacts {
            name: "swindler".to_owned(),
            description: "Lies.".to_owned(),
            url: format!("{address}/"),
            did,
            version: "1".to_owned(),
            tls_key_sha256: None,
            skills: Vec::new(),
            offer: card::Offer::default(),
            successions: Vec::new(),
        });
        card::sign(&mut card, &KeySigner::from_seed(&[card_by; 32])).unwrap();
        let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
        let agent = Arc::new(Swindler {
            signer,
            log: log.clone(),
            lie: Mutex::new(Lie::None),
            first: Mutex::default(),
            asked: Mutex::default(),
        });
        let source = CardSource::new(&card, SystemClock.now()).unwrap();
        let auth = Authenticator::new(did, Arc::new(SystemClock));
        let router = router(agent.clone(), log, source, Limits::default(), auth, WebhookRules::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(serve(listener, None, router, Limits::default(), async {
            let _ = stopped.await;
        }));
        Self { address, agent, _stop: stop }
    }

    /// The line to paste.
    pub fn link(&self) -> String {
        let host = self.address.trim_start_matches("http://");
        let expires = SystemClock.now().after(Duration::from_secs(600));
        format!("tender://{host}/?key={}&secret=anything&expires={expires}&tls=0", self.agent.signer.did())
    }

    /// Lies so from now on.
    pub fn lie(&self, lie: Lie) {
        *self.agent.lie.lock().unwrap() = lie;
    }
}

impl Swindler {
    fn how(&self) -> Lie {
        *self.lie.lock().unwrap()
    }

    fn propose(&self, call: &Signed<CallForProposals>) -> Message {
        let lie = self.how();
        let work = &call.document.job.work;
        let (units, unit) = (work.units(), work.kind().unit());
        let rate = Rate { micro_usd: 1, per_units: 1000, unit };
        let now = SystemClock.now();
        let mut proposal = Proposal {
            contract: call.document.contract,
            contractor: self.signer.did(),
            client: call.document.client,
            call: call.hash(),
            rate,
            prompt_rate: None,
            units,
            amount: rate.amount(units).unwrap(),
            valid_until: now.after(Duration::from_secs(30)),
            estimated_ms: 1,
            adapter: String::new(),
        };
        match lie {
            Lie::ProposalExpired => proposal.valid_until = call.document.called_at,
            Lie::AmountWrong => proposal.amount = MicroUsd(1),
            Lie::UnitsWrong => {
                proposal.units *= 2;
                proposal.amount = rate.amount(proposal.units).unwrap();
            }
            _ => {}
        }
        let mut signed = match lie {
            Lie::ProposalOfAnother => Signed::new(proposal, &KeySigner::from_seed(&[67; 32])),
            _ => Signed::new(proposal, &self.signer),
        };
        let first = self.first.lock().unwrap().get_or_insert_with(|| signed.clone()).clone();
        if lie == Lie::ProposalAltered {
            signed.document.estimated_ms = 0;
        }
        if lie == Lie::ProposalReplayed {
            signed = first;
        }
        *self.asked.lock().unwrap() = Some(signed.clone());
        if lie == Lie::AnotherDocument { Message::Call(call.clone()) } else { Message::Proposal(signed) }
    }

    fn deliver(&self, award: &Signed<Award>, input: &[u8]) -> (Signed<Delivery>, Vec<u8>) {
        let lie = self.how();
        let offered = self.asked.lock().unwrap().clone().unwrap().document;
        // A times the identity: the first half of the input.
        let mut output = input[..input.len() / 2].to_vec();
        match lie {
            Lie::OutputWrong => output[..4].copy_from_slice(&1000f32.to_le_bytes()),
            Lie::OutputNan => output[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            _ => {}
        }
        let signed_output = BlobRef::of(&output);
        if lie == Lie::OutputOfAnother {
            output[0] ^= 1;
        }
        let delivery = Delivery {
            contract: award.document.contract,
            contractor: self.signer.did(),
            client: award.document.client,
            award: if lie == Lie::DeliveryReplayed { offered.call } else { award.hash() },
            output: signed_output,
            units: offered.units,
            amount: MicroUsd(offered.amount.0 + i64::from(lie == Lie::BillsMore)),
            meter: Meter::without_sensor(1),
            worker: WorkerInfo {
                adapter: "none".to_owned(),
                driver: "none".to_owned(),
                backend: "none".to_owned(),
                version: "1".to_owned(),
                runtime: None,
            },
            delivered_at: SystemClock.now(),
        };
        (Signed::new(delivery, &self.signer), output)
    }

    fn take(&self, call: &Call, award: &Signed<Award>, input: &[u8]) -> Reply {
        let (delivery, output) = self.deliver(award, input);
        let id = award.document.contract.to_string();
        let output = Output {
            artifact_id: contract::OUTPUT.to_owned(),
            blob: self.log.keep_blob(output),
            media_type: contract::BYTES.to_owned(),
            filename: None,
            extensions: vec![contract::CONTRACT_EXTENSION.to_owned()],
        };
        let status = |state, message| Change::Status { state, message, metadata: None };
        let delivered = contract::wrap(&Message::Delivery(delivery), Role::Agent);
        let changes = vec![
            status(TaskState::Submitted, None),
            Change::Output(output),
            status(TaskState::InputRequired, Some(delivered)),
        ];
        Reply::Task(self.log.create(&call.owner(), id.clone(), id, None, changes))
    }
}

#[async_trait]
impl Agent for Swindler {
    async fn standing(&self, _: &tender_base::Did) -> Standing {
        Standing::Peer
    }

    async fn receive(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError> {
        let envelope = contract::unwrap(incoming.request.message)?.unwrap();
        let answer = match envelope.document {
            Message::Award(award) => return Ok(self.take(call, &award, &envelope.input.unwrap())),
            Message::PairingRequest(request) => {
                let answer = PairingAnswer {
                    inviter: self.signer.did(),
                    invitee: request.document.invitee,
                    request: request.hash(),
                    name: "swindler".to_owned(),
                    credit_limit: MicroUsd(1_000_000),
                };
                Message::PairingAnswer(Signed::new(answer, &self.signer))
            }
            Message::Call(call) => self.propose(&call),
            Message::Acceptance(acceptance) => {
                let said = &acceptance.document;
                let counter = Countersignature {
                    contract: said.contract,
                    contractor: self.signer.did(),
                    client: said.client,
                    acceptance: acceptance.hash(),
                    amount: said.amount,
                    signed_at: SystemClock.now(),
                };
                Message::Countersignature(Signed::new(counter, &self.signer))
            }
            other => other,
        };
        Ok(Reply::Message(Box::new(contract::wrap(&answer, Role::Agent))))
    }

    async fn cancel(&self, _: &Call, task: &Task) -> Result<(), A2aError> {
        Err(A2aError::task_not_found(&task.id))
    }
}
