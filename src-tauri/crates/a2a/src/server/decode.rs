//! Reading requests strictly: what can be read in two ways is refused, with the path of what is wrong.
//!
//! - A member that is there twice, and nesting deeper than [`MAX_DEPTH`], are refused while parsing.
//! - Members of the protocol may be written as the proto writes them (`task_id`) or as ProtoJSON does (`taskId`), never
//!   both. What is inside `data` and `metadata` is the sender's own and stays as it is.
//! - A part has exactly one of text, raw, url and data, of the right type.

use crate::{A2aError, ErrorKind, error::readable};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::{fmt, str::FromStr};

/// Deepest nesting of a request.
const MAX_DEPTH: usize = 64;
/// Most parameters of a query, which are compared with each other: anybody may send a URI with thousands.
const MAX_PARAMETERS: usize = 32;

/// Parses one JSON value.
///
/// # Errors
/// [`ErrorKind::Parse`].
pub(crate) fn json(bytes: &[u8]) -> Result<Value, A2aError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(MAX_DEPTH).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        A2aError::new(
            ErrorKind::Parse,
            readable(&format!("the body is not JSON of one meaning: {error}")),
            "send one JSON object in UTF-8 with the header `Content-Type: application/json`",
        )
    })
}

/// Builds a value that is at most so many levels deep.
struct Strict(usize);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn inner<E: de::Error>(&self) -> Result<usize, E> {
        self.0.checked_sub(1).ok_or_else(|| E::custom(format!("more than {MAX_DEPTH} levels of nesting")))
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self(depth))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let depth = self.inner()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(de::Error::custom(format!("the member {name} is there twice")));
            }
            let value = members.next_value_seed(Self(depth))?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// The members of one kind of object whose names have more than one word, and the objects inside it.
pub(crate) struct Shape {
    names: &'static [&'static str],
    inside: &'static [(&'static str, &'static Shape)],
}

static PART: Shape = Shape { names: &["mediaType"], inside: &[] };
static MESSAGE: Shape =
    Shape { names: &["messageId", "contextId", "taskId", "referenceTaskIds"], inside: &[("parts", &PART)] };
static CONFIGURATION: Shape = Shape {
    names: &["acceptedOutputModes", "taskPushNotificationConfig", "historyLength", "returnImmediately"],
    inside: &[("taskPushNotificationConfig", &PUSH)],
};
/// `SendMessage` and `SendStreamingMessage`.
pub(crate) static SEND: Shape =
    Shape { names: &[], inside: &[("message", &MESSAGE), ("configuration", &CONFIGURATION)] };
/// `GetTask`, `CancelTask`, `SubscribeToTask`.
pub(crate) static TASK: Shape = Shape { names: &["historyLength"], inside: &[] };
/// `ListTasks`.
pub(crate) static LIST: Shape = Shape {
    names: &["contextId", "pageSize", "pageToken", "historyLength", "statusTimestampAfter", "includeArtifacts"],
    inside: &[],
};
/// The methods for push notification configs.
pub(crate) static PUSH: Shape = Shape { names: &["taskId", "pageSize", "pageToken"], inside: &[] };

/// Reads `value` as a request; what is wrong names its path.
///
/// # Errors
/// [`ErrorKind::InvalidParams`].
pub(crate) fn request<T: DeserializeOwned>(mut value: Value, shape: &Shape) -> Result<T, A2aError> {
    camel(&mut value, shape, "")?;
    if let Some(parts) = value.pointer_mut("/message/parts").and_then(Value::as_array_mut) {
        for (index, part) in parts.iter_mut().enumerate() {
            check_part(part, &format!("message.parts[{index}]"))?;
        }
    }
    fields(value)
}

/// As [`request`], for what has no members of several words.
pub(crate) fn fields<T: DeserializeOwned>(value: Value) -> Result<T, A2aError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!("{path}: ") };
        A2aError::invalid(readable(&format!("{at}{}", error.inner())))
    })
}

