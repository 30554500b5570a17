//! The Agent2Agent protocol: server, client, agent card, the contract extension.
