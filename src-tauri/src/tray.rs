//! The tray icon and its menu. What the menu says is a pure function of the node's overview; the rest keeps the
//! real menu equal to it.

use crate::{node::Node, notify::Notices, quit, window};
use futures::StreamExt;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tauri::{
    AppHandle, Manager, Wry,
    async_runtime::spawn,
    include_image,
    menu::{CheckMenuItem, CheckMenuItemBuilder, Menu, MenuBuilder, MenuEvent, MenuItem, MenuItemBuilder},
    tray::TrayIconBuilder,
};
use tender_base::{MicroUsd, Problem};
use tender_node::api::types::Overview;

/// The pause that the menu offers.
const PAUSE_MINUTES: u32 = 60;
/// Longest state line: menus wider than this are cut by some desktops.
const MAX_STATE_CHARS: usize = 60;
/// How long to wait before looking for a lost node again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the menu shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrayMenu {
    /// What the machine does, and why.
    state: String,
    /// What came in today.
    earned: String,
    /// Whether "Sell" is ticked; none when it cannot be switched.
    sell: Option<bool>,
    /// Pause or go on; none when there is nothing to pause.
    pause: Option<Pause>,
    /// Finish what is sold and then pause, or go on after all; none when there is nothing to finish.
    drain: Option<Drain>,
}

/// What the entry does that ends selling without breaking off work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    Begin,
    End,
}

impl Drain {
    fn text(self) -> &'static str {
        match self {
            Self::Begin => "Finish, then pause",
            Self::End => "Go on selling",
        }
    }
}

/// What the pause entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    Pause,
    Resume,
}

impl Pause {
    fn text(self) -> &'static str {
        match self {
            Self::Pause => "Pause for an hour",
            Self::Resume => "Go on selling",
        }
    }

    /// The operation and its input. To sell ends every kind of pause, also the one after finishing.
    fn command(self) -> (&'static str, Value) {
        match self {
            Self::Pause => ("pause", json!({ "minutes": PAUSE_MINUTES })),
            Self::Resume => ("sell", json!({ "on": true })),
        }
    }
}

