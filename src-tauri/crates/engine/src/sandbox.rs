//! How a worker would be confined here, asked without touching a driver.

use std::{path::Path, process::Stdio, time::Duration};
use tender_base::{Code, Problem, frames::Sandbox};
use tokio::process::Command;

/// Longest that a worker may take to confine itself; it takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// Lets the worker at `executable` confine itself, say which layers hold, and end.
///
/// # Errors
/// [`Code::Unavailable`] when it does not start or says something else.
pub async fn sandbox(executable: &Path) -> Result<Sandbox, Problem> {
    let failed = |why: &str| {
        Problem::new(
            Code::Unavailable,
            format!("the worker does not say how it is confined: {why}"),
            "install tender and tender-worker of the same version",
        )
    };
    let mut command = Command::new(executable);
    command.arg("--check").env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .map_err(|_| failed(&format!("no answer within {} s", LIMIT.as_secs())))?
        .map_err(|e| failed(&e.to_string()))?;
    serde_json::from_slice(&output.stdout).map_err(|e| failed(&e.to_string()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_says_something_else_is_named() {
        let problem = sandbox(Path::new("/bin/true")).await.unwrap_err();
        assert!(problem.message.contains("confined") && problem.hint.contains("same version"), "{problem}");
    }
}
