//! How the worker is confined, for `tender doctor`.

use crate::checks::{Check, CheckState};
use tender_base::{Problem, frames::Sandbox};

const NAME: &str = "sandbox";

/// Each layer that the worker lacks.
pub(crate) fn checks(sandbox: &Result<Sandbox, Problem>) -> Vec<Check> {
    match sandbox {
        Ok(layers) => findings(*layers, cfg!(target_os = "linux")),
        Err(problem) => vec![Check::new(NAME, CheckState::Fail, problem.message.clone(), problem.hint.clone())],
    }
}

fn findings(layers: Sandbox, linux: bool) -> Vec<Check> {
    let missing = |what: &str, remedy: &str| {
        let closed = if layers.holds_strangers() { "" } else { ", so strangers' kernels are not run" };
        Check::new(NAME, CheckState::Warn, format!("{what}{closed}"), remedy)
    };
    if !linux {
        return vec![missing(
            "this system has no sandbox for the worker yet",
            "sell kernels from a Linux machine, or set sell_unconfined_kernels if you trust every peer",
        )];
    }
    let mut all = Vec::new();
    if !layers.syscalls {
        all.push(missing(
            "the worker's system calls are not filtered",
            "run Tender on a kernel with seccomp filters (CONFIG_SECCOMP_FILTER), or in a container that allows them",
        ));
    }
    if !layers.files {
        all.push(missing(
            "the worker may open the files that you may open",
            "run Linux 5.13 or newer with Landlock: add it to the kernel's lsm= list, or let the container use it",
        ));
    }
    if !layers.namespaces {
        let else_closed = if layers.syscalls { "; the system-call filter alone closes the network" } else { "" };
        all.push(missing(
            &format!("the worker has no network namespace of its own{else_closed}"),
            "allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), \
             kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), or a container's seccomp profile",
        ));
    }
    if all.is_empty() {
        let said = "the worker has no network, no files but drivers and models, and no way to other processes";
        all.push(Check::new(NAME, CheckState::Ok, said, ""));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::Code;

    const ALL: Sandbox = Sandbox { namespaces: true, files: true, syscalls: true };

    #[test]
    fn every_missing_layer_is_named_with_its_remedy() {
        assert_eq!(findings(ALL, true).iter().map(|c| c.state).collect::<Vec<_>>(), [CheckState::Ok]);
        let none = findings(Sandbox::default(), true);
        assert_eq!(none.len(), 3);
        assert!(none.iter().all(|c| c.state == CheckState::Warn && !c.remedy.is_empty()));
        assert!(none.iter().all(|c| c.message.contains("not run")));
        // The network is closed twice: one of the two suffices for strangers.
        let [one] = &findings(Sandbox { namespaces: false, ..ALL }, true)[..] else { panic!() };
        assert!(one.remedy.contains("userns") && !one.message.contains("not run"), "{one:?}");
        let [elsewhere] = &findings(Sandbox::default(), false)[..] else { panic!() };
        assert!(elsewhere.remedy.contains("sell_unconfined_kernels"), "{elsewhere:?}");
    }

    #[test]
    fn a_worker_that_does_not_say_is_a_fault() {
        let [check] = &checks(&Err(Problem::new(Code::Unavailable, "silent", "install it")))[..] else { panic!() };
        assert!(check.state == CheckState::Fail && check.remedy == "install it", "{check:?}");
    }
}
