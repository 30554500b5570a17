//! The tender binary: node host and command line, without GTK.
