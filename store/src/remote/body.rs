//! The body of an answer, bounded while it arrives.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{RemoteError, RemoteErrorKind};

/// The most that is reserved for a body because the server says it is that long.
const LARGEST_RESERVATION: u64 = 64 << 20;

/// Largest answer in bytes that is not an object, such as a page of a listing. A page of Azure has
/// up to 5,000 objects, whose encoded names take at most 3 KiB each.
pub(super) const LONGEST_ANSWER: usize = 32 << 20;

/// The most bytes that are read of an answer that reports a failure.
pub(super) const LONGEST_REFUSAL: usize = 64 << 10;

/// Which bytes of an object a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestedBytes {
    /// The whole object, unless it has more than `limit` bytes.
    Whole { limit: u64 },
    /// These, which are not none.
    Range(Range<u64>),
}

impl RequestedBytes {
    /// The range to request; `None` for the whole object.
    pub(super) fn range(&self) -> Option<&Range<u64>> {
        match self {
            Self::Whole { .. } => None,
            Self::Range(range) => Some(range),
        }
    }
}

/// Collects a body, and fails as soon as it exceeds its limit.
#[derive(Debug)]
pub(super) struct Body<'a> {
    action: &'a str,
    bytes: BytesMut,
    /// The length that the body must have, when it is known.
    expected: Option<u64>,
    /// The limit of a whole object.
    limit: Option<u64>,
}

impl<'a> Body<'a> {
    /// Prepares for a body of which the server says that it has `promised` bytes.
    pub(super) fn new(
        action: &'a str,
        wanted: &RequestedBytes,
        promised: Option<u64>,
    ) -> Result<Self, RemoteError> {
        let (expected, limit) = match wanted {
            RequestedBytes::Whole { limit } => (promised, Some(*limit)),
            RequestedBytes::Range(range) => {
                let length = range.end.saturating_sub(range.start);
                if promised.is_some_and(|promised| promised != length) {
                    return Err(RemoteError::new(RemoteErrorKind::Damaged, action));
                }
                (Some(length), None)
            }
        };
        match limit {
            Some(limit) if promised.is_some_and(|promised| promised > limit) => {
                return Err(RemoteError::too_large(action, limit));
            }
            _ => {}
        }
        let reserved = expected.unwrap_or(0).min(LARGEST_RESERVATION);
        Ok(Self {
            action,
            bytes: BytesMut::with_capacity(reserved as usize),
            expected,
            limit,
        })
    }

    /// Appends a chunk.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), RemoteError> {
        let length = self.bytes.len() as u64 + chunk.len() as u64;
        if self.expected.is_some_and(|expected| length > expected) {
            return Err(RemoteError::new(RemoteErrorKind::Damaged, self.action));
        }
        match self.limit {
            Some(limit) if length > limit => Err(RemoteError::too_large(self.action, limit)),
            _ => {
                self.bytes.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    /// The whole body.
    pub(super) fn finish(self) -> Result<Bytes, RemoteError> {
        match self.expected {
            Some(expected) if expected != self.bytes.len() as u64 => {
                Err(RemoteError::new(RemoteErrorKind::Damaged, self.action))
            }
            _ => Ok(self.bytes.freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_body_ends_at_the_limit() {
        let wanted = RequestedBytes::Whole { limit: 1000 };
        let mut body = Body::new("get refs/x", &wanted, None).unwrap();
        let chunk = [7; 300];
        let failed = (0..).find_map(|_| body.push(&chunk).err()).unwrap();
        assert_eq!(failed.kind(), RemoteErrorKind::TooLarge);
        assert!(body.bytes.len() <= 1000);
    }

    #[test]
    fn a_promise_above_the_limit_is_not_waited_for() {
        let wanted = RequestedBytes::Whole { limit: 1000 };
        assert!(Body::new("get refs/x", &wanted, Some(1000)).is_ok());
        let error = Body::new("get refs/x", &wanted, Some(1001)).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::TooLarge);
    }

    #[test]
    fn a_body_is_as_long_as_promised_or_damaged() {
        let wanted = RequestedBytes::Whole { limit: 1000 };
        let mut body = Body::new("get packs/x", &wanted, Some(10)).unwrap();
        body.push(&[1; 9]).unwrap();
        assert_eq!(
            body.push(&[1; 2]).unwrap_err().kind(),
            RemoteErrorKind::Damaged
        );
        assert_eq!(body.finish().unwrap_err().kind(), RemoteErrorKind::Damaged);
        let error = Body::new("get packs/x", &RequestedBytes::Range(5..9), Some(5)).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Damaged);
    }
}
