//! Whether the network is paid by volume, as NetworkManager says it: property `Metered` of
//! `org.freedesktop.NetworkManager` on the system bus (`NMMetered`: 1 yes, 2 no, 3 and 4 the same guessed, 0 unknown).
//! Windows and macOS are not asked.

#[cfg(target_os = "linux")]
pub(super) use manager::Network;

#[cfg(target_os = "linux")]
mod manager {
    use std::time::Duration;
    use zbus::blocking::{Connection, Proxy, connection::Builder};

    const SERVICE: &str = "org.freedesktop.NetworkManager";
    /// Longest that an answer is waited for: the guard looks meanwhile at nothing else.
    const LIMIT: Duration = Duration::from_secs(1);

    /// Asks over a connection that stays open.
    #[derive(Default)]
    pub(in crate::guard) struct Network {
        bus: Option<Connection>,
    }

    impl Network {
        /// Whether it is.
        ///
        /// # Errors
        /// Why this machine does not tell.
        pub(in crate::guard) fn metered(&mut self) -> Result<bool, String> {
            self.metered_on(Builder::system)
        }

        fn metered_on(&mut self, bus: impl FnOnce() -> zbus::Result<Builder<'static>>) -> Result<bool, String> {
            let open = match self.bus.take() {
                Some(open) => open,
                None => bus()
                    .and_then(|builder| builder.method_timeout(LIMIT).build())
                    .map_err(|e| format!("the system bus does not answer: {e}"))?,
            };
            let asked = Proxy::new(&open, SERVICE, "/org/freedesktop/NetworkManager", SERVICE)
                .and_then(|manager| manager.get_property::<u32>("Metered"))
                .map_err(|_| "NetworkManager does not run here, or does not answer".to_owned())?;
            self.bus = Some(open);
            match asked {
                1 | 3 => Ok(true),
                2 | 4 => Ok(false),
                _ => Err("NetworkManager does not know whether the network is metered".to_owned()),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::{
            io::{BufRead, BufReader},
            process::{Child, Command, Stdio},
        };

        /// A bus that ends with this.
        struct Daemon(Child);

        impl Drop for Daemon {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }

        struct Manager(u32);

        #[zbus::interface(name = "org.freedesktop.NetworkManager")]
        impl Manager {
            #[zbus(property)]
            fn metered(&self) -> u32 {
                self.0
            }
        }

        /// A bus of its own, on which somebody answers as NetworkManager.
        #[test]
        fn what_the_manager_says_is_told() {
            let mut daemon = Daemon(
                Command::new("dbus-daemon")
                    .args(["--session", "--nofork", "--print-address"])
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("dbus-daemon starts; `cargo xtask test` installs it"),
            );
            let mut address = String::new();
            BufReader::new(daemon.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
            let address = address.trim().to_owned();
            let ask = |network: &mut Network| network.metered_on(|| Builder::address(address.as_str()));

            let nobody = ask(&mut Network::default()).unwrap_err();
            assert!(nobody.contains("NetworkManager"), "{nobody}");
            let mut network = Network::default();
            for (says, wanted) in [(1, Some(true)), (3, Some(true)), (2, Some(false)), (4, Some(false)), (0, None)] {
                let manager = Builder::address(address.as_str())
                    .and_then(|bus| bus.name(SERVICE))
                    .and_then(|bus| bus.serve_at("/org/freedesktop/NetworkManager", Manager(says)))
                    .and_then(|bus| bus.build())
                    .unwrap();
                assert_eq!(ask(&mut network).ok(), wanted, "{says}");
                // Answered when it is done; the end of a connection is not, and the next one wants the name.
                manager.release_name(SERVICE).unwrap();
                manager.close().unwrap();
            }
            drop(daemon);
            assert!(ask(&mut network).is_err(), "a bus that is gone");
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Default)]
pub(super) struct Network;

#[cfg(not(target_os = "linux"))]
impl Network {
    /// Nobody is asked.
    ///
    /// # Errors
    /// Always.
    pub(super) fn metered(&mut self) -> Result<bool, String> {
        Err("this system is not asked whether its network is metered".to_owned())
    }
}
