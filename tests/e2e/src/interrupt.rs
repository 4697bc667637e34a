//! Ctrl-C removes the lab, too.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

static ONCE: Once = Once::new();

/// From now on SIGINT and SIGTERM end this process by turning it into `herald-lab down` (or plainly, when the lab is to stay).
///
/// Becoming the other program ends all threads at once and lets go of the lab's lock, which no destructor could do while
/// other threads use the lab.
pub(crate) fn watch(keep: bool) {
    ONCE.call_once(|| {
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async move {
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                leave(keep);
            });
        });
    });
}

fn leave(keep: bool) {
    if keep {
        eprintln!("interrupted; the lab stays (remove it with `make lab-down`)");
        std::process::exit(130);
    }
    eprintln!("interrupted: removing the lab");
    if let Some(program) = lab_program() {
        // Through a shell for the exit code alone: what was interrupted has not passed.
        let error = Command::new("sh").args(["-c", r#""$0" down; exit 130"#]).arg(&program).exec();
        eprintln!("{}: {error}", program.display());
    }
    eprintln!("the lab may still be there: remove it with `make lab-down`");
    std::process::exit(130);
}

/// Beside this program or one folder up (tests are in target/PROFILE/deps), where cargo puts it.
fn lab_program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HERALD_LAB_BIN") {
        return Some(path.into());
    }
    let own = std::env::current_exe().ok()?;
    own.ancestors().skip(1).take(2).map(|dir| dir.join("herald-lab")).find(|path| path.is_file())
}
