//! Which interface of a card is used, and what an operation looks like there.

use super::http::not_a2a;
use crate::A2aError;
use a2a::{
    AgentCard, CancelTaskRequest, GetTaskRequest, ListTasksRequest, SendMessageRequest, SubscribeToTaskRequest,
    TRANSPORT_PROTOCOL_HTTP_JSON, TRANSPORT_PROTOCOL_JSONRPC, methods,
};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde_json::Value;
use tender_base::{Code, Problem};

/// What may not stand in one segment of a path.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// How an interface is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    JsonRpc,
    HttpJson,
}

/// Where a card says that its agent is, and in which binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) binding: Binding,
    pub(super) url: Url,
    /// Repeated in every request, as the card has it.
    tenant: Option<String>,
}

/// What is asked of an agent.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Send(Box<SendMessageRequest>),
    Stream(Box<SendMessageRequest>),
    Get(GetTaskRequest),
    List(ListTasksRequest),
    Cancel(CancelTaskRequest),
    /// From how the task stands, or from after the event of this id.
    Subscribe {
        task: String,
        after: Option<String>,
    },
}

/// An operation as it is sent. Sending it again is the same request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Bytes>,
    pub(super) after: Option<String>,
}

impl Interface {
    /// The first interface of a card that we speak: version 1.0 by JSON-RPC or HTTP+JSON.
    pub(super) fn of(card: &AgentCard) -> Result<Self, Problem> {
        let spoken = card.supported_interfaces.iter().filter(|it| it.protocol_version == a2a::VERSION);
        let known = spoken.filter_map(|it| {
            let binding = match it.protocol_binding.as_str() {
                TRANSPORT_PROTOCOL_JSONRPC => Binding::JsonRpc,
                TRANSPORT_PROTOCOL_HTTP_JSON => Binding::HttpJson,
                _ => return None,
            };
            Some((binding, it))
        });
        let (binding, interface) = known.into_iter().next().ok_or_else(|| {
            Problem::new(
                Code::Invalid,
                "the agent offers neither JSON-RPC nor HTTP+JSON of A2A 1.0",
                "the agent needs a newer version",
            )
        })?;
        let url = Url::parse(&interface.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| not_a2a("the card's interface has no http address"))?;
        Ok(Self { binding, url, tenant: interface.tenant.clone().filter(|tenant| !tenant.is_empty()) })
    }

    /// An operation as a request; a large message is written on a thread of its own, since base64 of 64 MiB takes a
    /// while.
    pub(super) async fn request(&self, operation: Operation) -> Result<Request, Problem> {
        let interface = self.clone();
        let write = move || match interface.binding {
            Binding::JsonRpc => interface.rpc(operation),
            Binding::HttpJson => interface.rest(operation),
        };
        tokio::task::spawn_blocking(write).await.map_err(|error| internal(&error.to_string()))?
    }

    fn rpc(&self, operation: Operation) -> Result<Request, Problem> {
        let tenant = self.tenant.clone();
        let (body, after) = match operation {
            Operation::Send(request) => (rpc(methods::SEND_MESSAGE, SendMessageRequest { tenant, ..*request }), None),
            Operation::Stream(request) => {
                (rpc(methods::SEND_STREAMING_MESSAGE, SendMessageRequest { tenant, ..*request }), None)
            }
            Operation::Get(request) => (rpc(methods::GET_TASK, GetTaskRequest { tenant, ..request }), None),
            Operation::List(request) => (rpc(methods::LIST_TASKS, ListTasksRequest { tenant, ..request }), None),
            Operation::Cancel(request) => (rpc(methods::CANCEL_TASK, CancelTaskRequest { tenant, ..request }), None),
            Operation::Subscribe { task, after } => {
                (rpc(methods::SUBSCRIBE_TO_TASK, SubscribeToTaskRequest { id: task, tenant }), after)
            }
        };
        let path = self.url.path().to_owned();
        Ok(Request { method: Method::POST, path, query: Vec::new(), body: Some(body?), after })
    }

    /// The routes of `specification/a2a.proto`, behind the tenant.
    fn rest(&self, operation: Operation) -> Result<Request, Problem> {
        let front = self.url.path().trim_end_matches('/');
        let tenant = self.tenant.as_ref().map(|tenant| format!("/{}", segment(tenant))).unwrap_or_default();
        let request = |method, path: &str| Request {
            method,
            path: format!("{front}{tenant}{path}"),
            query: Vec::new(),
            body: None,
            after: None,
        };
        // The tenant stands in the path.
        let message = |message: SendMessageRequest| json(&SendMessageRequest { tenant: None, ..message });
        Ok(match operation {
            Operation::Send(it) => Request { body: Some(message(*it)?), ..request(Method::POST, "/message:send") },
            Operation::Stream(it) => Request { body: Some(message(*it)?), ..request(Method::POST, "/message:stream") },
            Operation::Get(it) => Request {
                query: it.history_length.iter().map(|n| ("historyLength", n.to_string())).collect(),
                ..request(Method::GET, &format!("/tasks/{}", segment(&it.id)))
            },
            Operation::List(it) => Request { query: list(it)?, ..request(Method::GET, "/tasks") },
            Operation::Cancel(it) => {
                let path = format!("/tasks/{}:cancel", segment(&it.id));
                Request { body: Some(json(&serde_json::json!({}))?), ..request(Method::POST, &path) }
            }
            Operation::Subscribe { task, after } => {
                Request { after, ..request(Method::GET, &format!("/tasks/{}:subscribe", segment(&task))) }
            }
        })
    }

