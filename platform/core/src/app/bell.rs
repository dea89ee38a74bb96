use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Tells the one who waits for it that there is something to do in this process. What it does not tell, the
/// store does.
#[derive(Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    /// There is something to do.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for a ring, or takes the one that came meanwhile. Only one may wait at a time.
    pub async fn heard(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
