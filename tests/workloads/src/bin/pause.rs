//! The sandbox container of every pod: holds the pod's namespaces, reaps orphans, leaves on TERM or INT.

fn main() {
    #[expect(unsafe_code, reason = "signal set and wait calls of libc; no other crate is worth it in a 30-line PID 1")]
    // SAFETY: the set lives on the stack for the whole call sequence, every pointer is valid or null as the calls allow,
    // and the process has one thread.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
            libc::sigaddset(&raw mut set, signal);
        }
        // Blocked, so that they are taken by sigwait; PID 1 would not even receive a signal left at its default.
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        loop {
            let mut signal = 0;
            libc::sigwait(&raw const set, &raw mut signal);
            if signal != libc::SIGCHLD {
                return;
            }
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
        }
    }
}