impl TrayMenu {
    /// The menu for a node that answers, or for the reason why it does not.
    fn of(node: Result<&Overview, &Problem>) -> Self {
        let overview = match node {
            Ok(overview) => overview,
            Err(problem) => {
                let state = cut(&format!("No node: {}", problem.message));
                return Self { state, earned: String::new(), sell: None, pause: None, drain: None };
            }
        };
        let selling = &overview.selling;
        Self {
            state: if selling.state == "paused" && selling.paused_until.is_some() {
                // The node's reason has its end in UTC; the window says it in local time.
                "Paused by you".to_owned()
            } else {
                cut(&selling.reason)
            },
            earned: format!("Earned today: {}", MicroUsd(overview.earned_today_micro_usd)),
            // The switch that stops everything is turned back where it was turned: in the window.
            sell: (!overview.stopped).then_some(selling.on),
            pause: match (overview.stopped, selling.on, selling.paused_until.is_some() || selling.state == "paused") {
                (false, true, false) => Some(Pause::Pause),
                (false, true, true) => Some(Pause::Resume),
                _ => None,
            },
            drain: match (overview.stopped, selling.on, selling.state.as_str()) {
                (false, true, "draining") => Some(Drain::End),
                (false, true, "idle" | "busy" | "yielding") => Some(Drain::Begin),
                _ => None,
            },
        }
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_STATE_CHARS {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MAX_STATE_CHARS - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// The real menu, and what it shows.
pub struct Tray {
    items: Items,
    shown: Mutex<Option<TrayMenu>>,
    selling: Mutex<bool>,
}

struct Items {
    state: MenuItem<Wry>,
    earned: MenuItem<Wry>,
    sell: CheckMenuItem<Wry>,
    pause: MenuItem<Wry>,
    drain: MenuItem<Wry>,
}

impl Tray {
    /// Whether the node sells, as far as was heard last.
    pub fn node_sells(&self) -> bool {
        *self.selling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, node: Result<&Overview, &Problem>) {
        *self.selling.lock().unwrap_or_else(PoisonError::into_inner) =
            node.is_ok_and(|overview| overview.selling.on && !overview.stopped);
        let menu = TrayMenu::of(node);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref() == Some(&menu) {
            return;
        }
        if let Err(error) = self.items.set(&menu) {
            eprintln!("tender-app: the tray menu cannot be changed: {error}");
        }
        *shown = Some(menu);
    }

    /// A click ticks the entry by itself; only the node decides what it says.
    fn restore(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sell) = shown.as_ref().and_then(|menu| menu.sell) {
            let _ = self.items.sell.set_checked(sell);
        }
    }

    fn shown(&self) -> Option<TrayMenu> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Items {
    fn set(&self, menu: &TrayMenu) -> tauri::Result<()> {
        self.state.set_text(&menu.state)?;
        self.earned.set_text(&menu.earned)?;
        self.sell.set_enabled(menu.sell.is_some())?;
        self.sell.set_checked(menu.sell == Some(true))?;
        self.pause.set_enabled(menu.pause.is_some())?;
        self.pause.set_text(menu.pause.unwrap_or(Pause::Pause).text())?;
        self.drain.set_enabled(menu.drain.is_some())?;
        self.drain.set_text(menu.drain.unwrap_or(Drain::Begin).text())
    }
}

/// Puts the icon into the tray and keeps its menu true.
///
/// # Errors
/// When the icon or the menu cannot be made.
pub fn start(app: &AppHandle, node: Arc<Node>) -> tauri::Result<()> {
    let items = Items {
        state: MenuItemBuilder::with_id("state", "Looking for the node").enabled(false).build(app)?,
        earned: MenuItemBuilder::with_id("earned", "").enabled(false).build(app)?,
        sell: CheckMenuItemBuilder::with_id("sell", "Sell").checked(false).enabled(false).build(app)?,
        pause: MenuItemBuilder::with_id("pause", Pause::Pause.text()).enabled(false).build(app)?,
        drain: MenuItemBuilder::with_id("drain", Drain::Begin.text()).enabled(false).build(app)?,
    };
    let menu: Menu<Wry> = MenuBuilder::new(app)
        .item(&items.state)
        .item(&items.earned)
        .separator()
        .item(&items.sell)
        .item(&items.pause)
        .item(&items.drain)
        .separator()
        .text("open", "Open Tender")
        .text("quit", "Quit")
        .build()?;
    TrayIconBuilder::with_id("tender")
        // On a plate of its own: panels are dark or light, and do not say which.
        .icon(include_image!("../icons/64x64.png"))
        .menu(&menu)
        .on_menu_event(clicked)
        .build(app)?;
    let tray = Arc::new(Tray { items, shown: Mutex::default(), selling: Mutex::default() });
    app.manage(Arc::clone(&tray));
    spawn(follow(app.clone(), node, tray));
    Ok(())
}

/// Shows every overview that the node sends, and looks for the node when it is lost.
async fn follow(app: AppHandle, node: Arc<Node>, tray: Arc<Tray>) {
    let mut notices = Notices::default();
    loop {
        let problem = match watch(&app, &node, &tray, &mut notices).await {
            Ok(()) => Problem::new(tender_base::Code::Lost, "it went away", ""),
            Err(problem) => problem,
        };
        tray.show(Err(&problem));
        node.lost().await;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn watch(app: &AppHandle, node: &Node, tray: &Tray, notices: &mut Notices) -> Result<(), Problem> {
    let mut events = Box::pin(node.attached().await?.subscribe("watch_overview", 0).await?);
    while let Some(event) = events.next().await {
        let (_, value) = event?;
        match serde_json::from_value::<Overview>(value) {
            Ok(overview) => {
                tray.show(Ok(&overview));
                notices.see(app, node, &overview).await;
            }
            Err(error) => {
                return Err(Problem::new(
                    tender_base::Code::Internal,
                    format!("the node speaks another version: {error}"),
                    "restart it with this version",
                ));
            }
        }
    }
    Ok(())
}

fn clicked(app: &AppHandle, event: MenuEvent) {
    let Some(tray) = app.try_state::<Arc<Tray>>() else { return };
    match event.id().as_ref() {
        "open" => window::show(app),
        "quit" => quit::ask(app),
        "sell" => {
            let on = !tray.node_sells();
            tray.restore();
            command(app, "sell", json!({ "on": on }));
        }
        "pause" => {
            if let Some(pause) = tray.shown().and_then(|menu| menu.pause) {
                let (name, input) = pause.command();
                command(app, name, input);
            }
        }
        "drain" => {
            if let Some(drain) = tray.shown().and_then(|menu| menu.drain) {
                command(app, "finish_then_pause", json!({ "on": drain == Drain::Begin }));
            }
        }
        _ => {}
    }
}

/// Sends a command to the node; a refusal opens the window, which shows the state and its reason.
fn command(app: &AppHandle, name: &'static str, input: Value) {
    let app = app.clone();
    spawn(async move {
        let node = Arc::clone(&app.state::<Arc<Node>>());
        let answer = match node.attached().await {
            Ok(attached) => attached.call(name, input, None).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = answer {
            eprintln!("tender-app: {name}: {problem}");
            window::show(&app);
        }
    });
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use tender_base::Code;
    use tender_node::api::types::Selling;

    /// A node that does nothing else.
    pub fn overview(on: bool, state: &str, stopped: bool) -> Overview {
        Overview {
            name: "desk".into(),
            did: "did:key:z6Mk".into(),
            selling: Selling {
                on,
                state: state.into(),
                reason: format!("It is {state}."),
                paused_until: (state == "paused").then(|| "2026-11-21T12:00:00Z".into()),
                trigger: None,
                resumes_at: None,
            },
            guard_lost: Vec::new(),
            stopped,
            earned_today_micro_usd: 420,
            spent_today_micro_usd: 0,
            reserved_micro_usd: 0,
            daily_spend_cap_micro_usd: 1_000_000,
            peers: 0,
            active: Vec::new(),
            traded_before: false,
            a2a_address: String::new(),
            identity_store: String::new(),
            version: String::new(),
        }
    }

    #[test]
    fn the_menu_follows_the_node() {
        let of = |on, state, stopped| {
            let menu = TrayMenu::of(Ok(&overview(on, state, stopped)));
            (menu.sell, menu.pause)
        };
        assert_eq!(of(false, "off", false), (Some(false), None));
        assert_eq!(of(true, "idle", false), (Some(true), Some(Pause::Pause)));
        assert_eq!(of(true, "busy", false), (Some(true), Some(Pause::Pause)));
        assert_eq!(of(true, "paused", false), (Some(true), Some(Pause::Resume)));
        assert_eq!(of(true, "stopped", true), (None, None));
        let drain = |on, state, stopped| TrayMenu::of(Ok(&overview(on, state, stopped))).drain;
        assert_eq!(drain(true, "busy", false), Some(Drain::Begin));
        assert_eq!(drain(true, "draining", false), Some(Drain::End));
        assert_eq!(
            (drain(false, "off", false), drain(true, "paused", false), drain(true, "busy", true)),
            (None, None, None)
        );
    }

    #[test]
    fn the_menu_says_what_and_why() {
        let menu = TrayMenu::of(Ok(&overview(true, "idle", false)));
        assert_eq!(menu.state, "It is idle.");
        assert_eq!(menu.earned, "Earned today: $0.00042");
        assert_eq!(TrayMenu::of(Ok(&overview(true, "paused", false))).state, "Paused by you");
    }

    #[test]
    fn without_a_node_nothing_can_be_switched() {
        let menu = TrayMenu::of(Err(&Problem::new(Code::Unavailable, "it does not start", "")));
        assert_eq!(
            menu,
            TrayMenu {
                state: "No node: it does not start".into(),
                earned: String::new(),
                sell: None,
                pause: None,
                drain: None,
            }
        );
    }

    #[test]
    fn long_reasons_are_cut_at_a_character() {
        let long = cut(&"é ".repeat(100));
        assert!(long.ends_with('…') && long.chars().count() <= MAX_STATE_CHARS, "{long}");
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn pausing_and_resuming_differ() {
        assert_eq!(Pause::Pause.command(), ("pause", json!({ "minutes": 60 })));
        assert_eq!(Pause::Resume.command(), ("sell", json!({ "on": true })));
    }
}
