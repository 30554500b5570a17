//! Puts the built UI where the local API embeds it from; without one, a page that names the command to build it.

use std::{env, fs, io, path::Path};

/// Shown by a node that was built without the UI.
const WITHOUT_UI: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tender</title>\
<body><h1>Tender runs, its screens were not built</h1><p>Build them with <code>cargo xtask run</code>, or \
<code>npm ci && npm run build</code> in the folder <code>ui</code>, then build <code>tender</code> again.</p></body></html>";

fn main() -> io::Result<()> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../ui/dist");
    let embedded = Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("ui");
    // Watched as a whole: new files must be embedded too. A folder that is not there yet is watched by its parent.
    println!(
        "cargo:rerun-if-changed={}",
        if built.exists() { built.display() } else { Path::new("../../../ui").display() }
    );
    if embedded.exists() {
        fs::remove_dir_all(&embedded)?;
    }
    fs::create_dir_all(&embedded)?;
    if built.join("index.html").is_file() {
        copy(&built, &embedded)
    } else {
        fs::write(embedded.join("index.html"), WITHOUT_UI)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
