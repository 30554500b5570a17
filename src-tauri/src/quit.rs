//! Quitting. The node may go on without the app; whether it should is the owner's answer.

use crate::{node::Node, tray::Tray, window};
use rfd::{AsyncMessageDialog, MessageButtons, MessageDialogResult};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tauri::{AppHandle, Manager, async_runtime::spawn};

const KEEP: &str = "Keep selling";
const STOP: &str = "Stop selling";
const CANCEL: &str = "Cancel";

/// What becomes of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It goes on.
    Keep,
    /// It no longer sells, and ends if this app started it.
    Stop,
    /// The app stays.
    Cancel,
}

/// Ends the app. When the node sells, the owner is asked first whether it shall go on.
pub fn ask(app: &AppHandle) {
    static ASKING: AtomicBool = AtomicBool::new(false);
    if ASKING.swap(true, Ordering::SeqCst) {
        return;
    }
    let sells = app.try_state::<Arc<Tray>>().is_some_and(|tray| tray.node_sells());
    let question = sells.then(|| {
        AsyncMessageDialog::new()
            .set_title("Keep selling after Tender quits?")
            .set_description("The node can go on in the background. Open Tender again to see it or to stop it.")
            .set_buttons(MessageButtons::YesNoCancelCustom(KEEP.into(), STOP.into(), CANCEL.into()))
            .show()
    });
    let app = app.clone();
    spawn(async move {
        let answer = match question {
            Some(question) => answer_of(&question.await),
            None => Answer::Stop,
        };
        if carry_out(&app, answer, sells).await {
            app.exit(0);
        } else {
            ASKING.store(false, Ordering::SeqCst);
        }
    });
}

/// Answers whether the app ends. Selling that could not be stopped keeps it open: the owner said stop.
async fn carry_out(app: &AppHandle, answer: Answer, sells: bool) -> bool {
    let node = Arc::clone(&app.state::<Arc<Node>>());
    match answer {
        Answer::Cancel => return false,
        Answer::Keep => return true,
        Answer::Stop if sells => {
            let stopped = match node.attached().await {
                Ok(attached) => attached.call("sell", json!({ "on": false }), None).await.map(|_| ()),
                Err(problem) => Err(problem),
            };
            if let Err(problem) = stopped {
                eprintln!("tender-app: selling could not be stopped: {problem}");
                window::show(app);
                return false;
            }
        }
        Answer::Stop => {}
    }
    if let Err(problem) = node.end().await {
        eprintln!("tender-app: {problem}");
    }
    true
}

/// GTK answers by role, the other systems by label.
fn answer_of(result: &MessageDialogResult) -> Answer {
    match result {
        MessageDialogResult::Yes => Answer::Keep,
        MessageDialogResult::No => Answer::Stop,
        MessageDialogResult::Custom(label) if label == KEEP => Answer::Keep,
        MessageDialogResult::Custom(label) if label == STOP => Answer::Stop,
        MessageDialogResult::Custom(_) | MessageDialogResult::Ok | MessageDialogResult::Cancel => Answer::Cancel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_the_question_is_no_answer() {
        assert_eq!(answer_of(&MessageDialogResult::Cancel), Answer::Cancel);
        assert_eq!(answer_of(&MessageDialogResult::Custom(CANCEL.into())), Answer::Cancel);
        assert_eq!(answer_of(&MessageDialogResult::Custom(KEEP.into())), answer_of(&MessageDialogResult::Yes));
        assert_eq!(answer_of(&MessageDialogResult::Custom(STOP.into())), answer_of(&MessageDialogResult::No));
    }
}
