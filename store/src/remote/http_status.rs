//! Meaning of HTTP answers that is common to all object stores.

use std::error::Error;

use super::RemoteErrorKind;

/// Subject of a "404" whose code does not say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFoundSubject {
    /// A single object.
    Object,
    /// The request needs only the bucket or container to be there.
    Bucket,
}

/// Classifies a status without a code of its own.
pub(super) fn kind_of_status(subject: NotFoundSubject, status: u16) -> RemoteErrorKind {
    match status {
        401 | 403 => RemoteErrorKind::Denied,
        404 if subject == NotFoundSubject::Object => RemoteErrorKind::NotFound,
        404 => RemoteErrorKind::NoRemote,
        412 => RemoteErrorKind::Exists,
        416 => RemoteErrorKind::Damaged,
        // 409: a concurrent write is in progress; retry.
        408 | 409 | 425 | 429 => RemoteErrorKind::Unavailable,
        // The server will never know how to do this.
        501 => RemoteErrorKind::Invalid,
        507 => RemoteErrorKind::Full,
        500..=599 => RemoteErrorKind::Unavailable,
        // 400 and its like, and redirects, which mean that the address is wrong.
        _ => RemoteErrorKind::Invalid,
    }
}

/// The error itself or the first of its causes that is a `T`.
pub(super) fn find_cause<'a, T: Error + 'static>(
    error: &'a (dyn Error + 'static),
) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use RemoteErrorKind::*;

    #[test]
    fn statuses_without_a_code() {
        for (status, object, bucket) in [
            (301, Invalid, Invalid),
            (400, Invalid, Invalid),
            (401, Denied, Denied),
            (403, Denied, Denied),
            (404, NotFound, NoRemote),
            (409, Unavailable, Unavailable),
            (412, Exists, Exists),
            (416, Damaged, Damaged),
            (429, Unavailable, Unavailable),
            (500, Unavailable, Unavailable),
            (501, Invalid, Invalid),
            (503, Unavailable, Unavailable),
            (504, Unavailable, Unavailable),
            (507, Full, Full),
        ] {
            assert_eq!(
                kind_of_status(NotFoundSubject::Object, status),
                object,
                "{status}"
            );
            assert_eq!(
                kind_of_status(NotFoundSubject::Bucket, status),
                bucket,
                "{status}"
            );
        }
    }
}