/// `mediaType` → `media_type`.
fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn camel(value: &mut Value, shape: &Shape, path: &str) -> Result<(), A2aError> {
    let members = match value {
        Value::Object(members) => members,
        Value::Array(items) => {
            return items
                .iter_mut()
                .enumerate()
                .filter(|(_, item)| item.is_object())
                .try_for_each(|(index, item)| camel(item, shape, &format!("{path}[{index}]")));
        }
        _ => return Ok(()),
    };
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in shape.names {
        if let Some(member) = members.remove(&snake(name))
            && members.insert((*name).to_owned(), member).is_some()
        {
            return Err(A2aError::invalid(format!("{} is there twice, as {} too", at(name), snake(name))));
        }
    }
    for (name, shape) in shape.inside {
        if let Some(member) = members.get_mut(*name) {
            camel(member, shape, &at(name))?;
        }
    }
    Ok(())
}

/// Exactly one content, of its type; what `a2a-lf` reads leniently is refused here.
fn check_part(part: &mut Value, path: &str) -> Result<(), A2aError> {
    let Value::Object(members) = part else {
        return Err(A2aError::invalid(format!("{path} must be an object")));
    };
    let is_set = |name: &&str| members.get(*name).is_some_and(|value| !value.is_null());
    let set: Vec<&str> = ["text", "raw", "url", "data"].into_iter().filter(is_set).collect();
    match set[..] {
        [] if members.contains_key("data") => {}
        [_] => {}
        [] => return Err(A2aError::invalid(format!("{path} must have one of text, raw, url and data"))),
        _ => return Err(A2aError::invalid(format!("{path} has {}; a part has exactly one", set.join(" and ")))),
    }
    for name in ["text", "raw", "url", "filename", "mediaType"] {
        match members.get(name) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(_) => return Err(A2aError::invalid(format!("{path}.{name} must be text"))),
        }
    }
    if !matches!(members.get("metadata"), None | Some(Value::Null | Value::Object(_))) {
        return Err(A2aError::invalid(format!("{path}.metadata must be an object")));
    }
    if let Some(Value::String(raw)) = members.get_mut("raw") {
        standard(raw);
        if raw.len() <= 1024 && STANDARD.decode(&*raw).is_err() {
            return Err(A2aError::invalid(format!("{path}.raw is not base64")));
        }
    }
    Ok(())
}

/// ProtoJSON takes both base64 alphabets, with and without padding; `a2a-lf` takes one.
fn standard(raw: &mut String) {
    if raw.contains(['-', '_']) {
        *raw = raw.replace('-', "+").replace('_', "/");
    }
    let missing = (4 - raw.len() % 4) % 4;
    if missing < 3 {
        raw.push_str(&"="[..1].repeat(missing));
    }
}

