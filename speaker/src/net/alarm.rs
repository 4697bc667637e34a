//! When the driver wants to be woken next.
//!
//! The runtime's own timers have a millisecond's resolution and a wheel that is turned by waking: three of four sleeps of an interval cost two
//! wake-ups, and an idle speaker does little else than wake up. The kernel's timer wakes once, on the very clock that the rules count in.

use super::sys::{boottime, set_timer, timer};
use herald_core::time::Moment;
use std::{io, os::fd::OwnedFd};
use tokio::{io::unix::AsyncFd, time::sleep};

/// Goes off at one moment after the other.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// `None`: the system has none to give; the runtime's own timers do.
    timer: Option<AsyncFd<OwnedFd>>,
    set: Option<Moment>,
}

impl Alarm {
    /// One that is not set yet. To be called inside a tokio runtime.
    pub(crate) fn unset() -> Self {
        let timer =
            timer().inspect_err(|error| tracing::warn!(%error, "no timer of the kernel: the runtime's is used"));
        Self { timer: timer.ok(), set: None }
    }

    /// Waits until that moment. Who stops waiting may wait anew, for another one too.
    pub(crate) async fn at(&mut self, when: Moment) {
        let over = self.wait(when).await;
        self.set = None;
        if let Err(error) = over {
            tracing::warn!(%error, "the kernel's timer fails: the runtime's is used");
            self.timer = None;
        }
        let rest = when.since(boottime());
        // Without a timer of the kernel.
        if !rest.is_zero() {
            sleep(rest).await;
        }
    }

    async fn wait(&mut self, when: Moment) -> io::Result<()> {
        let Some(timer) = &self.timer else { return Ok(()) };
        if self.set != Some(when) {
            set_timer(timer.get_ref(), when)?;
            self.set = Some(when);
        }
        loop {
            let mut gone_off = timer.readable().await?;
            // Setting it anew takes back that it went off, so it is never read from.
            gone_off.clear_ready();
            if when <= boottime() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn goes_off_at_one_moment_after_the_other_and_at_once_when_it_is_over() {
        let mut alarm = Alarm::unset();
        assert!(alarm.timer.is_some());
        for millis in [5, 1, 0, 70] {
            let when = boottime() + Duration::from_millis(millis);
            alarm.at(when).await;
            assert!(boottime() >= when);
        }
        alarm.at(Moment::default()).await;
    }

    #[tokio::test]
    async fn an_earlier_moment_replaces_a_later_one_and_a_later_one_an_earlier() {
        let mut alarm = Alarm::unset();
        assert!(timeout(Duration::from_millis(5), alarm.at(boottime() + LONG)).await.is_err());
        alarm.at(boottime() + Duration::from_millis(5)).await;
        let soon = boottime() + Duration::from_millis(20);
        assert!(timeout(Duration::ZERO, alarm.at(soon)).await.is_err());
        assert!(timeout(Duration::from_millis(100), alarm.at(boottime() + LONG)).await.is_err());
        alarm.at(soon).await;
    }

    #[tokio::test]
    async fn without_a_timer_of_the_kernel_the_runtime_wakes() {
        let mut alarm = Alarm { timer: None, set: None };
        let when = boottime() + Duration::from_millis(5);
        alarm.at(when).await;
        assert!(boottime() >= when);
    }
}
