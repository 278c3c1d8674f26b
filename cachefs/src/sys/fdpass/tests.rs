use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

#[test]
fn frames_and_descriptors_arrive_in_order() {
    let (ours, theirs) = pair();
    let payload = vec![7u8; 3 << 20]; // more than a socket buffer: forces partial writes
    let sender = std::thread::spawn(move || {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"through the socket").unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        send_frame(
            &ours,
            b"{\"a\":1}",
            &payload,
            &[file.as_fd(), reader.as_fd()],
        )
        .unwrap();
        send_frame(&ours, b"", b"", &[]).unwrap();
        send_frame(&ours, b"h", b"", &[reader.as_fd()]).unwrap();
    });
    let first = receive_frame(&theirs).unwrap().unwrap();
    assert_eq!(first.header, b"{\"a\":1}");
    assert!(first.payload.len() == 3 << 20 && first.payload.iter().all(|&byte| byte == 7));
    assert_eq!(first.fds.len(), 2);
    let mut text = [0; 18];
    assert_eq!(rustix::io::pread(&first.fds[0], &mut text, 0).unwrap(), 18);
    assert_eq!(&text, b"through the socket");
    for fd in &first.fds {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let second = receive_frame(&theirs).unwrap().unwrap();
    assert!(second.header.is_empty() && second.payload.is_empty() && second.fds.is_empty());
    assert_eq!(receive_frame(&theirs).unwrap().unwrap().fds.len(), 1);
    sender.join().unwrap();
    assert!(receive_frame(&theirs).unwrap().is_none());
}

#[test]
fn a_cut_frame_is_not_a_clean_end() {
    for cut in [1, 7, 8, 10, 14] {
        let (mut ours, theirs) = pair();
        let mut frame = encode_prefix(4, 4).unwrap().to_vec();
        frame.extend(b"headbody");
        ours.write_all(&frame[..cut]).unwrap();
        drop(ours);
        assert!(
            matches!(receive_frame(&theirs), Err(FrameError::PeerClosed)),
            "cut at {cut}"
        );
    }
}

#[test]
fn lengths_are_bounded_before_allocation() {
    for (header, payload) in [(u32::MAX, 0), (0, u32::MAX), (MAX_HEADER as u32 + 1, 0)] {
        let (mut ours, theirs) = pair();
        ours.write_all(&[header.to_le_bytes(), payload.to_le_bytes()].concat())
            .unwrap();
        assert!(matches!(
            receive_frame(&theirs),
            Err(FrameError::TooLarge { .. })
        ));
    }
    let (ours, theirs) = pair();
    let long = vec![0; MAX_HEADER + 1];
    assert!(matches!(
        send_frame(&ours, &long, b"", &[]),
        Err(FrameError::TooLarge { .. })
    ));
    // Nothing of a refused frame went out.
    send_frame(&ours, b"x", b"", &[]).unwrap();
    assert_eq!(receive_frame(&theirs).unwrap().unwrap().header, b"x");
}

#[test]
fn too_many_descriptors_are_refused_on_both_ends() {
    let (ours, theirs) = pair();
    let file = tempfile::tempfile().unwrap();
    let nine = [file.as_fd(); MAX_FDS + 1];
    assert!(matches!(
        send_frame(&ours, b"", b"", &nine),
        Err(FrameError::TooManyDescriptors)
    ));
    send_frame(&ours, b"", b"", &nine[1..]).unwrap();
    assert_eq!(receive_frame(&theirs).unwrap().unwrap().fds.len(), MAX_FDS);
    // A peer that does not keep the rule:
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let many = [file.as_fd(); 60];
    assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
    let prefix = encode_prefix(0, 0).unwrap();
    sendmsg(
        &ours,
        &[IoSlice::new(&prefix)],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
    assert!(matches!(
        receive_frame(&theirs),
        Err(FrameError::TooManyDescriptors)
    ));
}

#[test]
fn a_silent_peer_times_out_and_a_closed_one_is_an_error() {
    let (ours, theirs) = pair();
    theirs
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    assert!(matches!(receive_frame(&theirs), Err(FrameError::TimedOut)));
    // Closing alone would leave it open while a child that another test has forked has not yet
    // executed its program.
    theirs.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(
        send_frame(&ours, b"x", b"", &[]),
        Err(FrameError::PeerClosed)
    ));
}

#[test]
fn a_peer_that_sends_slowly_or_nothing_is_given_up() {
    let bounds = Bounds {
        header: MAX_HEADER,
        payload: 0,
        fds: 1,
        begin: Some(Duration::from_millis(50)),
        finish: Some(Duration::from_millis(50)),
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let silent = recv_within(&ours, &bounds).unwrap_err();
    assert!(matches!(silent, FrameError::TimedOut), "{silent}");
    // A byte now and then does not make the time any longer.
    let drip = std::thread::spawn(move || {
        let prefix = encode_prefix(MAX_HEADER, 0).unwrap();
        for byte in prefix.iter().chain([b'x'; 10_000].iter()) {
            if io::Write::write_all(&mut &theirs, &[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let slow = recv_within(&ours, &bounds).unwrap_err();
    assert!(matches!(slow, FrameError::TimedOut), "{slow}");
    drop(ours);
    drip.join().unwrap();
}

#[test]
fn a_peer_that_may_send_one_descriptor_sends_no_more() {
    let bounds = Bounds {
        fds: 1,
        ..Bounds::default()
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let fd = theirs.as_fd();
    send_frame(&theirs, b"x", b"", &[fd]).unwrap();
    assert_eq!(recv_within(&ours, &bounds).unwrap().unwrap().fds.len(), 1);
    send_frame(&theirs, b"x", b"", &[fd, fd]).unwrap();
    let refused = recv_within(&ours, &bounds).unwrap_err();
    assert!(
        matches!(refused, FrameError::TooManyDescriptors),
        "{refused}"
    );
}

#[test]
fn a_reply_may_have_a_longer_header_than_a_request() {
    let (ours, theirs) = pair();
    let long = vec![b' '; MAX_HEADER + 1];
    let sender = std::thread::spawn(move || send_reply(&ours, &long, b"", &[]));
    let reply = receive_reply(&theirs).unwrap().unwrap();
    assert_eq!(reply.header.len(), MAX_HEADER + 1);
    sender.join().unwrap().unwrap();
}