    /// What an answer holds, or the problem that it states.
    pub(super) fn content(&self, mut value: Value) -> Result<Value, Problem> {
        if !value["error"].is_null() {
            return Err(match self.binding {
                Binding::JsonRpc => A2aError::from_rpc_body(&value["error"]).problem,
                Binding::HttpJson => A2aError::from_rest_body(&value["error"]).problem,
            });
        }
        match self.binding {
            Binding::HttpJson if value.is_object() => Ok(value),
            Binding::HttpJson => Err(not_a2a("the peer's answer is no object")),
            Binding::JsonRpc => match value.get_mut("result").map(Value::take) {
                Some(result) => Ok(result),
                None => Err(not_a2a("the peer's answer is no JSON-RPC response")),
            },
        }
    }

    /// Whether answers of this status may hold what was asked for.
    pub(super) fn is_answer(&self, status: StatusCode) -> bool {
        match self.binding {
            Binding::JsonRpc => status == StatusCode::OK,
            Binding::HttpJson => status.is_success(),
        }
    }
}

fn list(request: ListTasksRequest) -> Result<Vec<(&'static str, String)>, Problem> {
    let ListTasksRequest { context_id, status, page_size, page_token, history_length, .. } = request;
    let status = status.map(|status| match serde_json::to_value(status) {
        Ok(Value::String(name)) => Ok(name),
        _ => Err(internal("the state has no name")),
    });
    let all = [
        ("contextId", context_id),
        ("status", status.transpose()?),
        ("pageSize", page_size.map(|n| n.to_string())),
        ("pageToken", page_token),
        ("historyLength", history_length.map(|n| n.to_string())),
        ("statusTimestampAfter", request.status_timestamp_after.map(|at| at.to_rfc3339())),
        ("includeArtifacts", request.include_artifacts.map(|yes| yes.to_string())),
    ];
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn rpc<T: Serialize>(method: &'static str, params: T) -> Result<Bytes, Problem> {
    #[derive(Serialize)]
    struct Call<T> {
        jsonrpc: &'static str,
        id: u8,
        method: &'static str,
        params: T,
    }
    json(&Call { jsonrpc: "2.0", id: 1, method, params })
}

fn json(value: &impl Serialize) -> Result<Bytes, Problem> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| internal(&error.to_string()))
}

fn internal(why: &str) -> Problem {
    Problem::new(Code::Internal, format!("the request is not writable: {why}"), "report this as a bug")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card(interfaces: Value) -> AgentCard {
        serde_json::from_value(json!({
            "name": "n", "description": "d", "version": "1", "supportedInterfaces": interfaces,
            "capabilities": {}, "defaultInputModes": [], "defaultOutputModes": [], "skills": [],
        }))
        .unwrap()
    }

    fn interface(binding: &str, tenant: Option<&str>) -> Interface {
        let tenant = tenant.map(|tenant| json!(tenant)).unwrap_or_default();
        let it = json!({"url": "https://a.example/x/", "protocolBinding": binding, "protocolVersion": "1.0", "tenant": tenant});
        Interface::of(&card(json!([it]))).unwrap()
    }

    #[test]
    fn the_first_interface_that_is_spoken_is_taken() {
        let it = |binding: &str, version: &str, url: &str| json!({"url": url, "protocolBinding": binding, "protocolVersion": version});
        let chosen = Interface::of(&card(json!([
            it("GRPC", "1.0", "a.example:1"),
            it("JSONRPC", "0.3", "https://a.example/old"),
            it("HTTP+JSON", "1.0", "https://a.example/rest"),
            it("JSONRPC", "1.0", "https://a.example/rpc"),
        ])))
        .unwrap();
        assert_eq!((chosen.binding, chosen.url.path()), (Binding::HttpJson, "/rest"));
        for lacking in [json!([]), json!([it("GRPC", "1.0", "x")]), json!([it("JSONRPC", "1.0", "file:///etc/x")])] {
            assert_eq!(Interface::of(&card(lacking)).unwrap_err().code, Code::Invalid);
        }
    }

    #[tokio::test]
    async fn every_operation_carries_the_tenant_in_its_bindings_own_place() {
        let get = || Operation::Get(GetTaskRequest { id: "a/b".into(), history_length: Some(0), tenant: None });
        let rpc = interface("JSONRPC", Some("t")).request(get()).await.unwrap();
        let body: Value = serde_json::from_slice(&rpc.body.unwrap()).unwrap();
        assert_eq!(
            (rpc.path.as_str(), &body["params"]["tenant"], &body["method"]),
            ("/x/", &json!("t"), &json!("GetTask"))
        );
        let rest = interface("HTTP+JSON", Some("t t")).request(get()).await.unwrap();
        assert_eq!((rest.path.as_str(), rest.query), ("/x/t%20t/tasks/a%2Fb", vec![("historyLength", "0".to_owned())]));
        let subscribe = Operation::Subscribe { task: "t".into(), after: Some("7".into()) };
        let rest = interface("HTTP+JSON", None).request(subscribe).await.unwrap();
        assert_eq!((rest.path.as_str(), rest.after.as_deref()), ("/x/tasks/t:subscribe", Some("7")));
    }

    #[test]
    fn answers_are_taken_apart() {
        let (rpc, rest) = (interface("JSONRPC", None), interface("HTTP+JSON", None));
        assert_eq!(rpc.content(json!({"result": 1})).unwrap(), json!(1));
        assert_eq!(rpc.content(json!({"error": {"code": -32001}})).unwrap_err().code, Code::NotFound);
        assert!(rpc.content(json!([])).is_err());
        assert_eq!(rest.content(json!({"task": 1})).unwrap(), json!({"task": 1}));
        assert_eq!(rest.content(json!({"error": {"code": 404}})).unwrap_err().code, Code::NotFound);
        assert!(rest.content(json!([])).is_err());
    }
}
