//! The target of the A2A technology compatibility kit; see [`tender_tests::sut`].

use std::{net::TcpListener, process::ExitCode};
use tender_tests::sut::{self, Target};

const HELP: &str = "\
Plays the scenarios of the A2A technology compatibility kit on the product's A2A server.

a2a-sut [--listen ADDR] [--capabilities all|none] [--require-extension URI] [--allow-loopback-webhooks]

--listen ADDR              a loopback address; port 0 takes a free one (127.0.0.1:0)
--capabilities all|none    whether streaming, push notifications and the extended card are offered (all)
--require-extension URI    declares the extension as required and demands it of every message, except those that play
                           another scenario of the kit: the kit's client never names an extension, so messages whose id
                           begins with tck-, but not with tck-cap-ext, are taken without
--allow-loopback-webhooks  push notifications may go to this machine over plain HTTP

The first line that it prints is {\"url\":\"http://…\"}.";

fn arguments(mut given: impl Iterator<Item = String>) -> Result<(String, Target), String> {
    let mut listen = "127.0.0.1:0".to_owned();
    let mut target = Target { capabilities: true, ..Target::default() };
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--listen" => listen = value()?,
            "--capabilities" => {
                target.capabilities = match value()?.as_str() {
                    "all" => true,
                    "none" => false,
                    other => return Err(format!("--capabilities is all or none, not {other}")),
                }
            }
            "--require-extension" => target.required = Some(value()?),
            "--allow-loopback-webhooks" => target.loopback_webhooks = true,
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok((listen, target))
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let (listen, target) = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let bound = TcpListener::bind(&listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            eprintln!("{listen} cannot be listened on: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", serde_json::json!({"url": format!("http://{address}")}));
    match sut::run(listener, target).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
