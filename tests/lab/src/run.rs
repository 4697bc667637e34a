//! Running programs and waiting, with errors that carry the command and its stderr.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, line, tail};

/// Runs to the end; the output is returned whatever the exit code.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().map_err(|source| Error::Start { command: line(command), source })
}

/// Runs to the end; stdout when it succeeded, the stderr tail as error otherwise.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    check(command, output)
}

/// Like [`run`] with text on stdin.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let start = |source| Error::Start { command: line(command), source };
    let mut child = Command::new(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why in its exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|source| Error::Start { command: line(command), source })?;
    check(command, output)
}

fn check(command: &Command, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed { command: line(command), status: output.status, stderr: tail(&output.stderr) })
}

/// Program with arguments.
pub(crate) fn command<const N: usize>(program: &str, args: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Asks every 50 ms until `probe` gives a value; an error that may pass is `Ok(None)`.
///
/// # Errors
/// [`Error::Timeout`], or the first error of `probe`.
pub fn wait_until<T>(what: &str, timeout: Duration, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_every(Duration::from_millis(50), what, timeout, probe)
}

/// Like [`wait_until`] with a pause of its own: kubectl costs a tenth of a second of the processor that it waits for.
pub(crate) fn wait_every<T>(
    pause: Duration,
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut told = start;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        let now = Instant::now();
        if now.duration_since(start) >= timeout {
            return Err(Error::Timeout { what: what.to_owned(), timeout, hint: String::new() });
        }
        if now.duration_since(told) >= Duration::from_secs(10) {
            told = now;
            eprintln!("  still waiting for {what} ({} s of {} s)", start.elapsed().as_secs(), timeout.as_secs());
        }
        thread::sleep(pause);
    }
}

/// Progress lines with the time since the start, on stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    start: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn say(self, what: &str) {
        eprintln!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
    }
}
