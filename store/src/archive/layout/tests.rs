use std::io::Write as _;

use super::*;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Takes bytes apart and puts them together again; returns the layout.
fn round_trip(bytes: &[u8]) -> Option<TarLayout> {
    let layout = TarLayout::of_file(&file_of(bytes)).unwrap()?;
    let layout = TarLayout::decode(&layout.encode()).unwrap();
    let part = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
    let headers: Vec<u8> = layout
        .header_ranges()
        .map(part)
        .collect::<Vec<_>>()
        .concat();
    let contents: Vec<u8> = layout
        .content_ranges()
        .map(part)
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(headers.len() as u64, layout.header_bytes());
    assert_eq!(contents.len() as u64, layout.content_bytes());
    let (mut headers, mut contents) = (&headers[..], &contents[..]);
    let mut together = Vec::new();
    for segment in layout.segments() {
        let (header, rest) = headers.split_at(segment.header as usize);
        headers = rest;
        let (content, rest) = contents.split_at(segment.content as usize);
        contents = rest;
        together.extend([header, content].concat());
    }
    assert!(together == bytes, "the archive is not the same");
    assert_eq!(layout.size(), bytes.len() as u64);
    for range in [
        0..bytes.len(),
        1..bytes.len(),
        511..513,
        512..517,
        515..2000,
        700..701,
    ] {
        let range = range.start.min(bytes.len())..range.end.min(bytes.len());
        check_range(&layout, bytes, &(range.start as u64..range.end as u64));
    }
    Some(layout)
}

fn check_range(layout: &TarLayout, bytes: &[u8], range: &Range<u64>) {
    let part = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
    let headers: Vec<u8> = layout
        .header_ranges()
        .map(part)
        .collect::<Vec<_>>()
        .concat();
    let contents: Vec<u8> = layout
        .content_ranges()
        .map(part)
        .collect::<Vec<_>>()
        .concat();
    let parts = layout.parts_of(range);
    let (mut header, mut content) = (parts.headers.start, parts.contents.start);
    let mut together: Vec<u8> = Vec::new();
    for segment in parts.segments {
        together.extend(&headers[header as usize..][..segment.header as usize]);
        together.extend(&contents[content as usize..][..segment.content as usize]);
        header += segment.header;
        content += segment.content;
    }
    assert_eq!((header, content), (parts.headers.end, parts.contents.end));
    assert!(together == part(range.clone()), "{range:?}");
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn contents_are_apart_from_headers() {
    let long = "d/".repeat(90);
    let bytes = archive(&[("a", b"first"), (&long, b"second"), ("empty", b"")]);
    let layout = round_trip(&bytes).unwrap();
    let contents: Vec<_> = layout.content_ranges().collect();
    let content = |range: &Range<u64>| &bytes[range.start as usize..range.end as usize];
    assert_eq!(
        contents.iter().map(content).collect::<Vec<_>>(),
        [&b"first"[..], b"second"]
    );
}

#[test]
fn any_bytes_come_back() {
    let whole = archive(&[("a", &[7; 5000]), ("b", &[8; 512]), ("c", b"")]);
    for end in 0..whole.len() {
        round_trip(&whole[..end]);
    }
    // Damage in every block: a wrong checksum, or a size beyond the end.
    for block in 0..whole.len() / 512 {
        let mut damaged = whole.clone();
        damaged[block * 512 + 130] ^= 0x55;
        round_trip(&damaged);
    }
    let followed = [&whole[..], &vec![b'x'; 200_000]].concat();
    let layout = round_trip(&followed).unwrap();
    assert!(layout.content_bytes() > 200_000);
    assert_eq!(round_trip(b"no archive at all"), None);
    assert_eq!(round_trip(&[0; 4096]), None);
}

#[test]
fn the_size_of_a_pax_header_is_followed() {
    let content = [9; 700];
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_pax_extensions([("size", &b"700"[..])])
        .unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("big").unwrap();
    header.set_size(0);
    header.set_cksum();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(1024);
    bytes.extend(header.as_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(archive(&[("next", b"member")]));
    let layout = round_trip(&bytes).unwrap();
    let lengths: Vec<_> = layout
        .content_ranges()
        .map(|it| it.end - it.start)
        .collect();
    assert_eq!(lengths, [700, 6]);
}

#[test]
fn damaged_layouts_are_refused() {
    let layout = round_trip(&archive(&[("a", b"first"), ("b", &[1; 999])])).unwrap();
    let bytes = layout.encode();
    for end in 0..bytes.len() {
        assert!(TarLayout::decode(&bytes[..end]).is_err(), "{end}");
    }
    assert!(TarLayout::decode(&[&bytes[..], b"x"].concat()).is_err());
    let mut huge = MAGIC.to_vec();
    push_number(&mut huge, u64::MAX);
    assert!(TarLayout::decode(&huge).is_err());
    let endless = [&MAGIC[..], &[1], &[0xFF; 10]].concat();
    assert!(TarLayout::decode(&endless).is_err());
}
