//! Work that goes on when its client hangs up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use wotp_core::app::{ApiCaller, App, Refusal};

use super::{Api, Problem};

/// Runs a use case to its end even if the caller hangs up, in which case hyper drops the handler:
/// what was stored must also be rung for.
pub(crate) async fn to_the_end<T, W>(
    api: &Api,
    caller: &ApiCaller,
    use_case: impl FnOnce(Arc<App>, ApiCaller) -> W,
) -> Result<T, Problem>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let work = ToTheEnd(Some(Box::pin(use_case(Arc::clone(&api.app), caller.clone()))));
    work.await.map_err(|refusal| Problem::of(refusal, api.app.ports().clock.now()))
}

/// The same for what no tenant's caller asks for, but a person: what a guess came to is counted, and a code that was
/// right does what it was for, also when nobody waits for the answer any more.
pub(crate) async fn whoever_hangs_up<T, W>(api: &Api, use_case: impl FnOnce(Arc<App>) -> W) -> Result<T, Problem>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let work = ToTheEnd(Some(Box::pin(use_case(Arc::clone(&api.app)))));
    work.await.map_err(|refusal| Problem::of(refusal, api.app.ports().clock.now()))
}

/// A future that becomes a task of its own when it is dropped before its end. Not one from the
/// start: that takes two more turns of the runtime for each call.
struct ToTheEnd<W: Future<Output: Send> + Send + 'static>(Option<Pin<Box<W>>>);

impl<W: Future<Output: Send> + Send + 'static> Future for ToTheEnd<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<W::Output> {
        // Out of it meanwhile: one that panics is not to go on.
        let mut work = self.0.take().expect("a future is not polled again after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<W: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<W> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_halfway_goes_on() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut work = Box::pin(ToTheEnd(Some(Box::pin(async move {
            gone.await.unwrap();
            done.send(7).unwrap();
        }))));
        assert!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_panics_does_not_go_on() {
        let polls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&polls);
        let panics = std::future::poll_fn(move |_| -> Poll<()> {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("on purpose")
        });
        let panicked: Result<(), _> = tokio::spawn(ToTheEnd(Some(Box::pin(panics)))).await;
        assert!(panicked.unwrap_err().is_panic());
        // A task of its own would have its turn before this one again.
        tokio::task::yield_now().await;
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }
}
