//! The listener: connections are counted before TLS, and slow ones do not stay.

use crate::{
    limits::{Limits, Open, Origin, Place},
    tls::ServerTls,
};
use axum::Router;
use axum_server::{
    Handle, Server,
    accept::Accept,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use std::{
    future::Ready,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tender_base::{Code, Problem};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// Request line and headers must have arrived by then.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Requests at the same time on one HTTP/2 connection, for each event stream that its address may have.
const REQUESTS_PER_STREAM: u32 = 2;
/// What runs may finish within this after a shutdown; event streams are cut, and their clients resume.
const GRACE: Duration = Duration::from_millis(500);

/// Serves `router` on `listener` until `shutdown` completes. TLS when `tls` is there; without it only loopback
/// addresses are served.
///
/// # Errors
/// [`Code::Forbidden`] for an open address without TLS, [`Code::Unavailable`] when the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Problem> {
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    if tls.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(Problem::new(
            Code::Forbidden,
            format!("{address} is not a loopback address, and there is no TLS key"),
            "listen on 127.0.0.1, or give the listener a TLS key",
        ));
    }
    listener.set_nonblocking(true).map_err(|error| failed(&error))?;
    let handle = Handle::new();
    let stop = handle.clone();
    let watch = tokio::spawn(async move {
        shutdown.await;
        stop.graceful_shutdown(Some(GRACE));
    });
    let open = Open::new(limits.connections_per_address, limits.connections_in_total);
    let counted = Counted { open, write_time: limits.write_time };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum_server::from_tcp(listener).map_err(|error| failed(&error))?.handle(handle);
    let served = match tls {
        None => with_limits(server.acceptor(counted), limits).serve(service).await,
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls.config)).acceptor(counted);
            with_limits(server.acceptor(acceptor), limits).serve(service).await
        }
    };
    watch.abort();
    served.map_err(|error| failed(&error))
}

fn with_limits<A>(mut server: Server<SocketAddr, A>, limits: Limits) -> Server<SocketAddr, A> {
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_address.saturating_mul(REQUESTS_PER_STREAM))
        .keep_alive_interval(HEADER_TIME);
    server
}

fn failed(error: &io::Error) -> Problem {
    Problem::new(Code::Unavailable, format!("the A2A listener failed: {error}"), "choose another address with --a2a")
}

/// Accepts a connection when its address has a place left, and closes it at once otherwise.
#[derive(Clone)]
struct Counted {
    open: Arc<Open<Origin>>,
    write_time: Duration,
}

impl<S> Accept<TcpStream, S> for Counted {
    type Stream = CountedStream;
    type Service = S;
    type Future = Ready<io::Result<(CountedStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(stream.peer_addr().and_then(|address| {
            stream.set_nodelay(true)?;
            let place =
                self.open.enter(Origin::of(address.ip())).ok_or_else(|| io::Error::other("too many connections"))?;
            Ok((CountedStream { stream, write_time: self.write_time, stuck: None, _place: place }, service))
        }))
    }
}

/// A connection that holds its place. One that takes nothing of what is written to it is closed: neither HTTP version
/// has a time-out for that, and an event stream may be written to for hours. Of an HTTP/2 connection that is read, single
/// streams may be left unread: see [`super::unread`].
struct CountedStream {
    stream: TcpStream,
    /// How long nothing may be taken.
    write_time: Duration,
    /// Until when something must be taken, while nothing is.
    stuck: Option<Pin<Box<Sleep>>>,
    _place: Place<Origin>,
}

impl CountedStream {
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let span = self.write_time;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(span)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
