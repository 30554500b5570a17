//! The desktop shell: window, tray; attaches to a node.