/// The parameters of a REST request's query. Unknown ones mean nothing, as the protocol asks.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// [`ErrorKind::InvalidParams`] when it is not readable, has more than [`MAX_PARAMETERS`], or has one twice, be it in
    /// the two spellings of `shape`.
    pub(crate) fn read(query: Option<&str>, shape: &Shape) -> Result<Self, A2aError> {
        let text = |encoded: &str| {
            let spaced = encoded.replace('+', " ");
            let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| A2aError::invalid("the query is not UTF-8"))
        };
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(A2aError::invalid(format!("the query has more than {MAX_PARAMETERS} parameters")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = text(name)?;
            let known = shape.names.iter().find(|known| snake(known) == name);
            let name = known.map_or(name, |known| (*known).to_owned());
            if pairs.iter().any(|(there, _)| *there == name) {
                return Err(A2aError::invalid(format!("{} is there twice", readable(&name))));
            }
            pairs.push((name, text(value)?));
        }
        Ok(Self(pairs))
    }

    /// A parameter; an empty one is none.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(there, _)| there == name)?;
        Some(found.1.clone()).filter(|text| !text.is_empty())
    }

    /// A parameter of another type; `kind` says which.
    pub(crate) fn parse<T: FromStr>(&self, name: &str, kind: &str) -> Result<Option<T>, A2aError> {
        let text = self.text(name);
        text.map(|text| text.parse().map_err(|_| A2aError::invalid(format!("{name} must be {kind}")))).transpose()
    }

    /// A parameter that is written as a JSON string, such as a state.
    pub(crate) fn word<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, A2aError> {
        let text = self.text(name);
        text.map(|text| {
            serde_json::from_value(Value::String(text))
                .map_err(|error| A2aError::invalid(readable(&format!("{name}: {error}"))))
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use a2a::{PartContent, SendMessageRequest};
    use serde_json::json;

    #[test]
    fn what_has_two_meanings_is_no_json() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":[{"c":1,"c":2}]}}"#,
            r#"{"a":1} x"#,
            "",
            "\u{feff}{}",
            "{\"a\":\"\u{1}\"}",
            "[1,]",
            "nul",
        ] {
            assert_eq!(json(text.as_bytes()).unwrap_err().kind, ErrorKind::Parse, "{text}");
        }
        assert_eq!(json(b"{\"a\":\"\xff\"}").unwrap_err().kind, ErrorKind::Parse);
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(json(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(json(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        let same = r#"{"a":[1,-2,2.5,18446744073709551615,"x",null,true,{}]}"#;
        assert_eq!(json(same.as_bytes()).unwrap(), serde_json::from_str::<Value>(same).unwrap());
    }

    #[test]
    fn names_of_the_proto_are_read_and_never_inside_of_what_is_the_senders() {
        let value = json!({
            "message": {
                "message_id": "m", "role": "ROLE_USER", "context_id": "c",
                "parts": [{"data": {"task_id": 1}, "media_type": "application/json"}],
                "metadata": {"media_type": 1},
            },
            "configuration": {
                "history_length": 3,
                "task_push_notification_config": {"url": "https://x", "task_id": "t"},
            },
        });
        let request: SendMessageRequest = request(value, &SEND).unwrap();
        assert_eq!((&*request.message.message_id, request.message.context_id.as_deref()), ("m", Some("c")));
        assert_eq!(request.message.parts[0].media_type.as_deref(), Some("application/json"));
        assert_eq!(request.message.parts[0].content, PartContent::Data(json!({"task_id": 1})));
        assert!(request.message.metadata.unwrap().contains_key("media_type"));
        let configuration = request.configuration.unwrap();
        assert_eq!(configuration.history_length, Some(3));
        assert_eq!(configuration.task_push_notification_config.unwrap().task_id, "t");
    }

    #[test]
    fn a_part_has_exactly_one_content() {
        let read = |part: Value| {
            let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [part]});
            request::<SendMessageRequest>(json!({"message": message}), &SEND)
        };
        for (part, named) in [
            (json!({}), "one of"),
            (json!({"kind": "text"}), "one of"),
            (json!({"text": "a", "url": "b"}), "text and url"),
            (json!({"text": 5}), "parts[0].text"),
            (json!({"raw": "!"}), "parts[0].raw"),
            (json!({"raw": "A"}), "parts[0].raw"),
            (json!({"text": "a", "mediaType": 1}), "parts[0].mediaType"),
            (json!({"text": "a", "media_type": "text/plain", "mediaType": "text/plain"}), "twice"),
            (json!({"text": "a", "filename": []}), "parts[0].filename"),
            (json!({"text": "a", "metadata": "x"}), "parts[0].metadata"),
            (json!("text"), "parts[0]"),
        ] {
            let error = read(part.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams, "{part}");
            assert!(error.problem.message.contains(named), "{part} {error}");
        }
        for raw in ["+/8=", "-_8=", "-_8", "+/8"] {
            let content = &read(json!({"raw": raw})).unwrap().message.parts[0].content.clone();
            assert_eq!(*content, PartContent::Raw(vec![0xfb, 0xff]), "{raw}");
        }
        assert!(read(json!({"text": "a", "data": null, "raw": null})).is_ok());
        assert_eq!(read(json!({"data": null})).unwrap().message.parts[0].content, PartContent::Data(Value::Null));
    }

    #[test]
    fn a_query_is_read_in_both_spellings_and_never_twice() {
        let query = Query::read(Some("page_size=7&contextId=a%20b+c&x=1"), &LIST).unwrap();
        assert_eq!(query.parse::<i32>("pageSize", "a number").unwrap(), Some(7));
        assert_eq!(query.text("contextId").as_deref(), Some("a b c"));
        assert!(Query::read(Some("page_size=7&pageSize=7"), &LIST).is_err());
        assert!(Query::read(Some("a=%ff"), &LIST).is_err());
        assert!(Query::read(Some("x=1&x=2"), &LIST).is_err());
        let many = |count: usize| (0..count).map(|number| format!("{number}")).collect::<Vec<_>>().join("&");
        assert!(Query::read(Some(&many(MAX_PARAMETERS)), &LIST).is_ok());
        let refused = Query::read(Some(&many(MAX_PARAMETERS + 1)), &LIST).err().unwrap();
        assert!(refused.problem.message.contains("32 parameters"), "{refused}");
        assert!(query.parse::<bool>("contextId", "true or false").is_err());
    }
}
