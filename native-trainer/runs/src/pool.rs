//! Waiting on a thread of the pool that all kernels share.

use rayon::Yield;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};
use std::thread::sleep;
use std::time::Duration;

/// How long a thread without work waits before it checks again.
const POLL: Duration = Duration::from_millis(1);

/// Receives what another thread sends. While it waits, this thread takes part in the pool's work: a pool of one
/// thread would otherwise never do the work that the sender waits for.
///
/// # Errors
/// If the sender is gone.
pub fn receive<T>(from: &Receiver<T>) -> Result<T, RecvError> {
    loop {
        match from.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvError),
            Err(TryRecvError::Empty) => match rayon::yield_now() {
                Some(Yield::Executed) => {}
                Some(Yield::Idle) => sleep(POLL),
                // This is not a thread of the pool.
                None => return from.recv(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::receive;
    use std::sync::{Arc, mpsc::channel};
    use std::thread;

    #[test]
    fn a_pool_of_one_thread_works_while_it_waits() {
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
        let (results, received) = channel();
        let other = pool.clone();
        let got = pool.install(move || {
            thread::spawn(move || results.send(other.install(|| 42)).unwrap());
            receive(&received)
        });
        assert_eq!(got, Ok(42));
    }

    #[test]
    fn a_sender_that_is_gone_is_said() {
        let gone = || {
            let (sender, receiver) = channel::<()>();
            drop(sender);
            receive(&receiver)
        };
        assert!(gone().is_err());
        assert!(rayon::scope(|_| gone()).is_err());
    }
}
