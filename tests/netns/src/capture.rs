//! Recording of frames.

use crate::{Host, eventually};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::Read,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Frames that a host saw since the recording began. Ends when it is dropped.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    pub(crate) fn start(host: &Host, ethertype: u16) -> Self {
        let opened = thread::scope(|scope| {
            let open = || {
                host.enter();
                // Unbound: all links of the namespace.
                let socket =
                    Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ethertype.to_be()))))?;
                socket.set_read_timeout(Some(Duration::from_millis(50)))?;
                Ok(socket)
            };
            scope.spawn(open).join()
        });
        let socket = match opened {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                let error: std::io::Error = error;
                panic!("capture: {error}")
            }
            Err(payload) => std::panic::resume_unwind(payload),
        };
        let (frames, stop) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (frames, stop) = (Arc::clone(&frames), Arc::clone(&stop));
            move || {
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(length) = (&socket).read(&mut buffer) {
                        let frame = buffer.get(..length).unwrap_or_default().to_vec();
                        frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
                    }
                }
            }
        });
        Self { frames, stop, thread: Some(thread) }
    }

    /// The frames so far.
    #[must_use]
    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a frame that fits, and returns it.
    ///
    /// # Panics
    /// None comes.
    #[track_caller]
    pub fn until(&self, what: &str, mut fits: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        let mut found = None;
        eventually(what, || {
            found = self.frames().into_iter().find(|frame| fits(frame));
            found.is_some()
        });
        found.unwrap_or_default()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Only reading and pushing happens there.
            let _ = thread.join();
        }
    }
}
