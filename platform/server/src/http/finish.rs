//! Handlers that finish what they began when their client is gone, or their time is up.
//!
//! Not for the work's sake: what must be done to its end says so ([`to_the_end`](super::to_the_end)).
//! A driver of a database may keep a place in line for a command that is given up before it has a
//! connection, and many of those keep everybody else waiting.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

/// Handlers that go on without anybody waiting. Beyond that they are dropped: memory is worth more.
const LEFT_MAX: usize = 1024;

static LEFT: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LEFT_MAX)));

/// Puts [`Finishing`] around a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish;

/// A service whose work goes on when it is dropped.
#[derive(Debug, Clone)]
pub(super) struct Finishing<S>(S);

/// Work that goes on as a task when it is dropped before its end.
pub(super) struct Work<F: Future<Output = Result<Response, Infallible>> + Send + 'static>(Option<Pin<Box<F>>>);

impl<S> Layer<S> for Finish {
    type Service = Finishing<S>;

    fn layer(&self, inner: S) -> Finishing<S> {
        Finishing(inner)
    }
}

impl<S> Service<Request> for Finishing<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Work<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Work(Some(Box::pin(self.0.call(request))))
    }
}

impl<F: Future<Output = Result<Response, Infallible>> + Send + 'static> Future for Work<F> {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Out of it meanwhile: one that panics is not to go on.
        let mut work = self.0.take().expect("a future is not polled again after its end");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<F: Future<Output = Result<Response, Infallible>> + Send + 'static> Drop for Work<F> {
    fn drop(&mut self) {
        // No runtime: the process ends.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current())
            && let Ok(place) = Arc::clone(&LEFT).try_acquire_owned()
        {
            runtime.spawn(async move {
                let _place = place;
                // Nobody is left to be told.
                let _ = work.await;
            });
        }
    }
}
