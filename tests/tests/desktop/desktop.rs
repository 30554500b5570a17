//! The app in its window, driven by plain WebDriver.

use crate::place::{Group, LOOK_EVERY, Place, built};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

/// The drivers, the window and the page: seconds on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Something to click is there when its screen is, give or take an animation.
const CLICK_LIMIT: Duration = Duration::from_secs(15);

/// The app in its window.
pub struct Desktop {
    http: reqwest::Client,
    session: String,
    shots: PathBuf,
    // The driver ends first, and the app with it.
    _driver: Group,
    /// Where it runs.
    pub place: Place,
}

impl Desktop {
    /// Starts the app with a new data directory.
    pub async fn start() -> Self {
        Self::start_in(Place::new()).await
    }

    /// Starts the app there.
    pub async fn start_in(place: Place) -> Self {
        Self::start_with(place, &[]).await
    }

    /// Starts the app there, with this in its environment.
    pub async fn start_with(place: Place, environment: &[(&str, &str)]) -> Self {
        let (port, native) = (free_port(), free_port());
        let driver = Group::start(
            place
                .command("tauri-driver")
                .args(["--port", &port.to_string(), "--native-port", &native.to_string()])
                .envs(environment.iter().copied()),
        );
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        // tauri-driver takes the browser's name out again: WebKitWebDriver would not know it.
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "wry",
            "tauri:options": {"application": built().join("tender-app")},
        }}});
        let session = loop {
            match http.post(format!("{base}/session")).json(&wanted).send().await {
                Ok(answer) => {
                    let answer: Value = answer.json().await.unwrap();
                    match answer["value"]["sessionId"].as_str() {
                        Some(id) => break format!("{base}/session/{id}"),
                        None => panic!("no session: {answer}"),
                    }
                }
                Err(error) => assert!(started.elapsed() < START_LIMIT, "tauri-driver does not answer: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let shots = built().join("../shots");
        fs::create_dir_all(&shots).unwrap();
        Self { http, session, shots, _driver: driver, place }
    }

    /// Ends the app; its data stays.
    pub fn end(self) -> Place {
        let Self { _driver: driver, place, .. } = self;
        drop(driver);
        place
    }

    /// The window's title.
    pub async fn title(&self) -> String {
        self.get("title").await.as_str().unwrap_or_default().to_owned()
    }

    /// All text that is shown.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText", &[]).await.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page and answers what it returns.
    pub async fn script(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": arguments})).await
    }

    /// Runs a script that calls its last argument when it is done.
    pub async fn script_that_calls_back(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("execute/async", &json!({"script": script, "args": arguments})).await
    }

    /// Puts the set-up of a first start off, and waits for the screen behind it.
    pub async fn arrive(&self, limit: Duration) {
        self.wait_for("Set up later", limit).await;
        self.click("Set up later").await;
        self.wait_for("Run a first trade", limit).await;
    }

    /// Waits until the text is shown, as a reader sees it: without regard to the case that a style may change.
    pub async fn wait_for(&self, text: &str, limit: Duration) {
        let (started, wanted) = (Instant::now(), text.to_lowercase());
        loop {
            let shown = self.text().await;
            if shown.to_lowercase().contains(&wanted) {
                return;
            }
            if started.elapsed() > limit {
                self.shot("failed").await;
                panic!("“{text}” was not shown within {limit:?}, but:\n{shown}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the page has an element that this CSS selects.
    pub async fn wait_for_element(&self, css: &str, limit: Duration) {
        let started = Instant::now();
        while self.script("return document.querySelector(arguments[0]) !== null", &[json!(css)]).await != json!(true) {
            if started.elapsed() > limit {
                self.shot("failed").await;
                panic!("there is no {css} after {limit:?}; shown is:\n{}", self.text().await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Clicks the link or button with this text, as soon as there is one that can be clicked.
    pub async fn click(&self, text: &str) {
        let xpath = format!("//*[self::a or self::button][not(@disabled)][normalize-space(.)='{text}']");
        self.click_found("xpath", &xpath).await;
    }

    /// Clicks the element that this CSS selects, as soon as there is one that can be clicked.
    pub async fn click_element(&self, css: &str) {
        self.click_found("css selector", css).await;
    }

    /// The page clicks it itself: WebKitWebDriver's own click never answers when the click replaces the element.
    async fn click_found(&self, using: &str, what: &str) {
        let script = "const [using, what] = arguments;
            const found = using === 'xpath'
                ? document.evaluate(what, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue
                : document.querySelector(what);
            if (!found || found.disabled || found.getClientRects().length === 0) return false;
            found.focus();
            setTimeout(() => found.click());
            return true;";
        let started = Instant::now();
        while self.script(script, &[json!(using), json!(what)]).await != json!(true) {
            if started.elapsed() > CLICK_LIMIT {
                self.shot("failed").await;
                panic!("{what} cannot be clicked; shown is:\n{}", self.text().await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Saves what the window shows as `target/shots/desktop-NAME.png`.
    pub async fn shot(&self, name: &str) {
        let picture = self.get("screenshot").await;
        let bytes = BASE64.decode(picture.as_str().unwrap()).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "the screenshot is no picture");
        fs::write(self.shots.join(format!("desktop-{name}.png")), bytes).unwrap();
    }

    async fn get(&self, what: &str) -> Value {
        let answer: Value =
            self.http.get(format!("{}/{what}", self.session)).send().await.unwrap().json().await.unwrap();
        value_of(answer)
    }

    async fn post(&self, what: &str, body: &Value) -> Value {
        value_of(self.post_any(what, body).await)
    }

    async fn post_any(&self, what: &str, body: &Value) -> Value {
        self.http.post(format!("{}/{what}", self.session)).json(body).send().await.unwrap().json().await.unwrap()
    }
}

fn value_of(answer: Value) -> Value {
    assert!(answer["value"]["error"].is_null(), "the driver refuses: {answer}");
    answer["value"].clone()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
